"""Looks at the machine and at the project in the folder."""

import codecs
import locale
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from spotmill.doctor.finding import Finding, broken, doubtful, well
from spotmill.errors import SpotmillError
from spotmill.plan import Plan

CONFIG = Path("config/config.yaml")
OTHER_RULES_MB = 3000  # the most that a rule takes which trains no model (workflow/rules)
LEAST_LEFT = 1e9  # bytes that should be left on the disk when all is made


def look() -> Iterator[Finding]:
    """Yield what there is to say of the machine and of the folder."""
    yield encoding()
    yield writable("temporary files", Path(tempfile.gettempdir()), "set TMPDIR to another folder")
    yield writable("this folder", Path.cwd(), "go to a folder of your own")
    if not CONFIG.is_file() and Path("Snakefile").is_file():
        remedy = "bring it back, or take config/ of a new project (spotmill init FOLDER)"
        yield broken("project", f"a Snakefile is here, but no {CONFIG}", remedy)
        return
    if not CONFIG.is_file():
        yield well("project", "there is none in this folder; spotmill init FOLDER makes one")
        return
    yield from project()


def encoding() -> Finding:
    """Check that texts are UTF-8 here."""
    used = {locale.getpreferredencoding(False), sys.getfilesystemencoding()}
    others = [name for name in used if codecs.lookup(name).name != "utf-8"]
    if others:
        remedy = "export LC_ALL=C.UTF-8"
        return doubtful("locale", f"{others[0]}, not UTF-8: other letters may break", remedy)
    return well("locale", "UTF-8")


def writable(what: str, folder: Path, remedy: str) -> Finding:
    """Check that a file can be written in a folder."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".spotmill-doctor-") as file:
            file.write(b"spotmill")
            file.flush()
    except OSError as error:
        return broken(what, f"{folder}: cannot be written ({error.strerror})", remedy)
    return well(what, f"{folder} can be written")


def project() -> Iterator[Finding]:
    """Yield what there is to say of the project in this folder."""
    from spotmill.foreseen import check_classes, check_files
    from spotmill.model import read_yaml
    from spotmill.plan import read_plan

    try:
        plan = read_plan(read_yaml(CONFIG), str(CONFIG))
    except SpotmillError as error:
        yield broken("configuration", str(error), "spotmill doctor says when it is well")
        return
    frames = sum(plan.n_frames(name, kind) for name in plan.datasets for kind in "pe")
    told = f"{len(plan.datasets)} datasets, {frames} frames, {len(plan.tasks)} tasks"
    yield well("configuration", told)
    yield workflow()
    yield memory(plan)
    try:
        check_files(plan)
        check_classes(plan, plan.tasks)
    except SpotmillError as error:
        yield broken("inputs", str(error), "put that right, then ask again")
        return
    yield disk(plan)


def workflow() -> Finding:
    """Compare the project's rules with those of the installed version."""
    from spotmill.commands.init import outdated
    from spotmill.project import home

    files = outdated(home(), Path.cwd())
    if files:
        others = f" and {len(files) - 1} more differ" if len(files) > 1 else " differs"
        remedy = "spotmill init --update . renews them"
        return doubtful("workflow", f"{files[0]}{others} from the installed version", remedy)
    return well("workflow", "is that of the installed version")


def memory(plan: Plan) -> Finding:
    """Compare the largest job with the machine's memory."""
    import psutil

    from spotmill.learning.registry import MODELS

    jobs = {f"training {name}": MODELS[task.model].memory for name, task in plan.tasks.items()}
    largest, needed = max({**jobs, "the report": OTHER_RULES_MB}.items(), key=lambda job: job[1])
    room = psutil.virtual_memory()
    total, free = room.total / 1e6, room.available / 1e6
    told = f"{total / 1000:.3g} GB, {free / 1000:.3g} GB free; {largest} takes {needed / 1000:g} GB"
    if total < needed:
        return broken("memory", told, "take this task out of the configuration, or use a cluster")
    if free < needed:
        return doubtful("memory", told, "close other programs before the run")
    return well("memory", told)


def disk(plan: Plan) -> Finding:
    """Compare what a run would write with the room on the disk."""
    from spotmill.difference import difference
    from spotmill.pending import pending_jobs

    try:
        cost = difference(plan, pending_jobs(["--profile", "profiles/local"])).cost
    except SpotmillError as error:
        return broken("dry run", str(error), "put that right, then ask again")
    free, more = shutil.disk_usage(Path.cwd()).free, max(0.0, cost.bytes - cost.replaced)
    told = f"{free / 1e9:.3g} GB free, a run writes about {more / 1e9:.2g} GB more"
    if free < more:
        return broken("disk", told, "make room, or lower n_patterns")
    if free < more + LEAST_LEFT:
        return doubtful("disk", told, "make room")
    return well("disk", told)
