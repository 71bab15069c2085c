r"""Tell hits, peaks, photon energy and camera length of frames by trained models.

Examples::

    spotmill predict run7/ more.lst --models results/models --output predicted \
        --geometry detector.geom
    spotmill predict run7_master.h5 --models results/models --output predicted \
        --photon-energy 9000 --clen 0.12 --beam-centre 1031.5 1080 --mask bad.npy --pictures 20
    spotmill predict sacla.h5 --data '/%/data' --models results/models --output predicted --json

Reads files, folders and lists in CrystFEL's form (`file //event` a line): HDF5 of all sorts, CBF,
TIFF, MAR and others, many frames a file. What is known of a frame beforehand is taken as it is
given by hand, then from the geometry file, then from the data file; the source is told.

Writes predictions.parquet and .csv (a row a frame), predict.json, and what CrystFEL's indexamajig
goes on with: peaks.cxi, predicted.geom and hits.lst. Images that do not lie in HDF5 files are
copied for it with --write-frames. What an earlier run has written into the output folder is
replaced: copies of hits (hits.cxi) and pictures of it go, too; other files there stay.

Ends with 0 where all was read; with 3 where some files or frames could not be read (a line each on
the standard error, and in predict.json; all others are done); with 1 where nothing could be done,
and then nothing is written; with 2 where the arguments are wrong.
"""

import argparse
import json
import logging
import os
import sys
from array import array
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from spotmill.commands.given_arguments import (
    add_given_arguments,
    add_model_arguments,
    check_folder,
    check_models,
    check_names,
    check_sources,
    given_by,
    pipeline_of,
)
from spotmill.commands.predict_words import concluded, introduced
from spotmill.errors import SpotmillError
from spotmill.inference.own_files import (
    HITS,
    HITS_ALONE,
    OWN,
    PICTURES,
    SUMMARY,
    check_not_watched,
    remove_leftovers,
)

SOME_FAILED = 3
TOLD_EVERY = 100  # frames
MOST_NAMED = 1000

FOLDER = "folder to write; what an earlier run wrote there is replaced, or removed"

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill predict`."""
    parser.add_argument(
        "sources", metavar="FRAMES", nargs="+", type=Path, help="files, folders or .lst lists"
    )
    parser.add_argument("--output", type=Path, required=True, help=FOLDER)
    add_model_arguments(parser)
    add_given_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--write-frames",
        action="store_true",
        help="copy the images of hits into hits.cxi, for CrystFEL",
    )


def run(args: argparse.Namespace) -> int:
    """Run `spotmill predict`; return 0, or 3 where some frames could not be read."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # What is wrong with a name is told before torch is loaded, which takes seconds.
    check_sources(args.sources)
    check_folder(args.output)
    check_names(args)
    given = given_by(args)
    check_models(args)
    check_not_watched(args.output)
    replaces = (args.output / SUMMARY).is_file()
    summary = predict(args, given)
    if args.json:
        print(json.dumps(summary, indent=1))
    else:
        print("\n".join(concluded(summary, args.output, args.cell, replaces)))
    return SOME_FAILED if summary["failed"] else 0


def opened(args: argparse.Namespace) -> Any:
    """Return the models, after saying what they were trained on."""
    from spotmill.learning.networks import use_threads
    from spotmill.progress import print_beside

    # Frames are looked at side by side, not parts of one: then the answers are the same.
    use_threads(1)
    pipeline = pipeline_of(args)
    if not args.json:
        print_beside("\n".join(introduced(pipeline)))
    return pipeline


class Failures:
    """Files and frames that could not be read, told as they come.

    A reason that many frames share is told once. The first waits: where it is the only one and
    nothing was read, it is the error itself.
    """

    def __init__(self) -> None:
        self.count = 0
        self.kept: list[dict[str, Any]] = []
        self._waiting = self._last = ""
        self._waits = True

    def add(self, path: Path, event: int | None, why: str) -> None:
        """Tell of a file, or of a frame of it."""
        self.count += 1
        if len(self.kept) < MOST_NAMED:
            self.kept.append({"file": str(path), "event": event, "why": why})
        if self._waits and self.count == 1:
            self._waiting = why
        elif why != self._last:
            self.tell()
            say(why)
        self._last = why

    def tell(self) -> None:
        """Tell of the first, if that was not done, and of all others as they come."""
        self._waits = False
        if self._waiting:
            say(self._waiting)
            self._waiting = ""

    def nothing(self, sources: list[Path]) -> SpotmillError:
        """Return the error of a run that read nothing."""
        if self._waiting:
            return SpotmillError(self._waiting)
        return SpotmillError(
            f"{sources[0]}: no frame could be read, for the reasons above; give other frames"
        )


def say(why: str) -> None:
    """Print why something was not read."""
    from spotmill.cli import one_line
    from spotmill.progress import print_beside

    print_beside(f"spotmill predict: error: {one_line(why)}", error=True)


def warn(event: Any, why: str) -> None:
    """Print what the first such frame contradicts."""
    from spotmill.progress import print_beside

    place = f"{event.name}: {why} (all such frames: `remark`)"
    print_beside(f"spotmill predict: warning: {place}", error=True)


def predict(args: argparse.Namespace, given: Any) -> dict[str, Any]:
    """Read, predict and write frame by frame; return the summary."""
    from spotmill.formats.atomic import write_text
    from spotmill.inference.answers import Refusal, answers
    from spotmill.inference.stated import ORDER
    from spotmill.progress import Progress

    on_terminal = sys.stderr.isatty()
    failures, seen = Failures(), Seen()
    passed_over = PassedOver(args.output)
    sources: dict[str, dict[str, int]] = {}
    trained_on: dict[str, Any] = {}
    drawn: list[Path] = []
    read: set[Path] = set()

    def load() -> Any:
        pipeline = opened(args)
        trained_on.update(pipeline.trained_on)
        return pipeline

    with ExitStack() as stack:
        # In a log the lines below, which tell of hits, too.
        step = stack.enter_context(Progress("predict", None, quiet=not on_terminal))
        tables = handover = None
        for answer in answers(args.sources, given, load, args.threads, passed_over.add):
            if isinstance(answer, Refusal):
                failures.add(answer.path, answer.event, answer.why)
                continue
            event, said = answer.event, answer.said
            failures.tell()
            if tables is None or handover is None:
                # Nothing is left behind where nothing could be read.
                tables, handover = open_outputs(args, stack, said.knows_peaks)
            tables.add(event, said)
            handover.add(event, said.peaks, said.is_hit, answer.place)
            tell_sources(event.stated.sources, sources)
            if said.is_hit and seen.hits < args.pictures:
                drawn.append(draw(args.output, event, said, seen.hits))
            if said.off_centre and not seen.off_centre:
                warn(event, said.off_centre)
            seen.add(said)
            read.add(event.path)
            step()
            if seen.frames % TOLD_EVERY == 0 and not on_terminal:
                log.info("frames %d, hits %d", seen.frames, seen.hits)
        if handover is None:
            raise failures.nothing(args.sources)
        summary = {
            "frames": seen.frames,
            "hits": seen.hits,
            "failed": failures.count,
            "failures": failures.kept,
            "passed_over": passed_over.names,
            "unlike_training": seen.unlike,
            "peaks_of_a_hit": seen.middle_of_peaks(),
            "lattice": None if args.cell is None else seen.lattice(args.cell),
            "trust": ORDER,
            "stated_by": sources,
            "models": trained_on,
        }
        handover.finish()
    summary["crystfel"] = handover.conclude(args.output / HITS_ALONE)
    copies = [args.output / HITS] if args.write_frames else []
    remove_leftovers(args.output, [*drawn, *copies], read)
    write_text(args.output / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary


class Seen:
    """Counts what the models said of frames."""

    def __init__(self) -> None:
        self.frames = self.hits = self.unlike = self.off_centre = 0
        self._found = self._looked_for = 0
        self._peaks = array("q")

    def add(self, said: Any) -> None:
        """Count a frame."""
        # Loaded with the models, not before them.
        from spotmill.inference.verdict import STRANGE

        self.frames += 1
        self.unlike += said.out_of_distribution > STRANGE
        self.off_centre += bool(said.off_centre)
        if not said.is_hit:
            return
        self.hits += 1
        self._found += bool(said.lattice)
        self._looked_for += said.lattice is not None
        if said.n_peaks is not None:
            self._peaks.append(said.n_peaks)

    def middle_of_peaks(self) -> float | None:
        """Return the median number of peaks of a hit; None where none were looked for."""
        return float(median(self._peaks)) if self._peaks else None

    def lattice(self, cell: Path) -> dict[str, Any]:
        """Return in how many hits the lattice of a cell was found."""
        return {"cell": cell.name, "looked_for": self._looked_for, "found": self._found}


class PassedOver:
    """What folders hold besides images, without what this command writes there."""

    def __init__(self, output: Path) -> None:
        self._output = os.path.realpath(output)
        self.names: list[str] = []

    def add(self, path: Path) -> None:
        """Take another one."""
        # What cannot be looked at has a name all the same.
        above, place = os.path.realpath(path.parent), os.path.realpath(path)
        own = place == self._output or (path.name in OWN and above == self._output)
        if not own and len(self.names) < MOST_NAMED:
            self.names.append(f"{path}/" if os.path.isdir(path) else str(path))  # noqa: PTH112


def open_outputs(args: argparse.Namespace, stack: ExitStack, knows_peaks: bool) -> tuple[Any, Any]:
    """Return the open tables, and what writes for CrystFEL."""
    from spotmill.inference.handover import open_handover
    from spotmill.inference.tables import open_tables

    tables = stack.enter_context(open_tables(args.output, HITS_ALONE))
    return tables, stack.enter_context(open_handover(args.output, args.write_frames, knows_peaks))


def tell_sources(said: dict[str, str], sources: dict[str, dict[str, int]]) -> None:
    """Count who said what of a frame."""
    for name, who in said.items():
        counts = sources.setdefault(name, {})
        counts[who] = counts.get(who, 0) + 1


def draw(output: Path, event: Any, said: Any, number: int) -> Path:
    """Draw a frame into the output folder; return the picture."""
    from spotmill.inference.pictures import draw as picture

    path = output / PICTURES / f"{number:05d}_{event.path.stem}_{event.event}.png"
    picture(path, event, said)
    return path
