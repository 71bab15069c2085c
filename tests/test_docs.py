"""The documentation holds: links, anchors, commands, blocks of code, and the site itself."""

import argparse
import ast
import importlib
import importlib.util
import os
import posixpath
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from conftest import ROOT

from spotmill.cli import COMMANDS, parser
from spotmill.model import read_yaml
from spotmill.plan import read_plan
from spotmill.recipes import MODEL_RECIPES

PAGES = sorted(
    [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        ROOT / "config/README.md",
        ROOT / "benchmarks/README.md",
    ]
)
MAKE_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


class Block(NamedTuple):
    """A block of code: its page, first line, language and text."""

    page: str
    line: int
    language: str
    text: str


def blocks(text: str, page: str) -> Iterator[Block]:
    """Yield fenced blocks, and those set in by four spaces after an empty line."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        first, line = number, lines[number]
        number += 1
        if fence := re.match(r" *```+ *(\w*)", line):
            while number < len(lines) and not lines[number].strip().startswith("```"):
                number += 1
            yield Block(page, first + 2, fence[1], "\n".join(lines[first + 1 : number]))
            number += 1
        elif line.startswith("    ") and (not first or not lines[first - 1].strip()):
            while number < len(lines) and lines[number].startswith("    "):
                number += 1
            yield Block(page, first + 1, "", "\n".join(lines[first:number]))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


BLOCKS = [block for page in PAGES for block in blocks(page.read_text(), name_of(page))]
# What `--help` shows as examples.
HELP = [
    block
    for path in sorted((ROOT / "src/spotmill/commands").glob("*.py"))
    for block in blocks(ast.get_docstring(ast.parse(path.read_text())) or "", name_of(path))
]


def prose(text: str) -> str:
    """Return Markdown without its blocks and its code, in which nothing is a link."""
    return re.sub(r"`[^`\n]*`", "`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.M | re.S)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (unique := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(unique)
    return found


def broken_links(text: str, page: str) -> list[str]:
    """Return the links of a page that lead to no file or heading of the repository."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page), name)) if name else page
        path = ROOT / place
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_anchors_hold(page: Path) -> None:
    assert broken_links(page.read_text(), name_of(page)) == []


def test_a_broken_link_is_seen() -> None:
    text = "[a](docs/nothing.md) [b](docs/models.md#adding-a-model) [c](docs/models.md#nothing)"
    assert broken_links(text, "README.md") == ["docs/nothing.md", "docs/models.md#nothing"]


@cache
def parser_of(command: str, *, needs_all: bool) -> argparse.ArgumentParser:
    made = parser([command])
    if not needs_all:
        for action in made._actions:
            if isinstance(action, argparse._SubParsersAction):
                for sub in (action, *nested(action)):
                    sub.required = False
    return made


def nested(action: argparse.Action) -> Iterator[argparse.Action]:
    """Yield the arguments of all subcommands below."""
    for sub in dict(action.choices or {}).values():
        for group in sub._mutually_exclusive_groups:
            group.required = False
        for below in sub._actions:
            yield below
            if isinstance(below, argparse._SubParsersAction):
                yield from nested(below)


def commands(text: str, program: str) -> list[str]:
    """Return the calls of a program in a block, one string each, without prompts and comments."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        for part in re.split(r"\s\|\s|&&|;\s", re.sub(r"(^|\s)#.*", "", line)):
            words = part.strip().removeprefix("$ ")
            # "spotmill train: error: ..." is what a program says, not what one types.
            if words.split()[:1] == [program] and not re.match(r"\S+ [\w-]+: ", words):
                found.append(words)
    return found


def wrong_in(call: str) -> str | None:
    """Return what argparse has against a call of spotmill, or None.

    A `…` in it stands for what the reader fills in: then nothing is missed.
    """
    words = [word for word in shlex.split(re.sub(r"\s\d?>.*", "", call))[1:] if word != "&"]
    if words in (["--help"], ["--version"]):
        return None
    if not words or words[0] not in COMMANDS:
        return f"no such command: {call}"
    open_ended = any("…" in word for word in words)
    if open_ended:
        words = [word for word in words if word != "…"]
    if "--help" in words:
        return None
    try:
        parser_of(words[0], needs_all=not open_ended).parse_args(words)
    except SystemExit as end:
        return f"argparse ends with {end.code}: {call}"
    return None


CALLS = [
    (f"{block.page}:{block.line}", call)
    for block in (*BLOCKS, *HELP)
    for call in commands(block.text, "spotmill")
]


@pytest.mark.parametrize(("place", "call"), CALLS, ids=[f"{p} {c[:40]}" for p, c in CALLS])
def test_every_command_shown_is_one_that_argparse_takes(place: str, call: str, capsys) -> None:
    wrong = wrong_in(call)
    assert wrong is None, f"{place}: {wrong}: {capsys.readouterr().err}"


@pytest.mark.parametrize(
    "call",
    [
        "spotmill predikt run7/",
        "spotmill predict run7/ --models m --output o --geometri d.geom",
        "spotmill predict run7/ --models m",
        "spotmill predict … --modells m",
        "spotmill simulate … --engine none",
    ],
)
def test_a_wrong_command_is_seen(call: str) -> None:
    assert wrong_in(call) is not None


def test_many_commands_were_looked_at() -> None:
    assert len(CALLS) > 30
    assert {call.split()[1] for _, call in CALLS} > {"predict", "watch", "diff", "simulate"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_named_in_prose_exist(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)
    named = set(re.findall(r"`spotmill ([a-z][\w-]*)[^`]*`", text))
    assert named <= set(COMMANDS)
    targets = set(re.findall(r"`make ([a-z][\w-]*)", text))
    assert targets <= MAKE_TARGETS


def test_make_and_snakemake_are_called_with_what_there_is() -> None:
    for block in BLOCKS:
        for call in commands(block.text, "make"):
            assert {word for word in call.split()[1:] if "=" not in word} <= MAKE_TARGETS, block
        for call in commands(block.text, "snakemake"):
            for option, value in pairwise(call.split()):
                if option in ("--profile", "--configfile"):
                    assert (ROOT / value).exists(), f"{block.page}:{block.line}: {value}"


PYTHON = [block for block in BLOCKS if block.language in ("python", "py")]
YAML = [block for block in BLOCKS if block.language in ("yaml", "yml")]


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}:{block.line}")
def test_python_compiles_and_imports_what_exists(block: Block) -> None:
    compile(block.text, f"{block.page}:{block.line}", "exec")
    imports = re.findall(r"^from (spotmill[\w.]*) import ([\w, ]+)$", block.text, re.MULTILINE)
    for module, names in imports:
        for name in names.split(","):
            assert hasattr(importlib.import_module(module), name.strip()), block.page


@pytest.mark.parametrize("block", YAML, ids=lambda block: f"{block.page}:{block.line}")
def test_yaml_parses(block: Block) -> None:
    # A line of dots stands for lines left out.
    text = re.sub(r"^\s*(\.\.\.|…)\s*$", "", block.text, flags=re.MULTILINE)
    assert isinstance(yaml.safe_load(text), dict | list)


def test_there_is_python_and_yaml() -> None:
    assert len(PYTHON) > 3 and len(YAML) > 5


def test_every_model_and_page_can_be_reached() -> None:
    models = (ROOT / "docs/models.md").read_text()
    assert [name for name in MODEL_RECIPES if f"`{name}`" not in models] == []
    readme = (ROOT / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {name for name in pages if f"docs/{name}" not in readme} == set()


def test_the_map_of_the_code_names_every_module_and_folder() -> None:
    named = (ROOT / "CONTRIBUTING.md").read_text()
    source = ROOT / "src/spotmill"
    modules = [path.name for path in source.glob("[a-z]*.py")]
    folders = [f"{path.parent.name}/" for path in source.glob("*/__init__.py")]
    assert len(modules) > 15 and len(folders) > 10
    assert [name for name in (*modules, *folders) if name not in named] == []


def test_the_paper_is_followed_to_places_that_the_report_has(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    plan = read_plan(read_yaml("config/config.yaml"))
    listed = (ROOT / "workflow/rules/common.smk").read_text().split("FIGURES = [")[1]
    names = re.findall(r'"(\w+)"', listed.partition("]")[0])
    names += [f"{name}_{figure}" for name, task in plan.tasks.items() for figure in task.figures]
    places = {"verdict", "data"} | {f"figure-{name}" for name in names}
    places |= {f"task-{name}" for name in plan.tasks}
    led = set(re.findall(r"`#([\w-]+)`", (ROOT / "docs/from-the-paper.md").read_text()))
    assert len(led) > 15
    assert led - places == set()
    text = (ROOT / "docs/from-the-paper.md").read_text()
    figures = {
        int(n)
        for row in re.findall(r"^\| (Figures? [\d, ]+)", text, re.M)
        for n in re.findall(r"\d+", row)
    }
    assert figures == set(range(1, 25)) and "| Table 1 |" in text


def quoted_errors() -> list[str]:
    """Return the messages that the FAQ explains."""
    found = []
    for block in blocks((ROOT / "docs/faq.md").read_text(), "docs/faq.md"):
        for line in block.text.splitlines():
            if re.match(r"spotmill [\w-]+: error: ", line):
                found.append(line.split(": error: ", 1)[1])
    return found


def templates() -> list[re.Pattern[str]]:
    """Return what the sources may say: each string long enough to tell a message, its gaps open."""
    found = []
    for path in (ROOT / "src/spotmill").rglob("*.py"):
        text = re.sub(r'"\s*\n\s*f?"', "", path.read_text())
        strings = re.findall(r'"((?:[^"\\\n]|\\.)*)"', text) + re.findall(r"'([^'\n]{20,})'", text)
        for string in strings:
            pieces = re.split(r"\{[^}]*\}+", string)
            if max(map(len, pieces)) >= 16 or (len(pieces) > 1 and len("".join(pieces)) >= 12):
                found.append(re.compile(".+".join(map(re.escape, pieces))))
    return found


def test_the_faq_quotes_messages_that_exist() -> None:
    known, quoted = templates(), quoted_errors()
    assert len(quoted) >= 10

    def unknown(messages: list[str]) -> list[str]:
        return [said for said in messages if not any(pattern.search(said) for pattern in known)]

    assert unknown(quoted) == []
    assert unknown(["results: the moon is in a wrong place; wait"])


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")),
    reason="no MkDocs here: make setup brings it",
)
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text()):
            assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag), f"{page}: {tag}"
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(?:https?:)?//", style.read_text()), style
    # What search needs where the site is opened by a double click.
    assert (tmp_path / "site/search/search_index.js").is_file()
    assert 'src="javascripts/iframe-worker.js"' in (tmp_path / "site/index.html").read_text()
    commands_page = (tmp_path / "site/reference/commands.html").read_text()
    assert all(f'id="spotmill-{name}"' in commands_page for name in COMMANDS)
