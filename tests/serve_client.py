"""Starts `spotmill serve` as a process on a free loopback port, and asks it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Self

PATIENCE = 90.0  # s, on a machine with much else to do


class Server:
    """A server over results; as a context it ends by Ctrl-C, and must end well."""

    def __init__(self, results: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spotmill.cli", "serve", str(results), "--port", "0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout and self.process.stderr
        self.said = self.process.stdout.readline()
        assert "http://" in self.said, self.process.stderr.read()
        self.url = self.said.split(" at ")[1].split()[0]
        self.port = int(self.url.partition("?")[0].rstrip("/").rpartition(":")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        code, errors = self.end()
        assert code == 0, errors
        assert "Traceback" not in errors, errors

    def end(self, sign: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit code and what stands on stderr."""
        self.process.send_signal(sign)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    def get(self, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
        """Return an answer, its body read into `.body`."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=names)
        answer: Any = connection.getresponse()
        answer.body = answer.read()
        connection.close()
        return answer

    def text(self, path: str) -> str:
        """Return a page that is there."""
        answer: Any = self.get(path)
        assert answer.status == 200, (path, answer.status)
        return answer.body.decode()

    def changes(self) -> dict[str, Any]:
        """Return what the overview asks for now and then."""
        return json.loads(self.text("/changes.json"))

    def raw(self, request: bytes) -> bytes:
        """Return what comes for bytes that no client would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as line:
            parts = []
            # What is far too long is cut off.
            with suppress(ConnectionResetError, BrokenPipeError):
                line.sendall(request)
                while part := line.recv(65536):
                    parts.append(part)
        return b"".join(parts)

    def target(self, target: bytes, host: bytes = b"127.0.0.1") -> bytes:
        """Return what comes for a target, sent as it is."""
        return self.raw(
            b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
        )

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask until something holds; return what was told then."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            told = self.changes()
            if holds(told):
                return told
            time.sleep(0.3)
        raise AssertionError(told["title"] + told["parts"]["progress"])
