"""The browser, the pages it opens and the production they show."""

import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from playwright.sync_api import Browser, sync_playwright

from browser.pages import LIMIT, Opened, open_page
from browser.production import build

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Yield a headless Chromium: the one of `SPOTMILL_CHROMIUM`, or the system's."""
    found = subprocess.run([HERE / "install.sh"], stdout=subprocess.PIPE, text=True)
    said = found.stdout.splitlines()[-1]
    assert found.returncode == 0, said
    # As root Chromium runs only without its sandbox, and pages here are our own.
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=said, args=flags, timeout=LIMIT)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small finished production, or of that in `SPOTMILL_PRODUCTION`."""
    if "SPOTMILL_PRODUCTION" in os.environ:
        return Path(os.environ["SPOTMILL_PRODUCTION"]).resolve()
    base = tmp_path_factory.getbasetemp()
    # All workers of pytest look at one.
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "production"
    with (base / "production.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            build(base / "unfinished_production").rename(folder)
    return folder


@pytest.fixture(scope="session")
def report(production: Path) -> Path:
    """Return the folder of the production's report."""
    return production / "results/report"


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Return the folder in which pictures of the pages stay, for people to look at."""
    folder = ROOT / "build/screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Yield a function that opens a page; afterwards none may have complained."""
    opened: list[Opened] = []

    def opener(place: Path | str, **options: object) -> Opened:
        opened.append(open_page(browser, place, **options))
        return opened[-1]

    yield opener
    for one in opened:
        one.page.context.close()
    assert [complaint for one in opened for complaint in one.complaints] == []


@pytest.fixture(scope="module")
def listen() -> Iterator[Callable[..., str]]:
    """Yield a function that starts a server and returns the address it prints; all end after."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: object, cwd: Path | None = None) -> str:
        server = subprocess.Popen(
            list(map(str, words)),
            cwd=cwd,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        running.append(server)
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if found := re.search(r"http://[\d.:a-z]+/?", line):
                return found[0].rstrip("/") + "/"
        raise AssertionError(f"the server ended: {said}")

    yield start
    for server in running:
        server.send_signal(signal.SIGINT)
        with server:
            server.communicate()
