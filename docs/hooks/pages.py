"""Pages of the documentation site that are made, and links that hold there as on GitHub.

MkDocs calls `on_files` and `on_page_markdown` (mkdocs.yml).
"""

import argparse
import posixpath
import re
from functools import partial
from pathlib import Path
from typing import Any

from spotmill import reference
from spotmill.cli import COMMANDS, parser

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/spotmill"
# Files outside docs/ that are pages: name in the repository, name on the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "licence.md",
    "CITATION.cff": "citation.md",
    "config/README.md": "reference/configuration.md",
    "benchmarks/README.md": "reference/benchmarks.md",
}
# Packages with a page of their own; the others share one.
PACKAGES = ("physics", "formats", "inference", "learning")
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
COLUMNS = 96


def command_page() -> str:
    """Return the help of every subcommand as Markdown."""
    lines = ["# Commands", "", "Made from `spotmill COMMAND --help`.", ""]
    lines += ["| command | what it does |", "|---|---|"]
    lines += [f"| [`{name}`](#spotmill-{name}) | {what} |" for name, what in COMMANDS.items()]
    main = parser(list(COMMANDS))
    for choice in (a for a in main._actions if a.dest == "command"):
        for name, sub in dict(choice.choices or {}).items():
            lines += ["", f"## spotmill {name}", "", "```text", help_of(sub), "```"]
    return "\n".join(lines) + "\n"


def help_of(sub: argparse.ArgumentParser) -> str:
    """Return what `--help` prints, as wide on every host; argparse asks the terminal."""
    sub.formatter_class = partial(argparse.RawDescriptionHelpFormatter, width=COLUMNS)
    return sub.format_help().rstrip()


def module_names(package: str) -> list[str]:
    """Return the public modules of a package of Spotmill, or those outside the named ones."""
    folder = SOURCE / package
    names = []
    for path in sorted(folder.rglob("*.py")):
        words = path.relative_to(SOURCE).with_suffix("").parts
        if not package and words[0] in (*PACKAGES, "commands", "report"):
            continue
        if any(word.startswith("_") and word != "__init__" for word in words):
            continue
        names.append(".".join(("spotmill", *(word for word in words if word != "__init__"))))
    return names


def module_page(title: str, package: str) -> str:
    """Return a page of mkdocstrings' directives, one a module."""
    lines = [f"# {title}", "", "Made from the docstrings.", ""]
    for name in module_names(package):
        lines += [f"::: {name}", ""]
    return "\n".join(lines)


def made_pages() -> dict[str, str]:
    """Return the text of every page that is made, by its name on the site."""
    pages = {site: (ROOT / name).read_text(encoding="utf-8") for name, site in PAGES.items()}
    pages["licence.md"] = f"# Licence\n\n```text\n{pages['licence.md'].rstrip()}\n```\n"
    pages["citation.md"] = f"# How to cite\n\n```yaml\n{pages['citation.md'].rstrip()}\n```\n"
    pages["reference/configuration.md"] = reference.render()
    pages["reference/commands.md"] = command_page()
    for package in PACKAGES:
        title = f"Python: `spotmill.{package}`"
        pages[f"reference/{package}.md"] = module_page(title, package)
    pages["reference/modules.md"] = module_page("Python: other modules", "")
    return pages


def site_links(text: str, source: str, page: str) -> str:
    """Return Markdown whose links to files of the repository lead to their pages.

    `source` is the name of the text's file in the repository, `page` its name on the site.
    """

    def replaced(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        name = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = PAGES.get(name) or (name[5:] if name.startswith("docs/") else None)
        if place is None:
            return match[0]
        place = posixpath.relpath(place, posixpath.dirname(page) or ".")
        return f"{before}{place}{anchor or ''}{after}"

    return LINK.sub(replaced, text)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made to those of docs/."""
    from mkdocs.structure.files import File

    for name, text in made_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the repository into links to pages."""
    name = page.file.src_uri
    sources = {site: source for source, site in PAGES.items()}
    return site_links(markdown, sources.get(name, f"docs/{name}"), name)
