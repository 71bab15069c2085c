r"""Tell hits, peaks, photon energy and camera length of frames by trained models.

Example::

    spotmill predict run7/ more.lst --models results/models --output predicted \
        --geometry detector.geom

Reads files, folders and lists in CrystFEL's form (`file //event` a line): HDF5 of all sorts, CBF,
TIFF, MAR and others, many frames a file. What is known of a frame beforehand is taken as it is
given by hand, then from the geometry file, then from the data file; the source is told.

Writes predictions.parquet and .csv (a row a frame), hits.lst, peaks.cxi (for CrystFEL's
--peaks=cxi) and predict.json into the output folder. Files that cannot be read are named, one line
each, and the others are read: then the command ends with 3.
"""

import argparse
import json
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from spotmill.commands.arguments import whole
from spotmill.errors import SpotmillError

SOME_FAILED = 3
TOLD_EVERY = 100  # frames
MOST_FAILURES = 1000

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill predict`."""
    parser.add_argument(
        "sources", metavar="FRAMES", nargs="+", type=Path, help="files, folders or .lst lists"
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of trained models")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--tasks", nargs="+", help="names of the models to use, one a target")
    parser.add_argument("--geometry", type=Path, help="CrystFEL geometry file of the frames")
    parser.add_argument("--mask", type=Path, help="image file; pixels that are not 0 are bad")
    parser.add_argument("--mask-good", action="store_true", help="in the mask, 0 is bad instead")
    parser.add_argument("--data", help="place of the frames in HDF5 files, if unusual")
    energy = parser.add_mutually_exclusive_group()
    energy.add_argument("--photon-energy", type=float, help="eV")
    energy.add_argument("--wavelength", type=float, help="angstrom")
    parser.add_argument("--clen", type=float, help="camera length, m (coffset is added)")
    parser.add_argument("--pixel-size", type=float, help="m")
    parser.add_argument(
        "--beam-centre", nargs=2, type=float, metavar=("FS", "SS"), help="of the beam, pixels"
    )
    parser.add_argument("--saturation", type=float, help="counts from which a pixel is saturated")
    parser.add_argument("--adu-per-photon", type=float, help="counts of one photon (default 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default cpu")
    parser.add_argument(
        "--threads", type=whole("--threads", 1, 1024), default=1, help="processor cores (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--pictures",
        type=whole("--pictures", 0, 100_000),
        default=0,
        metavar="N",
        help="draw the first N hits, peaks circled",
    )


def run(args: argparse.Namespace) -> int:
    """Run `spotmill predict`; return 0, or 3 where some frames could not be read."""
    from spotmill.inference.pipeline import Pipeline
    from spotmill.learning.training import use_threads

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    use_threads(args.threads)
    given = given_by(args)
    pipeline = Pipeline.load(args.models, args.device, args.tasks)
    if not args.json:
        print("\n".join(introduced(pipeline)))
    summary = predict(args, pipeline, given)
    if args.json:
        print(json.dumps(summary, indent=1))
    else:
        print("\n".join(concluded(summary, args.output)))
    return SOME_FAILED if summary["failed"] else 0


def given_by(args: argparse.Namespace) -> Any:
    """Return what the arguments say of all frames."""
    import numpy as np

    from spotmill.formats.geom import read_geometry
    from spotmill.inference.events import read_mask
    from spotmill.inference.stated import Given
    from spotmill.physics.units import photon_energy_from_wavelength

    if args.mask_good and args.mask is None:
        raise SpotmillError("--mask-good: goes with --mask; give that, too")
    energy = args.photon_energy
    if args.wavelength is not None:
        energy = photon_energy_from_wavelength(args.wavelength)
    mask = None
    if args.mask is not None:
        mask = read_mask(args.mask, args.mask_good)
    return Given(
        photon_energy=energy,
        clen=args.clen,
        pixel_size=args.pixel_size,
        beam_centre=None if args.beam_centre is None else tuple(args.beam_centre),
        saturation=args.saturation,
        adu_per_photon=args.adu_per_photon,
        geometry=None if args.geometry is None else read_geometry(args.geometry),
        mask=None if mask is None else np.asarray(mask),
        mask_source=str(args.mask or ""),
        data=args.data,
    )


def introduced(pipeline: Any) -> list[str]:
    """Return lines that say what the models were trained on."""
    lines = []
    for target, known in pipeline.trained_on.items():
        frames = known["training_frames"]
        low, high = frames["features"]["background"]
        lines.append(
            f"{target.replace('_', ' ')}: {known['task']} ({known['model']}), trained on "
            f"{known['n'].get('train', '?')} frames of {frames['shape'][0]} x "
            f"{frames['shape'][1]} pixels, {10**low:.2g} to {10**high:.2g} photons a pixel"
        )
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

    print(f"spotmill predict: error: {one_line(why)}", file=sys.stderr)


def predict(args: argparse.Namespace, pipeline: Any, given: Any) -> dict[str, Any]:
    """Read, predict and write frame by frame; return the summary."""
    from spotmill.formats.atomic import write_text
    from spotmill.inference.events import events, known_place
    from spotmill.inference.stated import ORDER

    failures = Failures()
    hits = count = 0
    sources: dict[str, dict[str, int]] = {}
    with ExitStack() as stack:
        tables = peaks = None
        for event, file in events(args.sources, given, failures.add):
            try:
                said = pipeline.predict(event)
            except SpotmillError as error:
                failures.add(event.path, event.event, f"{event.path}: {error}")
                continue
            failures.tell()
            if tables is None or peaks is None:
                # Nothing is left behind where nothing could be read.
                tables, peaks = open_outputs(args.output, stack)
            tables.add(event, said)
            peaks.add(said.peaks, known_place(file, event.event))
            tell_sources(event.stated.sources, sources)
            if said.is_hit and hits < args.pictures:
                draw(args.output, event, said, hits)
            count, hits = count + 1, hits + said.is_hit
            if count % TOLD_EVERY == 0:
                log.info("frames %d, hits %d", count, hits)
        if peaks is None:
            raise failures.nothing(args.sources)
        summary = {
            "frames": count,
            "hits": hits,
            "failed": failures.count,
            "failures": failures.kept,
            "trust": ORDER,
            "stated_by": sources,
            "images_in_peaks_cxi": peaks.join(),
            "models": pipeline.trained_on,
        }
    write_text(args.output / "predict.json", json.dumps(summary, indent=1) + "\n")
    return summary


def open_outputs(folder: Path, stack: ExitStack) -> tuple[Any, Any]:
    """Return the open tables and the open file of peaks."""
    from spotmill.inference.peak_file import open_peak_file
    from spotmill.inference.tables import open_tables

    tables = stack.enter_context(open_tables(folder))
    return tables, stack.enter_context(open_peak_file(folder / "peaks.cxi"))


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


def concluded(summary: dict[str, Any], output: Path) -> list[str]:
    """Return lines that say what came of it."""
    lines = [f"frames {summary['frames']}, hits {summary['hits']}, failed {summary['failed']}"]
    lines.append(f"trusted: {summary['trust']}")
    for name, counts in summary["stated_by"].items():
        by = ", ".join(f"{who} ({count})" for who, count in counts.items())
        lines.append(f"  {name} by {by}")
    lines.append(f"written: {output}/predictions.parquet, predictions.csv, hits.lst, peaks.cxi")
    return lines
