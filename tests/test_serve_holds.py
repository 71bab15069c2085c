"""The live view holds: against slow visitors, damaged files and many, and it ends tidily."""

# Fixtures come by import.
# ruff: noqa: F401, F811

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path

import pytest
import uvicorn
from serve_client import Server
from serve_tree import tree
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from spotmill.serve import address, live
from spotmill.serve.app import build
from spotmill.serve.scan import Found


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_tidily(tree: Path, sign: signal.Signals) -> None:
    server = Server(tree)
    assert server.get("/").status == 200
    # One who keeps its connection open holds nobody up, nor does one who never reads. How long an
    # end takes on a busy machine is another matter: for these it would wait longer than `end` does.
    with connect(("127.0.0.1", server.port)) as line, connect(line.getpeername()) as other:
        line.sendall(ASK)
        line.recv(100)
        other.sendall(BIG)
        other.recv(100)
        assert server.end(sign) == (0, "")


ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
BIG = ASK.replace(b"/ ", b"/report/figures/big.bin ", 1)


def connect(place: tuple[str, int]) -> socket.socket:
    """Connect to a server, with so little room that it must wait until what it sent is read."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(60)
    line.connect(place)
    return line


@contextmanager
def serving(app: ASGIApp) -> Iterator[tuple[str, int]]:
    """Serve within this process; yield the place."""
    listening = address.listen(address.LOOPBACK, 0)
    server = uvicorn.Server(address.configured(app))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()


LARGE = 4_000_000


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a word, or on /large 4 MB in pieces."""
    if scope["path"] == "/":
        await PlainTextResponse("here")(scope, receive, send)
    else:
        pieces = (bytes(100_000) for _ in range(LARGE // 100_000))
        await StreamingResponse(pieces)(scope, receive, send)


def ask(place: tuple[str, int]) -> bytes:
    with socket.create_connection(place, timeout=60) as line:
        line.sendall(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return line.recv(100)


def get(place: tuple[str, int], path: str) -> tuple[int, str, HTTPMessage]:
    """Return the status, text and headers of an answer."""
    connection = HTTPConnection(*place, timeout=60)
    connection.request("GET", path)
    said = connection.getresponse()
    text = said.read().decode()
    connection.close()
    return said.status, text, said.headers


def until_answered(place: tuple[str, int]) -> None:
    """Ask until there is room; before, the answer says that there is none."""
    end = time.monotonic() + 60
    while not (said := ask(place)).startswith(b"HTTP/1.1 200"):
        assert said.startswith(b"HTTP/1.1 503") and time.monotonic() < end
        time.sleep(0.2)


def test_who_sends_no_whole_request_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "WHOLE_REQUEST", 1.0)
    with serving(answer) as place:
        lines = [socket.create_connection(place, timeout=60) for _ in range(address.MOST_AT_ONCE)]
        for line in lines[:9]:
            line.sendall(b"GET / HT")
        # One was answered, and then sends half a request.
        lines[9].sendall(ASK + b"GE")
        assert ask(place).startswith(b"HTTP/1.1 503")
        until_answered(place)
        # None of them hears more: they are closed, not only passed over.
        for line in lines:
            with line:
                while line.recv(1000):
                    pass


def test_who_never_reads_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "TAKEN", 1.0)
    with serving(answer) as place:
        lines = []
        # One after the other: who finds all places taken is sent away.
        for _ in range(address.MOST_AT_ONCE - 1):
            lines.append(connect(place))
            lines[-1].sendall(ASK.replace(b"/ ", b"/large ", 1))
            assert lines[-1].recv(12) == b"HTTP/1.1 200"
        assert ask(place).startswith(b"HTTP/1.1 503")
        until_answered(place)
        # The first were cut off; of what they had not taken only what was on its way is left.
        got = 0
        with suppress(ConnectionResetError):
            while part := lines[0].recv(1 << 20):
                got += len(part)
        assert got < LARGE
        for line in lines:
            line.close()


def test_who_reads_slowly_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "TAKEN", 1.0)
    with serving(answer) as place, connect(place) as line:
        line.sendall(ASK.replace(b"/ ", b"/large ", 1))
        got, begun = 0, time.monotonic()
        while got < LARGE:
            part = line.recv(1 << 16)
            assert part
            got += len(part)
            # About five times as long as one who takes nothing would have.
            time.sleep(max(begun + 5 * got / LARGE - time.monotonic(), 0))


def test_a_look_that_fails_is_told_once_and_the_last_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "results/models/hit").mkdir(parents=True)
    (tmp_path / "results/models/hit/model.json").write_text("{}")
    for name, value in (("EVERY", 0.02), ("RATIO", 0)):
        monkeypatch.setattr(live, name, value)
    app, looks = build(tmp_path / "results", tmp_path, "results")
    broken = {"now": False}
    scanned = looks._scanner.look

    def look() -> Found:
        if broken["now"]:
            raise ZeroDivisionError("of a file that nobody thought of")
        return scanned()

    monkeypatch.setattr(looks._scanner, "look", look)

    def wait(failing: bool) -> None:
        end = time.monotonic() + 60
        while looks.is_failing != failing:
            assert looks.state() is None or time.monotonic() < end
            time.sleep(0.02)

    failed = "The last look at the results failed"
    looks.start()
    with serving(app) as place:
        assert failed not in get(place, "/")[1]
        for _ in range(2):
            broken["now"] = True
            wait(failing=True)
            status, page, _ = get(place, "/")
            assert status == 200 and "/models/hit/card" in page and failed in page
            assert failed in get(place, "/models/hit/card")[1]
            assert get(place, "/changes.json")[2]["Spotmill-Failing"] == "yes"
            time.sleep(0.3)
            broken["now"] = False
            wait(failing=False)
            assert failed not in get(place, "/")[1]
            assert "Spotmill-Failing" not in get(place, "/changes.json")[2]
    looks.stop()
    # Each time once, though it was looked at again and again.
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert caplog.text.count("ZeroDivisionError: of a file") == 2


def test_a_first_look_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    app, looks = build(tmp_path / "results", tmp_path, "results")
    monkeypatch.setattr(looks._scanner, "look", lambda: 1 // 0)
    looks.start()
    with serving(app) as place:
        status, page, _ = get(place, "/")
        assert status == 503 and "why is told where the server runs" in page
    looks.stop()


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
