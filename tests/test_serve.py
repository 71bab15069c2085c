"""The live view shows what lies in results, and nothing else."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from serve_client import Server
from starlette.responses import PlainTextResponse

from spotmill.serve import address

SECRET = b"the secret of another folder"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return results, beside them secrets, and links of every kind."""
    top = tmp_path_factory.mktemp("serve")
    results = top / "results"
    for name in ("models/hit", "report/figures", "images/peaks/A", "models/hit/.checkpoints-1"):
        (results / name).mkdir(parents=True)
    (top / "secret.txt").write_bytes(SECRET)
    (top / "results-of-others").mkdir()
    (top / "results-of-others/secret.txt").write_bytes(SECRET)
    (top / ".snakemake/log").mkdir(parents=True)
    (top / ".snakemake/log/secret.txt").write_bytes(SECRET)
    (results / "models/hit/model.json").write_text(json.dumps({"task": "hit", "epochs": 3}))
    (results / "models/hit/README.md").write_text("# Model <script>alert(1)</script>\n")
    (results / "models/hit/.checkpoints-1/last.ckpt").write_bytes(SECRET)
    (results / ".hidden").write_bytes(SECRET)
    (results / "report/index.html").write_text("<p>the report</p><script>var a = 1</script>")
    (results / "report/figures/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (results / "report/figures/big.bin").write_bytes(bytes(range(256)) * 4096)
    (results / "page.html").write_text("<script>alert(1)</script>")
    (results / "a & b <i>.txt").write_text("odd name")
    (results / "within.txt").symlink_to("models/hit/README.md")
    (results / "out.txt").symlink_to(top / "secret.txt")
    (results / "out").symlink_to(top)
    (results / "sibling").symlink_to(top / "results-of-others")
    (results / "to_hidden").symlink_to("models/hit/.checkpoints-1")
    (results / "loop").symlink_to("loop")
    (results / "report/out").symlink_to(top)
    os.mkfifo(results / "pipe")
    return results


@pytest.fixture(scope="module")
def server(tree: Path) -> Iterator[Server]:
    with Server(tree) as running:
        yield running


def test_it_listens_on_loopback_alone_and_says_where(server: Server) -> None:
    assert re.search(r"at http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", server.said)
    others = {
        one[4][0]
        for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not one[4][0].startswith("127.")
    }
    for other in others:
        with pytest.raises(OSError), socket.create_connection((other, server.port), timeout=2):
            pass


def test_pages_are_there(server: Server) -> None:
    overview = server.text("/")
    assert "There is no log of a run" in overview and "No frames yet" in overview
    assert 'href="/models/hit/card"' in overview and 'href="/report/"' in overview
    assert "the report" in server.text("/report/")
    assert server.get("/report").status == 307 and server.get("/report/figures").status == 307
    assert server.get("/report/figures/a.png").getheader("Content-Type") == "image/png"
    card = server.text("/models/hit/card")
    assert "&lt;script&gt;" in card and "<script>alert" not in card
    listed = server.text("/files/")
    assert "a%20%26%20b%20%3Ci%3E.txt" in listed and "<i>" not in listed
    assert server.text("/files/a%20%26%20b%20%3Ci%3E.txt") == "odd name"
    assert server.text("/files/within.txt").startswith("# Model")
    for name in ("/nothing", "/files/nothing", "/models/none/card", "/other/hit/card", "/frame/x"):
        assert server.get(name).status == 404, name


TRICKS = [
    "/../secret.txt",
    "/files/../secret.txt",
    "/files/../../secret.txt",
    "/files/models/../../secret.txt",
    "/files/%2e%2e/secret.txt",
    "/files/%2E%2e/secret.txt",
    "/files/.%2e/secret.txt",
    "/files/..%2fsecret.txt",
    "/files/%2e%2e%2fsecret.txt",
    "/files/models%2f..%2f..%2fsecret.txt",
    "/files/%252e%252e/secret.txt",
    "/files/%252e%252e%252fsecret.txt",
    "/files/..%5csecret.txt",
    "/files/..\\secret.txt",
    "/files/..;/secret.txt",
    "/files/.../secret.txt",
    "/files/%c0%ae%c0%ae/secret.txt",
    "/files/%uff0e%uff0e/secret.txt",
    "/files//etc/passwd",
    "/files///etc/passwd",
    "//etc/passwd",
    "/files/%2fetc%2fpasswd",
    "/files/etc/passwd",
    "/files/{TOP}/secret.txt",
    "/files/%2F{TOP}/secret.txt",
    "/files/page.html%00.txt",
    "/files/%00",
    "/files/models/hit%00/../../../secret.txt",
    "/files/out.txt",
    "/files/out/secret.txt",
    "/files/out/",
    "/files/sibling/secret.txt",
    "/files/sibling/",
    "/files/to_hidden/last.ckpt",
    "/files/to_hidden/",
    "/files/loop",
    "/files/pipe",
    "/files/.hidden",
    "/files/%2ehidden",
    "/files/models/hit/.checkpoints-1/last.ckpt",
    "/files/models/hit/.checkpoints-1/",
    "/files/.snakemake/log/secret.txt",
    "/report/../../secret.txt",
    "/report/%2e%2e/%2e%2e/secret.txt",
    "/report/out/secret.txt",
    "/report/..%2f..%2fsecret.txt",
    "/own/..%2fapp.py",
    "/own/app.py",
    "/own/../app.py",
    "/own/base.html.j2",
    "/picture/..%2f..%2f..%2f/A/secret/0.png",
    "/picture/peaks/../secret/0.png",
    "/picture/peaks/%2e%2e/secret/0.png",
    "/picture/peaks/A/..%2f..%2f..%2f..%2fsecret/0.png",
    "/frame/.hidden/A/p00000/0",
    "/models/../card",
    "/models/%2e%2e/card",
    "/models/.checkpoints-1/card",
    "/files/" + "a" * 5000,
    "/files/" + "a/" * 3000,
    "/files/\x7f",
    "http://127.0.0.1/files/../../secret.txt",
    "file:///etc/passwd",
    "*",
    "secret.txt",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_no_path_leads_outside(server: Server, tree: Path, trick: str) -> None:
    target = trick.replace("{TOP}", str(tree.parent)).encode("latin-1")
    answer = server.target(target)
    assert re.match(rb"HTTP/1\.1 (400|404|421) ", answer), answer[:300]
    assert SECRET not in answer and b"root:" not in answer
    # No page tells where the results lie on this machine.
    assert str(tree.parent).encode() not in answer.partition(b"\r\n\r\n")[2]


def test_what_is_no_path_at_all_is_refused(server: Server) -> None:
    for request in (
        b"GET /files/\x00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
    ):
        answer = server.raw(request)
        assert not answer or re.match(rb"HTTP/1\.1 4\d\d ", answer), answer[:200]
    assert server.get("/").status == 200


def test_nothing_but_get_and_head(server: Server, tree: Path) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"):
        for path in ("/", "/files/page.html", "/report/", "/nothing"):
            answer = server.get(path, method)
            assert answer.status in (400, 405), (method, path, answer.status)
            if answer.status == 405:
                assert answer.getheader("Allow") == "GET, HEAD"
    assert (tree / "page.html").read_text() == "<script>alert(1)</script>"
    for path in ("/", "/changes.json", "/files/page.html", "/report/"):
        answer = server.get(path, "HEAD")
        assert answer.status == 200 and answer.body == b"" and answer.getheader("Content-Length")


def test_other_names_are_refused(server: Server) -> None:
    own = (b"127.0.0.1:8000", b"localhost", b"LOCALHOST:1", b"[::1]:99", b"10.1.2.3", b"localhost.")
    for host in own:
        assert server.target(b"/", host).startswith(b"HTTP/1.1 200"), host
    for host in (
        b"evil.example",
        b"evil.example:8000",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"127.0.0.1@evil.example",
        b"evil.example#127.0.0.1",
        b"",
        b"[::1",
        b"localhost:port",
        socket.gethostname().encode() + b".evil.example",
    ):
        answer = server.target(b"/", host)
        assert re.match(rb"HTTP/1\.1 4(21|00) ", answer), (host, answer[:80])
        assert b"Progress" not in answer


def test_headers_keep_strangers_out(server: Server) -> None:
    for path in ("/", "/changes.json", "/files/page.html", "/report/", "/nothing", "/own/serve.js"):
        answer = server.get(path)
        assert answer.getheader("X-Content-Type-Options") == "nosniff", path
        assert answer.getheader("Content-Security-Policy"), path
        assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
        assert answer.getheader("Server") is None
        framed = path.startswith("/report")
        assert answer.getheader("X-Frame-Options") == ("SAMEORIGIN" if framed else "DENY"), path
        ancestors = "frame-ancestors 'self'" if framed else "frame-ancestors 'none'"
        assert ancestors in (answer.getheader("Content-Security-Policy") or ""), path
    own = server.get("/").getheader("Content-Security-Policy") or ""
    assert "script-src 'self';" in own and "unsafe-eval" not in own
    assert not re.search(r"<script(?![^>]* src=)", server.text("/"))
    # A page among the results runs as a stranger.
    assert (server.get("/files/page.html").getheader("Content-Security-Policy") or "").startswith(
        "sandbox"
    )
    for path in ("/", "/changes.json"):
        assert server.get(path).getheader("Cache-Control") == "no-store"


def test_parts_of_files_and_etags(server: Server, tree: Path) -> None:
    whole = (tree / "report/figures/big.bin").read_bytes()
    part = server.get("/report/figures/big.bin", Range="bytes=1000-1999")
    assert part.status == 206 and part.body == whole[1000:2000]
    etag = server.get("/changes.json").getheader("ETag") or ""
    again = server.get("/changes.json", If_None_Match=etag)
    assert again.status == 304 and again.body == b""
    assert server.get("/changes.json", If_None_Match='"other"').status == 200


def test_it_holds_after_everything_that_was_asked(server: Server) -> None:
    assert server.get("/").status == 200
    assert server.process.poll() is None


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_tidily(tree: Path, sign: signal.Signals) -> None:
    server = Server(tree)
    assert server.get("/").status == 200
    # One who keeps its connection open holds nobody up.
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        line.recv(100)
        begun = time.monotonic()
        assert server.end(sign) == (0, "")
        assert time.monotonic() - begun < 10


def test_who_sends_no_whole_request_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "WHOLE_REQUEST", 1.0)
    listening = address.listen(address.LOOPBACK, 0)
    place = listening.getsockname()
    serving = uvicorn.Server(address.configured(PlainTextResponse("here")))
    thread = threading.Thread(target=serving.run, args=([listening],))
    thread.start()

    def ask() -> bytes:
        with socket.create_connection(place, timeout=30) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return line.recv(100)

    lines = [socket.create_connection(place, timeout=30) for _ in range(address.MOST_AT_ONCE)]
    try:
        for line in lines[:9]:
            line.sendall(b"GET / HT")
        # One was answered, and then sends half a request.
        lines[9].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGE")
        assert ask().startswith(b"HTTP/1.1 503")
        end = time.monotonic() + 30
        while not ask().startswith(b"HTTP/1.1 200"):
            assert time.monotonic() < end
            time.sleep(0.2)
        # None of them hears more: they are closed, not only passed over.
        for line in lines:
            while line.recv(1000):
                pass
    finally:
        for line in lines:
            line.close()
        serving.should_exit = True
        thread.join(30)
        listening.close()


def test_damaged_files_put_no_page_out(tmp_path: Path) -> None:
    """A number too long to read, and values of other kinds, in every file that is read."""
    results = tmp_path / "results"
    for name in ("models/hit", "evaluation/hit"):
        (results / name).mkdir(parents=True)
    long = "9" * 5000
    (results / "models/hit/model.json").write_text(f'{{"task": "hit", "epochs": {long}}}')
    (results / "models/hit/history.csv").write_text(f"epoch,train_loss\n0,1\n{long},1\n")
    (results / "evaluation/hit/evaluation.json").write_text(
        json.dumps({"task": "hit", "notes": None, "results": 5})
    )
    with Server(results) as server:
        (curve,) = server.changes()["curves"]
        assert curve["epoch"] == [0]
        assert "hit" in server.text("/models/hit/card")
        assert "hit" in server.text("/evaluation/hit/card")


def refusal(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "spotmill.cli", "serve", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and done.stdout == "", done
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("spotmill serve: error: ")
    return done.stderr


def test_what_cannot_be_served_is_one_line(tree: Path, server: Server, tmp_path: Path) -> None:
    assert f"--port: {server.port} is in use" in refusal(tree, "--port", server.port)
    assert "no such folder" in refusal(tmp_path / "absent")
    assert "is a file" in refusal(tree / "page.html")
    (tmp_path / "notes").mkdir()
    assert "holds no results" in refusal(tmp_path / "notes")
    assert f"name {tree.parent / 'results'}" in refusal(tree.parent)
    assert "is not between 0 and 65535" in refusal(tree, "--port", 70000)
    assert "--host: no.such.host.invalid" in refusal(tree, "--host", "no.such.host.invalid")
    assert "is no address of this machine" in refusal(tree, "--host", "192.0.2.1", "--port", 0)


def test_others_are_let_in_only_when_asked_for_and_told(tree: Path) -> None:
    server = Server(tree, "--host", "0.0.0.0")
    name = socket.gethostname()
    assert name in server.said
    assert server.target(b"/", name.encode()).startswith(b"HTTP/1.1 200")
    assert server.target(b"/", b"evil.example").startswith(b"HTTP/1.1 421")
    code, errors = server.end()
    assert code == 0 and "warning: --host 0.0.0.0" in errors and errors.count("\n") == 1


def test_a_key_keeps_others_out(tree: Path) -> None:
    with Server(tree, "--key") as server:
        key = server.url.partition("?key=")[2]
        assert len(key) >= 20
        for path in ("/", "/changes.json", "/files/page.html", "/?key=", f"/?key={key[:-1]}"):
            assert server.get(path).status == 403, path
        assert server.get("/", Cookie="a=b; =;; spotmill_=x").status == 403
        first = server.get(f"/files/?key={key}")
        assert first.status == 303 and first.getheader("Location") == "/files/"
        cookie = first.getheader("Set-Cookie") or ""
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        known = cookie.partition(";")[0]
        assert server.get("/files/page.html", Cookie=known).status == 200
        assert server.get("/files/out.txt", Cookie=known).status == 404


def test_ten_thousand_shards_are_no_matter(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for number in range(10):
        for kind in ("images/peaks_water_overlay", "benchmarks/overlay"):
            folder = results / kind / f"{number:02d}"
            folder.mkdir(parents=True)
            suffix = ".h5" if kind.startswith("images") else ".tsv"
            for shard in range(1000):
                (folder / f"p{shard:05d}{suffix}").touch()
    with Server(results) as server:
        assert ">00</a> 1000" in server.text("/")
        for path in ("/", "/changes.json"):
            took = []
            for _ in range(5):
                begun = time.monotonic()
                server.text(path)
                took.append(time.monotonic() - begun)
            assert min(took) < 0.2, took
        told = server.text("/files/images/peaks_water_overlay/00/")
        assert told.count("<tr>") == 1001


def test_a_growing_history_grows_on_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "results/models/hit/.checkpoints-abc"
    folder.mkdir(parents=True)
    rows = ["epoch,train_loss,validation_loss,validation_accuracy,learning_rate"]

    def write(count: int, place: Path) -> None:
        more = [f"{epoch},{1 / (epoch + 1)},{2 / (epoch + 1)},0.5,0.01" for epoch in range(count)]
        part = place.with_name(".part")
        part.write_text("\n".join(rows + more) + "\n")
        part.replace(place)

    write(1, folder / "history.csv")
    with Server(tmp_path / "results") as server:
        (curve,) = server.changes()["curves"]
        assert curve["task"] == "hit" and curve["goes_on"] and curve["epoch"] == [0]
        etag = server.get("/changes.json").getheader("ETag") or ""
        for count in (2, 5):
            write(count, folder / "history.csv")
            told = server.until(lambda told, n=count: len(told["curves"][0]["epoch"]) == n)
            assert told["curves"][0]["validation"][-1] == pytest.approx(2 / count)
        assert server.get("/changes.json", If_None_Match=etag).status == 200
        write(6, tmp_path / "results/models/hit/history.csv")
        (folder / "history.csv").unlink()
        told = server.until(lambda told: not told["curves"][0]["goes_on"])
        assert len(told["curves"][0]["epoch"]) == 6 and ">trained<" in told["parts"]["training"]
        # Half a row, numbers that are none, another file altogether: nobody is put out.
        history = tmp_path / "results/models/hit/history.csv"
        history.write_text("\n".join([*rows, "0,nan,1e999,0.5", "1,0.5", "x,y", "2,"]))
        told = server.until(lambda told: told["curves"] and len(told["curves"][0]["epoch"]) == 3)
        assert told["curves"][0]["train"] == [None, 0.5, None]
        history.write_bytes(b"\x00\xff\x80 no table")
        server.until(lambda told: not told["curves"])
        assert server.get("/").status == 200
