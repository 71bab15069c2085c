r"""Measure the background on real blank frames, to stand in for the water model.

Example::

    spotmill background blanks/ --detector config/detectors/eiger4m.geom --photon-energy 7000 \
        --clen 0.15 --dataset 02 --output background.h5

Writes the mean of all frames in the layout of `spotmill water`, for `spotmill overlay --water`.
With `--frames` it writes the frames themselves instead, as whole photons. A solvent file with
`shape: measured` makes `spotmill water` do the same.
"""

import argparse
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.commands.arguments import add_dataset, add_output
from spotmill.concepts import LARGEST_SCALE, Response, Solvent
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, write_shard
from spotmill.formats.geom import Geometry, parse_geometry
from spotmill.formats.images import RawFrame, open_frames
from spotmill.model import read_text
from spotmill.physics.artefacts import live_mask
from spotmill.physics.background import BackgroundMean
from spotmill.physics.geometry import Detector
from spotmill.physics.photons import fit_counts
from spotmill.physics.units import check_clen, check_photon_energy
from spotmill.progress import track
from spotmill.recipes import RECIPES

# Headers are written to three or four digits; what differs by more is another experiment.
HEADER_TOLERANCE = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill background`."""
    parser.add_argument(
        "sources",
        metavar="FRAMES",
        nargs="+",
        type=Path,
        help="files, folders or .lst lists of blank frames",
    )
    parser.add_argument("--detector", type=Path, required=True, help="CrystFEL geometry file")
    add_dataset(parser)
    parser.add_argument("--data", help="place of the frames in HDF5 files, if unusual")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies the mean, for another flux (1)"
    )
    parser.add_argument(
        "--keep-all", action="store_true", help="reject no zingers (for noisy detectors)"
    )
    parser.add_argument(
        "--ignore-header",
        action="store_true",
        help="do not compare the frames' energy, distance and pixel size with what is given",
    )
    parser.add_argument("--frames", action="store_true", help="write the frames, not their mean")
    add_output(parser, "expected background, or the stack of blank frames (.h5)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill background`."""
    if not 0 < args.scale <= LARGEST_SCALE:
        raise SpotmillError(
            f"--scale: {args.scale!r} is not above 0 and at most {LARGEST_SCALE:g}; correct it"
        )
    if args.frames and args.scale != 1:
        raise SpotmillError(
            "--scale: goes without --frames, whose photons are counted; leave it out"
        )
    solvent = Solvent(
        shape="measured",
        frames=tuple(map(str, args.sources)),
        use="frames" if args.frames else "mean",
        scale=args.scale,
        keep_all=args.keep_all,
        ignore_header=args.ignore_header,
        data=args.data or None,
    )
    text = read_text(args.detector)
    geometry = parse_geometry(text, str(args.detector))
    stack = make_stack(solvent, geometry, text, args.photon_energy, args.clen)
    write_measured(args.output, args.dataset, solvent, stack)


@dataclass(frozen=True)
class Stack:
    """Blank frames of one detector, read anew at each pass."""

    sources: tuple[Path, ...]
    data: str | None
    geometry: Geometry
    detector: Detector
    photon_energy: float
    compare_header: bool
    text: str

    def __iter__(self) -> Iterator[tuple[RawFrame, NDArray[np.float64], NDArray[np.bool_]]]:
        """Yield each frame, its photons and its live pixels [ss, fs]."""
        for source in self.sources:
            for frame in open_frames(source, data=self.data):
                check_frame(frame, self)
                live = live_pixels(frame, self)
                photons = np.where(live, frame.image, 0) / self.detector.adu_per_photon
                yield frame, photons, live


def make_stack(
    solvent: Solvent,
    geometry: Geometry,
    text: str,
    photon_energy: float,
    clen: float,
    response: Response | None = None,
) -> Stack:
    """Return the frames that a measured solvent names, with their detector.

    Parameters
    ----------
    solvent
        Of shape measured.
    geometry, text
        The detector and the text that it was read from.
    photon_energy, clen
        eV, m.
    response
        Its dead pixels, and the beamstop's shadow where that is masked, leave the mask.
    """
    energy = check_photon_energy(photon_energy)
    detector = geometry.detector(clen=check_clen(clen), photon_energy=energy)
    if response is not None:
        detector = replace(detector, mask=live_mask(detector, response))
    return Stack(
        sources=tuple(Path(name) for name in solvent.frames or ()),
        data=solvent.data,
        geometry=geometry,
        detector=detector,
        photon_energy=energy,
        compare_header=not solvent.ignore_header,
        text=text,
    )


def write_measured(path: Path, dataset: str, solvent: Solvent, stack: Stack) -> None:
    """Write the mean of a stack as expected image, or its frames, as the solvent asks."""
    if solvent.use == "frames":
        write_frames(path, dataset, solvent, stack)
    else:
        write_mean(path, dataset, solvent, stack)


def check_frame(frame: RawFrame, stack: Stack) -> None:
    """Raise SpotmillError where a frame is of another detector or experiment."""
    if frame.image.shape != stack.detector.shape:
        raise SpotmillError(
            f"{frame.path}: has frames of {frame.image.shape} pixels [ss, fs], and "
            f"{stack.geometry.source} describes {stack.detector.shape}; "
            "give the geometry of these frames"
        )
    given = {
        "photon_energy": stack.photon_energy,
        "clen": stack.detector.clen,
        "pixel_size": stack.detector.pixel_size,
    }
    for name, value in given.items():
        stated = getattr(frame.metadata, name)
        if not stack.compare_header or stated is None:
            continue
        if not math.isclose(stated, value, rel_tol=HEADER_TOLERANCE):
            raise SpotmillError(
                f"{frame.path}: states {name} {stated:g}, and {value:g} is given; give frames of "
                "this dataset, or --ignore-header if the header is wrong"
            )


def live_pixels(frame: RawFrame, stack: Stack) -> NDArray[np.bool_]:
    """Return the pixels [ss, fs] that detector, file and values leave to be trusted."""
    live = frame.live & stack.detector.mask
    if frame.metadata.saturation is not None:
        live &= frame.image < frame.metadata.saturation
    for panel in stack.geometry.panels:
        slab = np.s_[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1]
        values = frame.image[slab]
        if panel.max_adu is not None:
            live[slab] &= values <= panel.max_adu
        for flag in panel.flags:
            bad = {"lessthan": np.less, "morethan": np.greater, "equal": np.equal}[flag.kind]
            live[slab] &= ~bad(values, flag.value)
    return live


def write_mean(path: Path, dataset: str, solvent: Solvent, stack: Stack) -> None:
    """Average the frames and write their mean as the expected image of a dataset."""
    background = BackgroundMean(stack.detector.shape)
    names, digest = [], hashlib.blake2b(digest_size=16)
    for frame, photons, live in track(stack, "background"):
        background.add(photons, live)
        names.append(f"{frame.path.name} //{frame.event}")
        digest.update(np.ascontiguousarray(frame.image).data)
    rejected = 0
    if not solvent.keep_all:
        rejected = sum(
            background.reject(photons, live)
            for _, photons, live in track(stack, "background, outliers")
        )
    image, live = background.mean()
    image *= np.float32(solvent.scale)
    check_some_live(stack, live)
    measured = described(solvent, names, digest.hexdigest())
    measured |= {"scale": solvent.scale, "rejected": rejected}
    header = make_header(dataset, stack, "water", measured)
    total = np.array([image.sum(dtype=np.float64)])
    with write_shard(
        path,
        header,
        np.array([0], dtype=np.int64),
        stack.detector.shape,
        np.float32,
        live,
        columns={"total": total},
        units={"total": "photons"},
    ) as shard:
        shard.put(0, image)


def write_frames(path: Path, dataset: str, solvent: Solvent, stack: Stack) -> None:
    """Write the frames as whole photons; a pixel that any of them lacks is dead in all."""
    mask = np.ones(stack.detector.shape, dtype=bool)
    names, digest = [], hashlib.blake2b(digest_size=16)
    for frame, _, live in track(stack, "background, masks"):
        mask &= live
        names.append(f"{frame.path.name} //{frame.event}")
        digest.update(np.ascontiguousarray(frame.image).data)
    check_some_live(stack, mask)
    measured = described(solvent, names, digest.hexdigest())
    header = make_header(dataset, stack, "blank", measured)
    indices = np.arange(len(names), dtype=np.int64)
    totals = np.zeros(len(names), dtype=np.int64)
    dtype = header.count_dtype
    with write_shard(path, header, indices, mask.shape, dtype, mask) as shard:
        for index, (_, photons, _) in enumerate(track(stack, "background", total=len(names))):
            counts = np.rint(np.where(mask, np.maximum(photons, 0), 0)).astype(np.int64)
            image, _ = fit_counts(counts, dtype, header.saturation)
            totals[index] = image.sum(dtype=np.int64)
            shard.put(index, image)
        shard.set_columns({"photons": totals}, {"photons": "photons"})


def check_some_live(stack: Stack, live: NDArray[np.bool_]) -> None:
    """Raise SpotmillError unless a pixel is left."""
    if not live.any():
        raise SpotmillError(f"{stack.sources[0]}: leaves no live pixel; check masks and flags")


def described(solvent: Solvent, names: list[str], digest: str) -> dict[str, Any]:
    """Return what the header tells of the frames; files are known by name and content."""
    return {"frames": names, "digest": digest, "keep_all": solvent.keep_all}


def make_header(dataset: str, stack: Stack, content: str, measured: dict[str, Any]) -> Header:
    """Return the header of what is written."""
    return Header(
        dataset=dataset,
        content=content,
        kind="empty",
        photon_energy=stack.photon_energy,
        clen=stack.detector.clen,
        pixel_size=stack.detector.pixel_size,
        recipe=RECIPES["water"],
        seed=0,
        parameters={"detector": stack.text, "measured": measured},
        saturation=stack.detector.saturation,
    )
