"""The live view shows what lies in results, and nothing else."""

# Fixtures come by import.
# ruff: noqa: F401, F811

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from serve_client import Server
from serve_tree import SECRET, server, tree


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


def test_the_page_of_the_report_may_ask_for_its_cost_before_it_is_there(server: Server) -> None:
    answer = server.get("/report/cost/cost.js")
    assert answer.status == 200 and answer.body == b""
    assert answer.getheader("Content-Type") == "text/javascript; charset=utf-8"
    assert server.get("/report/cost/cost.csv").status == 404


def test_a_card_is_set_as_it_reads_and_never_as_html(tmp_path: Path) -> None:
    folder = tmp_path / "results/cards/A"
    folder.mkdir(parents=True)
    (folder / "frames.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "other.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "README.md").write_text(CARD)
    with Server(tmp_path / "results") as server:
        page = server.text("/cards/A/card")
    assert '<p class="lead">Dataset A &lt;b&gt;</p>' in page and "<h2>How much</h2>" in page
    assert "<td>frames</td><td>60 &lt;img src=x onerror=alert(1)&gt;</td>" in page
    assert '<th scope="col">files</th><th scope="col">number</th>' in page and "---" not in page
    assert '<p class="written">Two lines\nof one paragraph, [a](javascript:alert(1)).</p>' in page
    assert '<pre class="wrap"># no heading\n\n| no table</pre>' in page
    assert page.count('<img class="paper"') == 2 and 'alt="whole &#34;frames&#34;"' in page
    assert page.index("other.png of A") < page.index("How much") < page.index('alt="whole')
    assert page.count("<script") == 0 and "<b>" not in page and "onerror=alert(1)>" not in page


CARD = """\
# Dataset A <b>

## How much

| | |
|---|---|
| frames | 60 <img src=x onerror=alert(1)> |

![whole "frames"](frames.png)

| files | number |
|---|--:|
| `a.h5` | 1 |

Two lines
of one paragraph, [a](javascript:alert(1)).

```
# no heading

| no table
```
"""

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
