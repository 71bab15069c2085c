"""Index frames at several fluxes from peakfinder8's peaks and from ours, and check by the truth.

    OMP_NUM_THREADS=1 python benchmarks/indexing.py --peaks results/images/peaks/03/p00000.h5 \
        --overlay results/images/peaks_water_overlay/03/p00000.h5 --models results/models \
        --frames results/truth/03/p00000.frames.parquet --truth results/truth/03/p00000.parquet \
        --geometry results/images/03.geom --cell proteinase_k.cell --count 24 \
        [--flux 1 0.1 0.03 0.01 0.003] [--peakfinder8 PATH] [--output indexing.csv]

Frames are dimmed as docs/low-flux.md says. PATH is the compiled `_crystallography` of OM (package
`ondamonitor`, GPL; not a dependency): peakfinder8 with SNR 4 and 2 photons, from one pixel on and
from two. Ours are those of `spotmill predict`, without and with `--cell`.

The indexer is a stand-in for CrystFEL's asdf of the same principle (physics/projection_indexing),
with its tolerances, and CrystFEL's conditions for an indexed pattern: the cell within 5 % and 1.5
degrees, 10 peaks near their predicted places, half of all peaks within 0.25 of whole indices; where
that fails, a tenth of the peaks, the weakest, is left out, up to five times. `true` is the share of
peaks within 2 pixels of a spot with a photon. `right` counts patterns indexed within a degree of
the true orientation; `by truth` those whose peaks meet the two last conditions under the true one.
"""

import argparse
import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peaks as peaks_benchmark
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spotmill.formats.cell import read_cell
from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.formats.images_model import FrameMetadata, RawFrame
from spotmill.inference import Pipeline
from spotmill.inference.events import Event, Maker
from spotmill.inference.faint import Faint, scattering_vectors
from spotmill.inference.stated import Given
from spotmill.learning.dimmed import dimmed
from spotmill.learning.encoders import View
from spotmill.overlays.opener import open_overlay
from spotmill.physics.pair_indexing import misorientation
from spotmill.physics.photons import stream
from spotmill.physics.projection_indexing import Limits, index_blindly, is_of_cell
from spotmill.physics.units import wavelength_from_photon_energy

FLUX = (1.0, 0.1, 0.03, 0.01, 0.003)
FEWEST, SHARE, NEAR = 10, 0.5, 0.25
RETRIES, NEAREST = 6, 2.0
# Triplets of peaks that are tried; asdf tries up to 20 000.
TRIPLETS = 4_000
Find = Callable[[Event], tuple[NDArray[np.float64], NDArray[np.float64]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("peaks", "overlay", "frames", "truth", "models", "geometry", "cell"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--flux", type=float, nargs="+", default=FLUX)
    parser.add_argument("--count", type=int, default=24, help="frames a flux")
    parser.add_argument("--peakfinder8", type=Path)
    parser.add_argument("--output", type=Path, help="a row a frame")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print("| flux | peaks of | peaks | true | indexed (95 %) | right | by truth |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for flux in args.flux:
        own = measure(args, flux)
        rows += own
        for name in dict.fromkeys(row["finder"] for row in own):
            print(line([row for row in own if row["finder"] == name]), flush=True)
    if args.output:
        with args.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def measure(args: argparse.Namespace, flux: float) -> list[dict[str, Any]]:
    """Return a row for each frame and finder."""
    maker = Maker(Given(geometry=read_geometry(args.geometry)))
    frames = pq.read_table(args.frames).to_pydict()
    spots = pq.read_table(args.truth, columns=["index", "fs", "ss"]).to_pydict()
    place_of = np.column_stack([spots["fs"], spots["ss"]])
    known = read_cell(args.cell)
    rows = []
    with Shard(args.peaks) as peaks, open_overlay(args.overlay) as overlay:
        finders = finders_of(args, overlay.shape[1:])
        for number in range(min(args.count, len(peaks))):
            index = int(peaks.indices[number])
            image, signal = dim(overlay.read(number), peaks, number, flux)
            raw = RawFrame(args.overlay, number, image, overlay.mask, FrameMetadata())
            event = maker.event(raw)
            own = place_of[np.array(spots["index"]) == index]
            lit = own[[bool(around(signal, place).sum()) for place in own]]
            true = np.array([frames[f"{axis}star"][number] for axis in "abc"])
            for name, find in finders.items():
                place, intensity = find(event)
                vectors = scattering_vectors(event, place)
                energy = event.stated.photon_energy
                wavelength = wavelength_from_photon_energy(float(energy or 0))
                found = indexed(vectors, intensity, known.cell, wavelength, index)
                right = found is not None and misorientation(np.linalg.inv(found).T, true) < 1
                by_truth = accepted(np.linalg.inv(true).T, vectors, wavelength)
                rows.append(
                    {
                        "flux": flux,
                        "finder": name,
                        "frame": index,
                        "peaks": len(place),
                        "true": int(close(place, lit).sum()),
                        "indexed": int(found is not None),
                        "right": int(right),
                        "by_truth": int(by_truth),
                    }
                )
    return rows


def finders_of(args: argparse.Namespace, shape: tuple[int, ...]) -> dict[str, Find]:
    """Return who finds peaks (place [n, 2], intensity [n]) in an event."""
    finders: dict[str, Find] = {}
    if args.peakfinder8:
        geometry = read_geometry(args.geometry)
        setup: Any = argparse.Namespace(view=View(geometry.detector()), shape=shape)
        peer = peaks_benchmark.peakfinder8(args.peakfinder8, setup)
        for pixels in (1, 2):

            def find(event: Event, pixels: int = pixels) -> Any:
                found = peer(event.image, event.mask, 4.0, 2.0, pixels)
                return found.place, found.intensity

            finders[f"peakfinder8, {pixels} pixel{'s' * (pixels > 1)}"] = find
    pipeline = Pipeline.load(args.models, tasks=["hit", "peaks"])
    for name, faint in (
        ("predict", None),
        ("predict --cell", Faint.of_cell(args.cell)),
    ):

        def ours(event: Event, faint: Faint | None = faint) -> Any:
            said = replace(pipeline, faint=faint).predict(event).peaks
            return said.place, said.intensity

        finders[name] = ours
    return finders


def dim(
    image: NDArray[Any], peaks: Shard, number: int, flux: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a frame at a flux, and the Bragg photons that were kept."""
    drawn = peaks.read(number)
    if flux == 1:
        return image, drawn
    header = peaks.header

    def rng() -> np.random.Generator:
        return stream(header.seed, header.dataset, int(peaks.indices[number]), f"flux {flux:g}")

    return dimmed(image, drawn, flux, rng()), dimmed(drawn, drawn, flux, rng())


def around(image: NDArray[Any], place: NDArray[np.float64]) -> NDArray[Any]:
    """Return the 5 x 5 pixels around a place."""
    fs, ss = np.floor(place).astype(int)
    return image[max(ss - 2, 0) : ss + 3, max(fs - 2, 0) : fs + 3]


def close(place: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which places have one of others nearby."""
    apart = np.linalg.norm(place[:, None] - others[None], axis=2)
    return np.asarray((apart < NEAREST).any(1))


def indexed(
    vectors: NDArray[np.float64],
    intensity: NDArray[np.float64],
    cell: Any,
    wavelength: float,
    seed: int,
) -> NDArray[np.float64] | None:
    """Return real-space axes [3, 3] (Å) as CrystFEL would accept them, or None."""
    left = vectors[np.argsort(-intensity, kind="stable")]
    rng = np.random.default_rng(seed)
    for _ in range(RETRIES):
        if len(left) < FEWEST:
            return None
        lattice = index_blindly(left, cell, rng, Limits(triplets=TRIPLETS))
        known = lattice is not None and is_of_cell(lattice.axes, cell)
        if lattice is not None and known and accepted(lattice.axes, left, wavelength):
            return lattice.axes
        left = left[: len(left) - max(len(left) // 10, 1)]
    return None


def accepted(axes: NDArray[np.float64], vectors: NDArray[np.float64], wavelength: float) -> bool:
    """Tell whether enough peaks lie where a lattice (real-space axes, Å) predicts them."""
    index = vectors @ axes.T
    whole = np.rint(index)
    reciprocal = np.linalg.inv(axes).T
    ray = whole @ reciprocal + [0.0, 0.0, 1 / wavelength]
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    predicted = (ray - [0.0, 0.0, 1.0]) / wavelength
    shortest = np.linalg.norm(reciprocal, axis=1).min()
    near = np.linalg.norm(predicted - vectors, axis=1) <= shortest / 3
    paired = int((near & (whole != 0).any(1)).sum())
    return paired >= FEWEST and float((np.abs(index - whole) < NEAR).all(1).mean()) >= SHARE


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson)."""
    share = count / of
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def line(rows: list[dict[str, Any]]) -> str:
    """Return a row of the table."""
    count, total = len(rows), {key: sum(row[key] for row in rows) for key in COUNTED}
    low, high = wilson(total["indexed"], count)
    true = f"{100 * total['true'] / total['peaks']:.0f} %" if total["peaks"] else "–"
    return (
        f"| {rows[0]['flux']:g} | {rows[0]['finder']} | {total['peaks'] / count:.1f} | {true} | "
        f"{total['indexed']} of {count} ({100 * low:.0f} to {100 * high:.0f} %) | "
        f"{total['right']} | {total['by_truth']} |"
    )


COUNTED = ("peaks", "true", "indexed", "right", "by_truth")


if __name__ == "__main__":
    main()
