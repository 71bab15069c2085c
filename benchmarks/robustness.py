"""Score of the models on simulated frames as what befalls real ones is added, thing by thing.

    OMP_NUM_THREADS=1 python benchmarks/robustness.py --data FOLDER --models FOLDER/results/models \
        [--patterns 2] [--empties 2] [--conditions NAME …] [--output robustness.json]

FOLDER holds results/ of a finished run. Of each dataset the first patterns and empty frames that
the models were not trained on are taken (validation and test sides of the split `hit`), written as
NeXus files with a header of their own, and read and judged as `spotmill predict` does.

Recall and specificity are of the verdict with Wilson's 95 % interval. Peaks are counted over all
frames, blanks with them (true spots from 5 photons on, found within 3 pixels); the 95 % interval of
their F1 is `of_peaks`'s. "changed" counts frames whose verdict differs from that as simulated. A
second table has the verdicts by the number of true spots.
"""

import argparse
import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import measuring
import numpy as np
import pandas as pd
from disturbances import ALL, TOGETHER, Frame
from scipy import stats

from spotmill.formats.geom import read_geometry
from spotmill.inference import Pipeline
from spotmill.inference.events import events, open_frames_file
from spotmill.inference.stated import Given
from spotmill.learning.metrics import wilson
from spotmill.learning.peaks import read_spots
from spotmill.physics.peak_scoring import assign

MIN_PHOTONS, MIN_SPOTS = 5.0, 3
# True spots of the second table: from these numbers on.
SPOTS = (0, MIN_SPOTS, 5, 10, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--patterns", type=int, default=2, help="of each dataset")
    parser.add_argument("--empties", type=int, default=2, help="of each dataset")
    parser.add_argument("--datasets", nargs="+", help="default: all whose names are numbers")
    parser.add_argument("--conditions", nargs="+", help="default: all")
    parser.add_argument("--output", type=Path, help="every frame's answers, as JSON")
    args = parser.parse_args()
    pipeline = Pipeline.load(args.models)
    chosen = rows_of(args)
    conditions = list(args.conditions or [*ALL, "together"])
    print(f"{measuring.machine()}; {len(chosen)} frames; models {args.models}")
    print(
        "| added | hit recall | specificity | F1 of peaks | precision | recall | changed | "
        "photon energy told, off | camera length told, off | strangeness |\n" + "|---" * 10 + "|"
    )
    kept: dict[str, list[dict[str, Any]]] = {}
    frames = [frame_of(args.data, row) for row in chosen]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.h5"
        for name in conditions:
            kept[name] = []
            for number, frame in enumerate(frames):
                rng = np.random.default_rng([number, len(name)])
                for one in TOGETHER if name == "together" else (name,):
                    frame = ALL[one](frame, rng)
                write(path, frame)
                # Spots may be lost to gaps, shadows and the half that is not there.
                truth = len(frame.place) >= MIN_SPOTS
                kept[name].append(judged(path, pipeline, frame, truth))
            tell(name, kept[name], kept.get("as simulated", []))
            if args.output:
                args.output.write_text(json.dumps(kept, indent=1))
    by_spots(kept)


def rows_of(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return manifest rows of frames that the models were not trained on."""
    split = pd.read_parquet(args.data / "results/splits/hit.parquet")
    side = split.set_index(["dataset", "index"])["split"].to_dict()
    rows = []
    for manifest in sorted((args.data / "results/manifest").glob("*.parquet")):
        if not (
            manifest.stem in (args.datasets or []) if args.datasets else manifest.stem.isdigit()
        ):
            continue
        table = pd.read_parquet(manifest).sort_values("index")
        known = [
            side.get((d, i), "test") for d, i in zip(table["dataset"], table["index"], strict=True)
        ]
        own = table[np.array(known) != "train"]
        for kind, most in (("crystal", args.patterns), ("empty", args.empties)):
            rows += own[own["kind"] == kind].head(most).to_dict("records")
    return rows


def frame_of(data: Path, row: dict[str, Any]) -> Frame:
    """Return a simulated frame with its true spots."""
    with open_frames_file(data / row["overlay"]) as file:
        raw = file.read(int(row["position"]))
    geometry = read_geometry(data / f"results/images/{row['dataset']}.geom")
    panel = geometry.detector(row["clen"], row["photon_energy"]).panels[0]
    place = np.empty((0, 2))
    if row["truth"]:
        spots = read_spots(str(data / row["truth"]), row["dataset"]).get(int(row["index"]))
        place = place if spots is None else spots.at_least(MIN_PHOTONS).place
    size = panel.pixel_size
    corner = panel.corner / size
    centre = (panel.min_fs - corner[0], panel.min_ss - corner[1])
    image = np.where(raw.live, raw.image, -1).astype(np.int32)
    return Frame(image, raw.live, centre, size, row["photon_energy"], row["clen"], place)


def write(path: Path, frame: Frame) -> None:
    """Write a frame as a NeXus file with a header of its own."""
    stated = frame.stated
    centre = stated.get("centre", frame.centre)
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = frame.image[None]
        detector = file.create_group("entry/instrument/detector")
        detector["pixel_mask"] = (~frame.live).astype(np.uint32)
        detector["beam_center_x"], detector["beam_center_y"] = centre
        for name, value in (
            ("x_pixel_size", frame.pixel_size),
            ("y_pixel_size", frame.pixel_size),
            ("distance", stated.get("clen", frame.clen)),
        ):
            detector[name] = value
            detector[name].attrs["units"] = "m"
        if "saturation" in stated:
            detector["saturation_value"] = stated["saturation"]
        beam = file.create_group("entry/instrument/beam")
        beam["incident_energy"] = stated.get("photon_energy", frame.photon_energy)
        beam["incident_energy"].attrs["units"] = "eV"


def refused(path: Path, event: int | None, why: str) -> None:
    raise SystemExit(why)


def judged(path: Path, pipeline: Pipeline, frame: Frame, truth: bool) -> dict[str, Any]:
    """Return what is said of a file of one frame beside the truth."""
    (event, _), *_ = list(events([path], Given(), refused))
    said = pipeline.predict(event)
    partner = assign(said.peaks.place, frame.place)[0]
    return {
        "truth": truth,
        "is_hit": said.is_hit,
        "probability": said.probability,
        "hit_by": said.hit_by,
        "true": len(frame.place),
        "found": len(partner),
        "matched": int((partner >= 0).sum()),
        "strangeness": said.out_of_distribution,
        "photon_energy": [said.photon_energy.value, frame.photon_energy],
        "photon_energy_agrees": said.photon_energy.agrees,
        "clen": [said.clen.value, frame.clen],
        "clen_agrees": said.clen.agrees,
        "remarks": said.remarks,
    }


def tell(name: str, rows: list[dict[str, Any]], plain: list[dict[str, Any]]) -> None:
    """Print the row of a condition."""
    hits = [row["is_hit"] for row in rows if row["truth"]]
    blanks = [not row["is_hit"] for row in rows if not row["truth"]]
    f1, low, high = of_peaks(*([r[key] for r in rows] for key in ("true", "found", "matched")))
    true, found, matched = (sum(r[key] for r in rows) for key in ("true", "found", "matched"))
    changed = sum(a["is_hit"] != b["is_hit"] for a, b in zip(rows, plain, strict=False))
    values = [off([row[key] for row in rows]) for key in ("photon_energy", "clen")]
    print(
        f"| {name} | {shown(hits)} | {shown(blanks)} | {f1:.3f} ({low:.3f} to {high:.3f}) | "
        f"{matched / max(found, 1):.3f} | {matched / max(true, 1):.3f} | {changed} | "
        f"{values[0]} | {values[1]} | {np.median([r['strangeness'] for r in rows]):.1f} |",
        flush=True,
    )


def of_peaks(
    true: Sequence[int], found: Sequence[int], matched: Sequence[int], level: float = 0.95
) -> tuple[float, float, float]:
    """Return F1 of the peaks of all frames together, and its interval.

    With J the matched share of all that is either true or found, F1 = 2 J / (1 + J), and J has
    Wilson's interval for as many as would scatter like the frames do, with Student's factor for
    few frames (Korn & Graubard, Survey Methodology 24, 193, 1998), yet no more than there are.
    """
    hits = np.asarray(matched, dtype=float)
    every = np.asarray(true, dtype=float) + np.asarray(found, dtype=float) - hits
    n, frames = every.sum(), int((every > 0).sum())
    if not n:
        return float("nan"), 0.0, 1.0
    share = hits.sum() / n
    own = n
    if frames > 1:
        scatter = frames / (frames - 1) * ((hits - share * every) ** 2).sum() / n**2
        factor = stats.t.ppf(0.5 + level / 2, frames - 1) / stats.norm.ppf(0.5 + level / 2)
        if scatter > 0:
            own = min(n, share * (1 - share) / scatter / factor**2)
    z2 = stats.norm.ppf(0.5 + level / 2) ** 2
    middle = (share + z2 / (2 * own)) / (1 + z2 / own)
    width = np.sqrt(z2 * (share * (1 - share) / own + z2 / (4 * own**2))) / (1 + z2 / own)
    f1, low, high = (2 * j / (1 + j) for j in (share, max(middle - width, 0), middle + width))
    return float(f1), float(low), float(min(high, 1.0))


def by_spots(kept: dict[str, list[dict[str, Any]]]) -> None:
    """Print how many frames of so many true spots are told as hits."""
    last = [first - 1 for first in SPOTS[1:]]
    names = [f"{a} to {b}" for a, b in zip(SPOTS, last, strict=False)] + [f"{SPOTS[-1]} and more"]
    print("\n| told as hits, of true spots | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for name, rows in kept.items():
        said: list[list[bool]] = [[] for _ in SPOTS]
        for row in rows:
            said[np.searchsorted(SPOTS, row["true"], side="right") - 1].append(row["is_hit"])
        print(f"| {name} | " + " | ".join(shown(each) for each in said) + " |", flush=True)


def shown(right: list[bool]) -> str:
    low, high = wilson(sum(right), len(right))
    return f"{sum(right)}/{len(right)} ({low:.2f} to {high:.2f})"


def off(pairs: list[list[float]]) -> str:
    """Return how many values were told, and by how much they are off in the middle."""
    told = [abs(value - true) / true for value, true in pairs if np.isfinite(value)]
    return f"{len(told)}, {100 * np.median(told):.1f} %" if told else "0"


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
