"""The documentation site in a browser: by a double click, and served."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from browser.pages import SCHEMES, WIDTHS, dead_links, none_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return folder


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pages_open_from_files_without_a_word(visit, site, scheme) -> None:
    """A page of each section of the site; links of all pages are tested by `mkdocs --strict`."""
    for name in ("index", "tutorial", "physics", "reference/commands", "from-the-paper"):
        opened = visit(site / f"{name}.html", scheme=scheme, root=site.as_uri())
        none_of(dead_links(opened, site / f"{name}.html"))
        pictures = opened.page.locator("article img").all()
        assert all(one.evaluate("one => one.decode().then(() => true)") for one in pictures)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_sideways(visit, site, screenshots, width) -> None:
    opened = visit(site / "index.html", width=width, root=site.as_uri())
    none_of(opened.run("overflow"))
    opened.page.screenshot(path=screenshots / f"docs_{width}.png")


def search(page, word: str) -> None:
    """Search the site for a word, go to the first page found, and see that it has the word."""
    box = page.locator("input[name=query]")
    box.click()
    box.press_sequentially(word)
    first = page.locator(".md-search-result__link").first
    first.wait_for()
    first.click()
    page.wait_for_url("**/*.html?h=*")
    assert word in page.locator("article").inner_text().lower()


def test_the_search_finds_a_page_from_files(visit, site) -> None:
    search(visit(site / "index.html", root=site.as_uri()).page, "bandwidth")


def test_the_search_finds_a_page_where_the_site_is_served(visit, site, listen) -> None:
    address = listen(sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", site)
    search(visit(address + "index.html", root=address).page, "bandwidth")
