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
copied for it with --write-frames.

Ends with 0 where all was read; with 3 where some files or frames could not be read (a line each on
the standard error, and in predict.json; all others are done); with 1 where nothing could be done,
and then nothing is written; with 2 where the arguments are wrong.
"""

import argparse
import json
import logging
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from spotmill.commands.given_arguments import (
    add_given_arguments,
    add_model_arguments,
    given_by,
    pipeline_of,
)
from spotmill.errors import SpotmillError

SOME_FAILED = 3
TOLD_EVERY = 100  # frames
MOST_FAILURES = 1000
# Hits by their own files; hits.lst names those that hold their peaks, too.
HITS_ALONE = "hits_in_files.lst"

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill predict`."""
    parser.add_argument(
        "sources", metavar="FRAMES", nargs="+", type=Path, help="files, folders or .lst lists"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
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
    from spotmill.learning.training import use_threads

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Frames are looked at side by side, not parts of one: then the answers are the same.
    use_threads(1)
    check_folder(args.output)
    given = given_by(args)
    pipeline = pipeline_of(args)
    if not args.json:
        print("\n".join(introduced(pipeline)))
    summary = predict(args, pipeline, given)
    if args.json:
        print(json.dumps(summary, indent=1))
    else:
        print("\n".join(concluded(summary, args.output, args.cell)))
    return SOME_FAILED if summary["failed"] else 0


def check_folder(output: Path) -> None:
    """Raise SpotmillError where the output cannot be a folder."""
    place = next((one for one in (output, *output.parents) if one.exists()), None)
    if place is not None and not place.is_dir():
        raise SpotmillError(f"--output: {place} is a file; name a folder to write")


def introduced(pipeline: Any) -> list[str]:
    """Return lines that say what the models were trained on, and which are missing."""
    from spotmill.inference.pipeline import TARGETS

    lines = []
    for target, known in pipeline.trained_on.items():
        frames = known["training_frames"]
        low, high = frames["features"]["background"]
        kinds = frames["detectors"] or [frames["shape"]]
        shapes = " and ".join(dict.fromkeys(f"{kind[0]} x {kind[1]}" for kind in kinds))
        lines.append(
            f"{target.replace('_', ' ')}: {known['task']} ({known['model']}), trained on "
            f"{known['n'].get('train', '?')} frames of {shapes} pixels, "
            f"{10**low:.2g} to {10**high:.2g} photons a pixel"
        )
    lines += [
        f"{target.replace('_', ' ')}: no model in {pipeline.folder}, and nothing is told of it"
        for target in TARGETS
        if target not in pipeline.trained_on
    ]
    return lines


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
        if len(self.kept) < MOST_FAILURES:
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


def predict(args: argparse.Namespace, pipeline: Any, given: Any) -> dict[str, Any]:
    """Read, predict and write frame by frame; return the summary."""
    from spotmill.formats.atomic import write_text
    from spotmill.inference.answers import Refusal, answers
    from spotmill.inference.stated import ORDER
    from spotmill.progress import Progress

    on_terminal = sys.stderr.isatty()
    failures = Failures()
    hits = count = 0
    sources: dict[str, dict[str, int]] = {}
    with ExitStack() as stack:
        # In a log the lines below, which tell of hits, too.
        step = stack.enter_context(Progress("predict", None, quiet=not on_terminal))
        tables = handover = None
        for answer in answers(args.sources, given, pipeline, args.threads):
            if isinstance(answer, Refusal):
                failures.add(answer.path, answer.event, answer.why)
                continue
            event, said = answer.event, answer.said
            failures.tell()
            if tables is None or handover is None:
                # Nothing is left behind where nothing could be read.
                tables, handover = open_outputs(args, stack)
            tables.add(event, said)
            handover.add(event, said.peaks, said.is_hit, answer.place)
            tell_sources(event.stated.sources, sources)
            if said.is_hit and hits < args.pictures:
                draw(args.output, event, said, hits)
            count, hits = count + 1, hits + said.is_hit
            step()
            if count % TOLD_EVERY == 0 and not on_terminal:
                log.info("frames %d, hits %d", count, hits)
        if handover is None:
            raise failures.nothing(args.sources)
        summary = {
            "frames": count,
            "hits": hits,
            "failed": failures.count,
            "failures": failures.kept,
            "trust": ORDER,
            "stated_by": sources,
            "models": pipeline.trained_on,
        }
        handover.finish()
    summary["crystfel"] = handover.conclude(args.output / HITS_ALONE)
    write_text(args.output / "predict.json", json.dumps(summary, indent=1) + "\n")
    return summary


def open_outputs(args: argparse.Namespace, stack: ExitStack) -> tuple[Any, Any]:
    """Return the open tables, and what writes for CrystFEL."""
    from spotmill.inference.handover import open_handover
    from spotmill.inference.tables import open_tables

    tables = stack.enter_context(open_tables(args.output, HITS_ALONE))
    return tables, stack.enter_context(open_handover(args.output, args.write_frames))


def tell_sources(said: dict[str, str], sources: dict[str, dict[str, int]]) -> None:
    """Count who said what of a frame."""
    for name, who in said.items():
        counts = sources.setdefault(name, {})
        counts[who] = counts.get(who, 0) + 1


def draw(output: Path, event: Any, said: Any, number: int) -> None:
    """Draw a frame into the output folder."""
    from spotmill.inference.pictures import draw as picture

    name = f"{number:05d}_{event.path.stem}_{event.event}.png"
    picture(output / "pictures" / name, event, said)


def concluded(summary: dict[str, Any], output: Path, cell: Path | None = None) -> list[str]:
    """Return lines that say what came of it."""
    lines = [f"frames {summary['frames']}, hits {summary['hits']}, failed {summary['failed']}"]
    lines.append(f"trusted: {summary['trust']}")
    for name, counts in summary["stated_by"].items():
        by = ", ".join(f"{who} ({count})" for who, count in counts.items())
        lines.append(f"  {name} by {by}")
    lines.append(
        f"written: {output}/predictions.parquet, predictions.csv, hits.lst, peaks.cxi, predict.json"
    )
    return lines + handed_over(summary["crystfel"], output, cell)


def for_crystfel(words: list[str], cell: Path | None) -> list[str]:
    """Return lines with the command that goes on, with the cell that was given."""
    if cell is None:
        return ["for CrystFEL (add -p with your cell, and -o):", f"  {shlex.join(words)}"]
    return ["for CrystFEL (add -o):", f"  {shlex.join([*words, '-p', str(cell)])}"]


def handed_over(known: dict[str, Any], output: Path, cell: Path | None) -> list[str]:
    """Return lines that say how CrystFEL goes on, and what is missing for it."""
    lines = []
    if known["geometry"]:
        place = [str(output / known[name]) for name in ("geometry", "list")]
        words = ["indexamajig", "-g", place[0], "-i", place[1], *known["options"]]
        lines += for_crystfel(words, cell)
    if known["needs_plugin"]:
        lines.append("  its HDF5 needs the plugins that these images were compressed with:")
        lines.append(
            "  export HDF5_PLUGIN_PATH=\"$(python -c 'import hdf5plugin as h; "
            "print(h.PLUGIN_PATH)')\""
        )
    if known["why"]:
        lines.append(f"for CrystFEL: {known['why']}")
    return lines
