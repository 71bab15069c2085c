r"""Watch a folder while frames arrive: tell hits, peaks and drifts as they come.

Example::

    spotmill watch run7/ --models results/models --output watched --geometry detector.geom

Looks at the folder and its sub-folders every few seconds, puts the models to each new frame once
(as `spotmill predict` does), and appends to predictions.csv and hits.lst in the output folder,
with predictions.parquet and peaks/ in parts. watch.html shows the stream against time and reloads
itself; monitor.csv is its table, alarms.csv says what drifted. watch.sqlite remembers what is
done: stopped or killed at any moment and started again, the watch goes on, and no frame is lost or
repeated. End it with Ctrl-C.
"""

import argparse
import json
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from spotmill.commands.arguments import whole
from spotmill.commands.given_arguments import (
    add_given_arguments,
    add_model_arguments,
    check_folder,
    check_models,
    check_names,
    given_by,
    pipeline_of,
)
from spotmill.commands.predict_words import for_crystfel, introduced
from spotmill.errors import SpotmillError

SOME_FAILED = 3
EVERY = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill watch`."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder that frames come into")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    add_model_arguments(parser)
    add_given_arguments(parser)
    parser.add_argument(
        "--every",
        type=seconds("--every", 0.05, 3600),
        default=EVERY,
        metavar="SECONDS",
        help="between looks; a file must stand still for as long (default 2)",
    )
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument(
        "--until-idle",
        type=seconds("--until-idle", 0.1, 1e7),
        metavar="SECONDS",
        help="end when nothing new came for so long",
    )
    ends.add_argument("--once", action="store_true", help="do what is there, and end")
    parser.add_argument(
        "--newest-first", action="store_true", help="newest files first, where some wait"
    )
    add_drift_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON at the end")


def add_drift_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how drift is told."""
    parser.add_argument(
        "--block",
        type=whole("--block", 5, 100_000),
        default=25,
        metavar="FRAMES",
        help="frames that the watch for drift takes together (default 25)",
    )
    parser.add_argument(
        "--false-alarms",
        type=seconds("--false-alarms", 1e-4, 10),
        default=0.1,
        metavar="N",
        help="alarms expected per 10 000 frames without any drift (default 0.1)",
    )


def seconds(flag: str, low: float, high: float) -> Callable[[str], float]:
    """Return the type of a flag that takes a number from low to high."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise SpotmillError(
                f"{flag}: {text[:40]!r} is not a number; give one from {low:g} to {high:g}"
            ) from error
        if not (math.isfinite(value) and low <= value <= high):
            raise SpotmillError(
                f"{flag}: {text[:40]} is not between {low:g} and {high:g}; correct it"
            )
        return value

    return number


def run(args: argparse.Namespace) -> int:
    """Run `spotmill watch`; return 0, or 3 where it ended by itself and some could not be read."""
    # A reader that locks files would keep the detector from writing on; HDF5 reads this when it
    # is loaded.
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # What is wrong with a name is told before torch is loaded, which takes seconds.
    folder = check_watched(args.folder)
    check_folder(args.output)
    check_names(args)
    given = given_by(args)
    check_models(args)
    from spotmill.inference.events import Maker
    from spotmill.inference.ledger import Ledger
    from spotmill.inference.monitor import Monitor
    from spotmill.inference.published import Published
    from spotmill.inference.watch_work import Plan
    from spotmill.inference.watching import Watcher
    from spotmill.learning.networks import use_threads

    # Frames are looked at side by side, as predict does.
    use_threads(1)
    output = args.output.resolve()
    stop = threading.Event()
    with until_signal(stop), ExitStack() as stack:
        pipeline = pipeline_of(args)
        ledger = stack.enter_context(Ledger.open(output, settings(args, folder, pipeline)))
        published = Published(output, ledger, Maker(given), pipeline.knows_peaks)
        stack.callback(published.close)
        published.open()
        facts = {"folder": str(folder), "models": pipeline.trained_on}
        monitor = Monitor(f"Spotmill watch: {folder}", args.block, args.false_alarms, facts)
        monitor.replay(ledger)
        plan = Plan(
            folder=folder,
            output=output,
            every=args.every,
            until_idle=args.until_idle,
            once=args.once,
            newest_first=args.newest_first,
            pictures=args.pictures,
            threads=args.threads,
        )
        draw = drawer(output)
        watcher = Watcher(plan, pipeline, given, ledger, published, monitor, say, draw, stop)
        begin(args, folder, monitor.frames, pipeline)
        summary = watcher.run()
        was_stopped = stop.is_set()
    if args.json:
        print(json.dumps(summary, indent=1))
    else:
        print("\n".join(concluded(summary, args.output, args.cell)))
    return SOME_FAILED if summary["failed"] and not was_stopped else 0


def check_watched(folder: Path) -> Path:
    """Return a folder's true path, or raise SpotmillError where it cannot be listed."""
    try:
        os.listdir(folder)  # noqa: PTH208 (whether it can be listed is the question)
        return folder.resolve()
    except NotADirectoryError as error:
        raise SpotmillError(
            f"{folder}: is no folder; give the folder that frames come into (of a file: spotmill "
            "predict)"
        ) from error
    except FileNotFoundError as error:
        raise SpotmillError(f"{folder}: no such folder; make it, or correct the name") from error
    except OSError as error:
        raise SpotmillError(
            f"{folder}: cannot be listed ({error.strerror}); check its permissions"
        ) from error


def settings(args: argparse.Namespace, folder: Path, pipeline: Any) -> dict[str, str]:
    """Return what all frames of one output folder share, as text."""
    import hashlib

    models = [known["weights_sha256"][:12] for known in pipeline.trained_on.values()]
    flags = {
        name: getattr(args, name)
        for name in (
            "data", "photon_energy", "wavelength", "clen", "pixel_size", "beam_centre",
            "saturation", "adu_per_photon", "mask_good",
        )
    }  # fmt: skip
    files = (args.geometry, args.mask, args.cell)
    read = [b"" if path is None else path.read_bytes() for path in files]
    known = ", ".join(f"{name} {value}" for name, value in flags.items() if value) or "nothing"
    digest = hashlib.sha256(b"\n".join(read)).hexdigest()[:12] if any(read) else "none"
    return {
        "folder": str(folder),
        "models": " ".join(models),
        "flags": known,
        "geometry, mask and cell": digest,
        "--block and --false-alarms": f"{args.block} and {args.false_alarms:g}",
    }


def say(words: str) -> None:
    """Print what a user should know, with the time."""
    from spotmill.cli import one_line

    print(f"{datetime.now().astimezone():%H:%M:%S} {one_line(words)}", file=sys.stderr, flush=True)


def drawer(output: Path) -> Callable[[Any, Any, int], None]:
    """Return what draws a frame into the output folder."""

    def draw(event: Any, said: Any, row: int) -> None:
        from spotmill.inference.pictures import draw as picture

        picture(output / "pictures" / f"{row:07d}_{event.path.stem}_{event.event}.png", event, said)

    return draw


@contextmanager
def until_signal(stop: Any) -> Iterator[None]:
    """End the watch after the frame at hand on SIGINT and SIGTERM; at once on a second one."""

    def handle(number: int, _: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def begin(args: argparse.Namespace, folder: Path, frames: int, pipeline: Any) -> None:
    """Say what will be done."""
    if not args.json:
        print("\n".join(introduced(pipeline)), flush=True)
    if frames:
        say(f"goes on after {frames} frames")
    say(f"watches {folder}; the page is {args.output / 'watch.html'}; Ctrl-C ends it")


def concluded(summary: dict[str, Any], output: Path, cell: Path | None = None) -> list[str]:
    """Return lines that say what came of it."""
    line = f"frames {summary['frames']}, hits {summary['hits']}, failed {summary['failed']}"
    times = {"frame": "declared by their files", "file": "of the files' last change"}
    by = ", ".join(f"{times[name]} ({count})" for name, count in summary["times_by"].items())
    lines = [
        f"{line}, alarms {summary['alarms']}",
        f"times: {by or 'none'}",
        f"written: {output}/predictions.csv, predictions.parquet, hits.lst, peaks/, monitor.csv, "
        "alarms.csv, watch.html",
    ]
    if summary["crystfel"]:
        lines += for_crystfel(summary["crystfel"], cell)
    return lines
