"""Looks at Python, the libraries and the programs beside them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from spotmill.doctor.finding import Finding, broken, doubtful, well

PATIENCE = 300  # seconds; the first import of torch from a cold network disk takes minutes
EXTRAS = {
    "export": "spotmill export onnx",
    "storage": "remote files (docs/storage.md)",
}
PLUGIN = "snakemake-executor-plugin-slurm"


def look(probes: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what there is to say of the installation; `probes` names the libraries to try."""
    yield python()
    yield from requirements()
    for extra, purpose in EXTRAS.items():
        yield optional(extra, purpose)
    for name in probes:
        yield probe(name)
    yield program("spotmill")
    yield program("snakemake")
    yield slurm()


def python() -> Finding:
    """Compare the version of Python with what the package asks for."""
    wanted = metadata.metadata("spotmill")["Requires-Python"]
    version = ".".join(map(str, sys.version_info[:3]))
    if version not in SpecifierSet(wanted):
        remedy = f"install Spotmill with a Python {wanted}"
        return broken("Python", f"{version}, not {wanted}", remedy)
    return well("Python", f"{version} ({sys.executable})")


def required(extra: str) -> list[Requirement]:
    """Return what the package asks for here, always ("") or with an extra."""
    found = []
    for line in metadata.requires("spotmill") or []:
        one = Requirement(line)
        always = one.marker is None or one.marker.evaluate({"extra": ""})
        named = one.marker is not None and one.marker.evaluate({"extra": extra})
        if named and not always if extra else always:
            found.append(one)
    return found


def problems(wanted: list[Requirement]) -> dict[str, str]:
    """Return what is wrong with installed versions, by the requirement that would put it right."""
    wrong = {}
    for one in wanted:
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong[f"{one.name}{one.specifier}"] = f"{one.name} is not installed"
            continue
        # A build before a release counts: who installed one meant it.
        if not one.specifier.contains(version, prereleases=True):
            wrong[f"{one.name}{one.specifier}"] = f"{one.name} {version} is not {one.specifier}"
    return wrong


def requirements() -> Iterator[Finding]:
    """Yield a line for every library out of its range, or one for all."""
    wanted = required("")
    wrong = problems(wanted)
    for requirement, how in wrong.items():
        yield broken("libraries", how, f"pip install '{requirement}'")
    if not wrong:
        yield well("libraries", f"{len(wanted)} of {len(wanted)} are there, in their ranges")


def optional(extra: str, purpose: str) -> Finding:
    """Say whether an extra is there; it need not be."""
    what, wrong = f"extra {extra}", problems(required(extra))
    absent = [how for how in wrong.values() if how.endswith("not installed")]
    if not wrong:
        return well(what, f"is there, for {purpose}")
    if len(absent) == len(wrong):
        remedy = f"pip install 'spotmill[{extra}]'"
        return well(what, f"is not there; {remedy} for {purpose}")
    how = next(one for one in wrong.values() if one not in absent)
    return doubtful(what, how, f"pip install 'spotmill[{extra}]'")


def probe(name: str) -> Finding:
    """Try a library in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-m", "spotmill.doctor.probes", name],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return broken(name, f"gave no answer for {PATIENCE} s", "try again; look at disk and load")
    if done.returncode < 0:
        remedy = f"install another build of {name} for this processor"
        return broken(name, f"crashes (signal {-done.returncode})", remedy)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return broken(name, last[:200], f"install {name} again")
    told = json.loads(done.stdout.splitlines()[-1])
    if "failure" in told:
        return broken(name, told["failure"], told["remedy"])
    if "warning" in told:
        return doubtful(name, f"{told['found']}; {told['warning']}", told["remedy"])
    return well(name, told["found"])


def program(name: str) -> Finding:
    """Check that the shell finds a program, and that of this installation."""
    found, own = shutil.which(name), Path(sys.executable).parent
    if found is None:
        remedy = f'export PATH="{own}:$PATH" (or activate the environment)'
        return broken(name, "is not on the PATH, and jobs call it", remedy)
    if Path(found).parent.resolve() != own.resolve():
        remedy = f'export PATH="{own}:$PATH" (or activate the environment)'
        return doubtful(name, f"{found} comes first, of another installation", remedy)
    try:
        done = subprocess.run(
            [found, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return broken(name, f"{found} does not start ({error})", f"install {name} again")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return broken(name, f"{found} fails: {last[:200]}", f"install {name} again")
    return well(name, f"{done.stdout.split()[-1]} ({found})")


def slurm() -> Finding:
    """Say whether Snakemake can send jobs to SLURM from here."""
    try:
        version = metadata.version(PLUGIN)
    except metadata.PackageNotFoundError:
        return broken("SLURM", "Snakemake's plugin is not installed", f"pip install {PLUGIN}")
    absent = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if len(absent) == 3:
        return well("SLURM", f"plugin {version}; no SLURM on this machine, none is needed here")
    if absent:
        remedy = "ask for SLURM's client programs on this machine"
        return doubtful("SLURM", f"plugin {version}; {', '.join(absent)} not found", remedy)
    where = os.environ.get("SLURM_CLUSTER_NAME", "")
    return well("SLURM", f"plugin {version}, sbatch found{f' ({where})' if where else ''}")
