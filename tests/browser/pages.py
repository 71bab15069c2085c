"""A page as a browser opened it, with all that it complained of."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

LIMIT = 120_000  # ms; two busy cores are slow
SCRIPTS = "\n".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.js")))
WIDTHS = (400, 800, 1300, 2560)
SCHEMES = ("light", "dark")


@dataclass
class Opened:
    """A page, where it lies, and its complaints: console, errors, requests that lead outside."""

    page: Page
    root: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    seconds: float = 0.0
    unchanged: set[Request] = field(default_factory=set)

    def run(self, function: str, argument: object = None) -> Any:
        """Run a function of the scripts beside this file in the page."""
        return self.page.evaluate(f"(argument) => inspect.{function}(argument)", argument)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def see(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.root, "data:", "blob:")):
            self.complaints.append(f"request outside: {request.url}")

    def lose(self, request: Request) -> None:
        # Chromium calls an answer without a body (304, nothing changed) a failed one.
        if request not in self.unchanged:
            self.complaints.append(f"failed: {request.url}: {request.failure}")

    def answer(self, response: Response) -> None:
        if response.status == 304:
            self.unchanged.add(response.request)
        if response.status >= 400:
            self.complaints.append(f"answer {response.status}: {response.url}")


def open_page(
    browser: Browser,
    place: Path | str,
    width: int = 1300,
    height: int = 900,
    scheme: str = "light",
    scripts: bool = True,
    root: str | None = None,
) -> Opened:
    """Open a file or an address, and wait until it has loaded; what it does later is heard too."""
    address = place.as_uri() if isinstance(place, Path) else place
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(LIMIT)
    page = context.new_page()
    opened = Opened(page, root or address.rsplit("/", 1)[0] + "/")
    page.on("console", opened.hear)
    page.on("pageerror", lambda error: opened.complaints.append(f"page error: {error}"))
    page.on("request", opened.see)
    page.on("requestfailed", opened.lose)
    page.on("response", opened.answer)
    began = time.monotonic()
    page.goto(address, wait_until="load")
    opened.seconds = time.monotonic() - began
    page.evaluate(SCRIPTS)
    return opened


def unfold(page: Page) -> None:
    """Open all sections of a report."""
    page.eval_on_selector_all("details.fold", "all => all.forEach((one) => one.open = true)")


def none_of(bad: list[str]) -> None:
    """Fail where there is a fault, and say them all."""
    assert not bad, "\n".join(["", *bad])


def dead_links(opened: Opened, page: Path) -> list[str]:
    """Return the links of a page that lead to no file or no place, seen from where it lies."""
    bad = []
    for link in opened.run("links"):
        parts = urlsplit(link)
        if parts.scheme in ("http", "https", "mailto", "data"):
            continue
        if parts.scheme or parts.netloc or parts.path.startswith("/"):
            bad.append(f"{link}: not relative")
        elif parts.path:
            file = page.parent / unquote(parts.path)
            if file.is_dir():
                file /= "index.html"
            if not file.is_file():
                bad.append(f"{link}: no such file")
        elif parts.fragment and not opened.run("has", unquote(parts.fragment)):
            bad.append(f"{link}: no such place in the page")
    return bad
