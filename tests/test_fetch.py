"""Fetching PDB entries, against a server on this machine."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats import fetch as fetching
from spotmill.formats.fetch import fetch
from spotmill.formats.reflections import read_reflections


def entry(identifier: str, extra: str = "") -> bytes:
    return f"""data_{identifier}
_entry.id {identifier}
{extra}
_cell.length_a 20
_cell.length_b 21
_cell.length_c 22
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
_symmetry.space_group_name_H-M 'P 21 21 21'
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.auth_seq_id
_atom_site.auth_asym_id
ATOM 1 N N . GLY A 1 1.0 2.0 3.0 1.0 20.0 1 A
ATOM 2 C CA . GLY A 1 2.0 3.1 3.4 1.0 20.0 1 A
""".encode()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        answer = self.server.answers.get(self.path.lstrip("/"))
        if answer is None:
            self.send_error(404)
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.requests: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def give(self, name: str, body: bytes, length: int | None = None) -> None:
        size = len(body) if length is None else length
        self.answers[name] = (200, {"Content-Length": str(size)}, body)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_an_entry_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.give("1ABC.cif", entry("1ABC"))
    path = fetch("pdb:1abc", tmp_path / "cache", server.url)
    assert path == tmp_path / "cache" / "1ABC.cif" and path.read_bytes() == entry("1ABC")
    assert fetch("pdb:1ABC", tmp_path / "cache", server.url) == path
    assert fetch("pdb:pdb_00001abc", tmp_path / "cache", server.url) == path
    assert server.requests == ["/1ABC.cif"]
    assert list(path.parent.iterdir()) == [path]


def test_an_extended_entry_is_fetched(server: Server, tmp_path: Path) -> None:
    accession = "_database_2.database_id PDB\n_database_2.pdbx_database_accession pdb_12345abc"
    server.give("pdb_12345abc.cif", entry("whatever", accession))
    assert fetch("pdb:PDB_12345ABC", tmp_path, server.url).name == "pdb_12345abc.cif"


@pytest.mark.parametrize("damage", [b"", b"<html>", entry("2XYZ"), entry("1ABC")[:-9]])
def test_a_damaged_cached_entry_is_fetched_anew(server, tmp_path, damage: bytes) -> None:
    server.give("1ABC.cif", entry("1ABC"))
    (tmp_path / "1ABC.cif").write_bytes(damage)
    assert fetch("pdb:1ABC", tmp_path, server.url).read_bytes() == entry("1ABC")
    assert server.requests == ["/1ABC.cif"]


@pytest.mark.parametrize(
    ("body", "length", "message"),
    [
        (None, None, r"answers 404; no such entry"),
        (entry("1ABC"), 10_000, r"bytes"),
        (b"<html><body>sorry</body></html>", None, r"1ABC\.cif: cannot be read"),
        (entry("2XYZ"), None, r"holds 2XYZ, not 1ABC"),
        (b"data_1ABC\n_entry.id 1ABC\n", None, r"has no atoms"),
        (b"", None, r"1ABC\.cif"),
    ],
)
def test_what_is_not_the_entry_is_refused(server, tmp_path, body, length, message) -> None:
    if body is not None:
        server.give("1ABC.cif", body, length)
    with pytest.raises(SpotmillError, match=message) as caught:
        fetch("pdb:1ABC", tmp_path, server.url)
    assert "\n" not in str(caught.value) and server.url in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unstated_length_is_refused(server: Server, tmp_path: Path) -> None:
    server.answers["1ABC.cif"] = (200, {}, entry("1ABC"))
    with pytest.raises(SpotmillError, match="does not say how long"):
        fetch("pdb:1ABC", tmp_path, server.url)


def test_too_large_an_entry_is_refused(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "LARGEST_ENTRY", 100)
    server.give("1ABC.cif", entry("1ABC"))
    with pytest.raises(SpotmillError, match="is larger than"):
        fetch("pdb:1ABC", tmp_path, server.url)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "SILENCE", 0.2)
    stop = threading.Event()

    def wait(handler: Handler) -> None:
        stop.wait(5)

    monkeypatch.setattr(Handler, "do_GET", wait)
    with pytest.raises(SpotmillError, match=r"cannot be fetched .*timed out"):
        fetch("pdb:1ABC", tmp_path, server.url)
    stop.set()


def test_a_redirection_away_from_https_is_refused(server: Server, tmp_path: Path) -> None:
    server.answers["1ABC.cif"] = (302, {"Location": "http://192.0.2.1/1ABC.cif"}, b"")
    with pytest.raises(SpotmillError, match="only https addresses"):
        fetch("pdb:1ABC", tmp_path, server.url)


@pytest.mark.parametrize("url", ["http://192.0.2.1/x", "file:///etc", "ftp://127.0.0.1", "nothing"])
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SpotmillError, match="only https addresses"):
        fetch("pdb:1ABC", tmp_path, url)


@pytest.mark.parametrize("name", ["pdb:", "pdb:1AB", "pdb:../1", "pdb:ABCD", "pdb:1ABC/..", "1ABC"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpotmillError, match="is not an entry of the PDB"):
        fetch(name, tmp_path, "http://127.0.0.1:1")


def test_a_closed_port_is_one_line(server, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPOTMILL_PDB_URL", "http://127.0.0.1:1")
    assert main(["reflections", "pdb:1ABC", "--d-min", "3", "--output", "a.mtz"]) == 1
    error = capsys.readouterr().err
    assert "1ABC.cif: cannot be fetched" in error and error.count("\n") == 1
    assert not (tmp_path / "a.mtz").exists()


def test_the_command_fetches(server: Server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SPOTMILL_PDB_URL", server.url)
    server.give("1ABC.cif", entry("1ABC"))
    words = ["reflections", "pdb:1ABC", "--d-min", "3", "--output", str(tmp_path / "a.mtz")]
    assert main([*words, "--cache", str(tmp_path / "cache")]) == 0
    assert read_reflections(tmp_path / "a.mtz").space_group == "P 21 21 21"
