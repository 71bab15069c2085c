"""Put folders of models to real frames: hits, and peaks beside what two classical finders find.

    OMP_NUM_THREADS=1 python benchmarks/real_frames.py --frames ../shared/real \
        --models results/models [MORE …] --peakfinder8 PATH [--list X.yaml] [--output X.json]

The list names the frames, their truth, and what a user would state of each beyond its header. PATH
is the compiled `_crystallography` of OM (package `ondamonitor`, GPL; not a dependency). Peaks are
compared, within 3 pixels and one to one, with the consensus of two classical finders
(`classical_finders.py`): "precision" is the share of our peaks that both found, "by either" that
at least one found, "recall" the share of the consensus that we found. Frames of several modules
are also compared module by module.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import measuring
import numpy as np
import yaml
from classical_finders import consensus, local_dispersion, peakfinder8
from scipy import ndimage

from spotmill.inference import Pipeline
from spotmill.inference.events import Event, events
from spotmill.inference.gain import in_photons
from spotmill.inference.stated import Given
from spotmill.inference.values import radius_of
from spotmill.learning.metrics import wilson
from spotmill.physics.peak_scoring import RADIUS, assign

# Live pixels joined without a gap are a module from this share of the frame on.
LEAST_MODULE = 0.002
# Peaks of both finders in a module from which on its recall is stated.
FEWEST_IN_MODULE = 4
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=Path, required=True, help="folder of the frames")
    parser.add_argument("--list", type=Path, default=HERE / "real_frames.yaml")
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--peakfinder8", type=Path, required=True)
    parser.add_argument("--output", type=Path, help="all figures, as JSON")
    args = parser.parse_args()
    pipelines = [Pipeline.load(folder) for folder in args.models]
    peer = peakfinder8(args.peakfinder8)
    print(measuring.machine())
    for folder in args.models:
        print(f"models {args.models.index(folder) + 1}: {folder}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for known in yaml.safe_load(args.list.read_text()):
            path = args.frames / known["file"]
            if not path.is_file():
                print(f"no {path}: left out")
                continue
            given = Given(**known.get("given", {}))
            for event, _ in events([readable(path, known, Path(folder))], given, refused):
                agreed = of_classical(event, peer)
                for number, pipeline in enumerate(pipelines, start=1):
                    row = {"frame": known["title"], "event": event.event, "models": number}
                    rows.append(row | compared(event, pipeline, agreed, known["truth"]))
    tell(rows, len(pipelines))
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1))


def readable(path: Path, known: dict[str, Any], folder: Path) -> Path:
    """Return a file that says the shape of its frames: numbers without a header become HDF5."""
    raw = known.get("raw")
    if raw is None:
        return path
    target = folder / f"{path.name}.h5"
    with h5py.File(target, "w") as file:
        file["entry/data/data"] = np.fromfile(path, raw["dtype"]).reshape(1, *raw["shape"])
    return target


def refused(path: Path, event: int | None, why: str) -> None:
    raise SystemExit(f"{path} {event}: {why}")


def of_classical(event: Event, peer: Any) -> dict[str, Any]:
    """Return what two classical finders say of a frame, and what they agree on."""
    event = in_photons(event)
    if event.knows_radius:
        radius = radius_of(event.detector)
    else:
        # Nobody knows the beam's place: rings about the middle of the frame, as good as any.
        ss, fs = np.ogrid[: event.mask.shape[0], : event.mask.shape[1]]
        radius = np.hypot(ss - event.mask.shape[0] / 2, fs - event.mask.shape[1] / 2)
    radial = peer(event.image, event.mask, radius)
    local = local_dispersion(event.image, event.mask)
    return {
        "peakfinder8": len(radial.place),
        "local_dispersion": len(local.place),
        "both": consensus(radial, local),
        "either": np.concatenate([radial.place, local.place]),
    }


def compared(
    event: Event, pipeline: Pipeline, agreed: dict[str, Any], truth: str
) -> dict[str, Any]:
    """Return what is said of a frame beside what is known."""
    begun = time.process_time()
    said = pipeline.predict(event)
    spent = time.process_time() - begun
    found, both = said.peaks.place, agreed["both"]
    matched = assign(found, both)[0] >= 0
    count = int(matched.sum())
    return {
        "truth": truth,
        "is_hit": said.is_hit,
        "probability": said.probability,
        "hit_by": said.hit_by,
        "out_of_distribution": said.out_of_distribution,
        "n_peaks": len(found),
        "peakfinder8": agreed["peakfinder8"],
        "local_dispersion": agreed["local_dispersion"],
        "both": len(both),
        "matched": count,
        "by_either": int((assign(found, agreed["either"])[0] >= 0).sum()),
        "precision": share(count, len(found)),
        "recall": share(count, len(both)),
        "modules": of_modules(event, both, both[assign(both, found)[0] >= 0]),
        "adu_per_photon": in_photons(event).stated.adu_per_photon,
        "photon_energy": [said.photon_energy.value, event.stated.photon_energy],
        "clen": [said.clen.value, event.stated.clen],
        "seconds": spent,
        "remarks": said.remarks,
    }


def share(count: int, of: int) -> dict[str, Any] | None:
    """Return a share with its 95 % interval; None of nothing."""
    if not of:
        return None
    return {"value": count / of, "interval": list(wilson(count, of)), "n": of}


def of_modules(event: Event, both: Any, matched: Any) -> list[dict[str, Any]]:
    """Return recall module by module: pieces of live pixels without a gap; [] of a single one."""
    label, count = ndimage.label(event.mask)
    sizes = np.bincount(label.ravel(), minlength=count + 1)[1:]
    pieces = np.flatnonzero(sizes >= LEAST_MODULE * event.mask.size) + 1
    if len(pieces) < 2:
        return []

    def at(place: Any) -> Any:
        ss, fs = np.floor(place[:, 1]).astype(int), np.floor(place[:, 0]).astype(int)
        return np.bincount(label[ss, fs], minlength=count + 1)

    n, found = at(both), at(matched)
    return [
        {"module": int(k), "n": int(n[k]), "matched": int(found[k])}
        for k in pieces.tolist()
        if n[k] >= FEWEST_IN_MODULE
    ]


def shown(one: dict[str, Any] | None) -> str:
    if one is None:
        return "–"
    low, high = one["interval"]
    return f"{one['value']:.2f} ({low:.2f} to {high:.2f})"


def tell(rows: list[dict[str, Any]], count: int) -> None:
    """Print the tables."""
    print(
        "\n| frame | truth | models | is_hit (probability, by) | strangeness | peaks | "
        f"peakfinder8, local, both | precision within {RADIUS:g} px | by either | recall | CPU s |"
    )
    print("|---" * 11 + "|")
    for row in rows:
        said = "yes" if row["is_hit"] else "no"
        wrong = "" if row["is_hit"] == (row["truth"] == "hit") else " **wrong**"
        either = f"{row['by_either'] / row['n_peaks']:.2f}" if row["n_peaks"] else "–"
        print(
            f"| {row['frame']}, {row['event']} | {row['truth']} | {row['models']} | {said}{wrong} "
            f"({row['probability']:.2f}, {row['hit_by']}) | {row['out_of_distribution']:.1f} | "
            f"{row['n_peaks']} | {row['peakfinder8']}, {row['local_dispersion']}, {row['both']} "
            f"| {shown(row['precision'])} | {either} | {shown(row['recall'])} "
            f"| {row['seconds']:.1f} |"
        )
    print("\n| models | hits | blanks | precision on hits | by either | recall on hits |")
    print("|---|---|---|---|---|---|")
    for number in range(1, count + 1):
        own = [row for row in rows if row["models"] == number]
        hits = [row for row in own if row["truth"] == "hit"]
        blanks = [row for row in own if row["truth"] == "blank"]
        right = [share(sum(r["is_hit"] for r in hits), len(hits))]
        right.append(share(sum(not r["is_hit"] for r in blanks), len(blanks)))
        peaks, both = (sum(r[key] for r in hits) for key in ("n_peaks", "both"))
        matched, either = (sum(r[key] for r in hits) for key in ("matched", "by_either"))
        print(
            f"| {number} | {shown(right[0])} of {len(hits)} | {shown(right[1])} of {len(blanks)} | "
            f"{shown(share(matched, peaks))} | {shown(share(either, peaks))} | "
            f"{shown(share(matched, both))} |"
        )
    for row in rows:
        if row["modules"]:
            shares = [one["matched"] / one["n"] for one in row["modules"]]
            print(
                f"\n{row['frame']}, models {row['models']}: {len(shares)} modules with "
                f"{FEWEST_IN_MODULE} peaks of both and more; recall from {min(shares):.2f}, "
                f"median {np.median(shares):.2f}, all in {sum(s == 1 for s in shares)}"
            )


if __name__ == "__main__":
    main()
