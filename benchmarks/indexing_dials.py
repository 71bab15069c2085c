"""Index dimmed frames by DIALS from peakfinder8's peaks and from ours.

    OMP_NUM_THREADS=1 python benchmarks/indexing_dials.py \
        --peaks results/images/peaks/03/p00000.h5 \
        --overlay results/images/peaks_water_overlay/03/p00000.h5 --models results/models \
        --frames results/truth/03/p00000.frames.parquet --truth results/truth/03/p00000.parquet \
        --geometry results/images/03.geom --cell proteinase_k.cell --group P43212 --folder dials \
        [--count 24] [--flux 1 0.1 0.03 0.01 0.003] [--peakfinder8 PATH]

As indexing.py, whose finders and fluxes these are, but the indexer is DIALS (Debian's
`python3-dials`; not a dependency), as it comes: `dials.import` reads geometry, distance and photon
energy from our shard, `dials.index` gets the peaks, the cell and the space group, as an indexer of
stills. `right` counts patterns whose crystal gives 90 % of the frame's true spots (five photons and
more at full flux) whole indices within 0.15, through one matrix of whole numbers.
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hdf5plugin
import pyarrow.parquet as pq
from indexing import FLUX, dim, finders_of, wilson

from spotmill.formats.cell import read_cell
from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.formats.images_model import FrameMetadata, RawFrame
from spotmill.inference.events import Maker
from spotmill.inference.stated import Given
from spotmill.overlays.opener import open_overlay

RIGHT, BRIGHT = 0.9, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("peaks", "overlay", "frames", "truth", "models", "geometry", "cell", "folder"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--group", default="P43212", help="space group")
    parser.add_argument("--flux", type=float, nargs="+", default=FLUX)
    parser.add_argument("--count", type=int, default=24, help="frames a flux")
    parser.add_argument("--peakfinder8", type=Path)
    args = parser.parse_args()
    program = shutil.which("dials.import")
    if program is None:
        parser.error("dials.import is not on the path; install DIALS (Debian: python3-dials)")
    args.folder.mkdir(parents=True, exist_ok=True)
    run(args.folder, program, str(args.overlay.resolve()))
    print("| flux | peaks of | peaks | indexed by DIALS (95 %) | right (95 %) |")
    print("|---|---|---|---|---|", flush=True)
    python = Path(program).read_text().splitlines()[0].removeprefix("#!")
    for flux in args.flux:
        for name, stills in found(args, flux).items():
            print(line(flux, name, stills, indexed(args, python, stills)), flush=True)


def found(args: argparse.Namespace, flux: float) -> dict[str, list[dict[str, Any]]]:
    """Return what each finder gives, and the true spots, a frame."""
    maker = Maker(Given(geometry=read_geometry(args.geometry)))
    table = pq.read_table(args.truth).to_pandas()
    answers: dict[str, list[dict[str, Any]]] = {}
    with Shard(args.peaks) as peaks, open_overlay(args.overlay) as overlay:
        finders = finders_of(args, overlay.shape[1:])
        for number in range(min(args.count, len(peaks))):
            image, _ = dim(overlay.read(number), peaks, number, flux)
            event = maker.event(
                RawFrame(args.overlay, number, image, overlay.mask, FrameMetadata())
            )
            index = int(peaks.indices[number])
            own = table[(table["index"] == index) & (table["photons"] >= BRIGHT)]
            truth = own[["h", "k", "l", "fs", "ss"]].to_numpy().tolist()
            for name, find in finders.items():
                place, photons = find(event)
                spots = [
                    [float(x), float(y), float(n)] for (x, y), n in zip(place, photons, strict=True)
                ]
                answers.setdefault(name, []).append({"peaks": spots, "truth": truth})
    return answers


def indexed(
    args: argparse.Namespace, python: str, stills: list[dict[str, Any]]
) -> list[float | None]:
    """Return, for each still, what share of its true spots DIALS's crystal predicts, or None."""
    (args.folder / "peaks.json").write_text(json.dumps(stills))
    numbers = ",".join(str(value) for value in read_cell(args.cell).cell)
    script = Path(__file__).resolve().with_name("dials_index.py")
    said = run(args.folder, python, str(script), "imported.expt", "peaks.json", args.group, numbers)
    answer: list[float | None] = json.loads(said.splitlines()[-1])
    return answer


def run(folder: Path, *command: str) -> str:
    """Return what a program of DIALS prints; it needs HDF5's plugins for our shards."""
    environment = os.environ | {"HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(name, None)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:2])}: {done.stdout[-800:]}{done.stderr[-800:]}")
    return done.stdout


def line(flux: float, name: str, stills: list[dict[str, Any]], shares: list[float | None]) -> str:
    """Return a row of the table."""
    count = len(stills)
    peaks = sum(len(still["peaks"]) for still in stills) / count
    some = sum(share is not None for share in shares)
    right = sum(share is not None and share >= RIGHT for share in shares)
    return f"| {flux:g} | {name} | {peaks:.1f} | {told(some, count)} | {told(right, count)} |"


def told(number: int, of: int) -> str:
    """Return a count with its interval."""
    low, high = wilson(number, of)
    return f"{number} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"


if __name__ == "__main__":
    main()
