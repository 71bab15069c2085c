"""The conda environment and the container keep step with pyproject.toml and the lock."""

import re
import shlex
import tomllib
from importlib import metadata

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ENVS = ROOT / "envs"
# Names that conda-forge spells otherwise than PyPI.
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
CONDA_ONLY = {"python", "pip", "setuptools"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIRED = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
EXTRAS = [
    Requirement(line)
    for lines in PROJECT["project"]["optional-dependencies"].values()
    for line in lines
    if not line.startswith("spotmill[")
]
LOCK = {
    canonicalize_name(line.split("==")[0]): Version(line.split("==")[1])
    for line in (ENVS / "lock.txt").read_text().splitlines()
    if line and not line.startswith("#")
}


def conda_ranges() -> dict[str, str]:
    """Return the ranges of spotmill.yaml by conda's name, those left to pip included."""
    ranges = {}
    for line in yaml.safe_load((ENVS / "spotmill.yaml").read_text())["dependencies"]:
        words = line["pip"] if isinstance(line, dict) else [line]
        for word in words:
            requirement = Requirement(word)
            assert requirement.name not in ranges, f"{requirement.name} stands twice"
            ranges[requirement.name] = requirement.specifier
    return ranges


@pytest.mark.parametrize("requirement", REQUIRED + EXTRAS, ids=str)
def test_the_lock_has_every_dependency_in_its_range(requirement: Requirement) -> None:
    locked = LOCK[canonicalize_name(requirement.name)]
    assert locked in requirement.specifier


def test_the_lock_names_everything_once_and_exactly() -> None:
    lines = [line for line in (ENVS / "lock.txt").read_text().splitlines() if line.strip()]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in lines)
    assert len(LOCK) == len(lines)


def test_locked_versions_run_on_the_oldest_python() -> None:
    oldest = f"{PROJECT['project']['requires-python'].removeprefix('>=')}.0"
    wrong, seen = [], 0
    for found in metadata.distributions():
        if LOCK.get(canonicalize_name(found.name)) == Version(found.version):
            seen += 1
            wanted = found.metadata["Requires-Python"]
            if wanted and oldest not in SpecifierSet(wanted):
                wrong.append(f"{found.name} {found.version} needs Python {wanted}")
    assert wrong == [] and seen > 50


def test_the_conda_environment_has_the_ranges_of_pyproject() -> None:
    ranges = conda_ranges()
    expected = {CONDA_NAMES.get(req.name, req.name): req.specifier for req in REQUIRED}
    assert ranges.keys() - expected.keys() == CONDA_ONLY
    assert {name: ranges[name] for name in expected} == expected
    assert str(ranges["python"]) == PROJECT["project"]["requires-python"]
    build = {
        req.name: req.specifier for req in map(Requirement, PROJECT["build-system"]["requires"])
    }
    assert ranges["setuptools"] == build["setuptools"]


def test_the_conda_environment_states_its_channels_and_no_relative_paths() -> None:
    environment = yaml.safe_load((ENVS / "spotmill.yaml").read_text())
    # Snakemake copies the file elsewhere: a path relative to it would lead nowhere.
    assert environment.keys() == {"channels", "dependencies"}
    assert environment["channels"] == ["conda-forge", "bioconda", "nodefaults"]
    pip = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert not any(word.startswith(("-", ".", "/")) for words in pip for word in words)


def test_the_post_deploy_script_installs_spotmill_itself() -> None:
    # Snakemake finds it by this name, and reads its interpreter from the first line.
    script = (ENVS / "spotmill.post-deploy.sh").read_text()
    assert script.startswith("#!/bin/sh\n")
    calls = [shlex.split(line) for line in script.splitlines() if "-m pip install" in line]
    assert [words[-1] for words in calls] == [".", "$folder/source"]
    assert all({"--no-deps", "--no-build-isolation"} <= set(words) for words in calls)


def test_every_rule_names_the_environment() -> None:
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        rules = len(re.findall(r"^rule \w+:", text, re.MULTILINE))
        assert text.count('"../../envs/spotmill.yaml"') == rules, path.name


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile: keyword and words."""
    text = re.sub(r"^\s*#.*\n", "", (ENVS / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def test_the_container_copies_files_that_exist_and_are_not_ignored() -> None:
    ignore = (ENVS / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignore
    admitted = {line[1:] for line in ignore if line.startswith("!")}
    copied = set()
    for keyword, words in dockerfile():
        assert keyword != "ADD", "ADD fetches and unpacks; COPY does neither"
        if keyword == "COPY" and not words.startswith("--from="):
            copied |= set(words.split()[:-1])
    assert copied == admitted
    assert all((ROOT / name).exists() for name in copied)
    assert {"envs/lock.txt", "pyproject.toml", "src"} <= copied


def test_the_container_is_pinned() -> None:
    images = [words.split()[0] for keyword, words in dockerfile() if keyword == "FROM"]
    assert len(set(images)) == 1
    python = re.fullmatch(r"python:(3\.\d+)-slim-\w+", images[0])
    assert python
    floor = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert Version(python[1]) >= Version(floor)
    installs = [words for keyword, words in dockerfile() if keyword == "RUN" and "pip " in words]
    assert installs and all("-c /build/envs/lock.txt" in words for words in installs)


def test_the_container_runs_as_nobody_special_and_holds_no_secret() -> None:
    instructions = dockerfile()
    users = [words for keyword, words in instructions if keyword == "USER"]
    assert users and users[-1] not in ("root", "0")
    after = instructions[instructions.index(("USER", users[-1])) + 1 :]
    assert not any(keyword in ("RUN", "COPY") for keyword, _ in after)
    for keyword, words in instructions:
        if keyword in ("ARG", "ENV", "LABEL"):
            assert not re.search(r"token|secret|passw|credential|api_?key", words, re.IGNORECASE)
        assert not re.search(r"https?://[^/\s]*@", words)
