"""What `spotmill predict` and `spotmill watch` say of models, frames and the way on."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Hits with fewer peaks than this, in the middle, gain by the cell of the crystal: at 29 peaks all
# frames index without it, at 10 a quarter of them (docs/indexing.md).
FEW_PEAKS = 30
# Of what folders hold besides images, so many kinds are named.
MOST_KINDS = 8
OTHER_DETECTORS = "config/any_detector.yaml"


def introduced(pipeline: Any) -> list[str]:
    """Return lines that say what the models were trained on, and which are missing."""
    from spotmill.inference.chosen_models import TARGETS

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


def concluded(
    summary: dict[str, Any], output: Path, cell: Path | None = None, replaced: bool = False
) -> list[str]:
    """Return lines that say what came of a prediction."""
    lines = [f"frames {summary['frames']}, hits {summary['hits']}, failed {summary['failed']}"]
    lines += noticed(summary)
    lines.append(f"trusted: {summary['trust']}")
    for name, counts in summary["stated_by"].items():
        by = ", ".join(f"{who} ({count})" for who, count in counts.items())
        lines.append(f"  {name} by {by}")
    lines.append(
        f"written: {output}/predictions.parquet, predictions.csv, hits.lst, peaks.cxi, predict.json"
    )
    if replaced:
        lines.append(f"replaced: what an earlier run had written into {output}")
    return [
        *lines,
        *handed_over(summary["crystfel"], output, cell),
        *few_peaks(summary["peaks_of_a_hit"], summary["crystfel"], cell),
    ]


def noticed(summary: dict[str, Any]) -> list[str]:
    """Return lines on what was passed over, what is strange, and the lattice of the cell."""
    lines = []
    if summary["passed_over"]:
        lines.append(f"passed over: {kinds(summary['passed_over'])}")
    if summary["unlike_training"]:
        frames = summary["frames"]
        are = "is" if summary["unlike_training"] == 1 else "are"
        line = (
            f"{summary['unlike_training']} of {frames} frame{'s' * (frames != 1)} {are} unlike "
            "the training frames (columns out_of_distribution and remark)"
        )
        if not summary["models"]["hit"]["training_frames"]["detectors"]:
            line += f"; other detectors: {OTHER_DETECTORS}"
        lines.append(line)
    if summary["lattice"]:
        lines.append(of_lattice(summary["lattice"], summary["hits"]))
    return lines


def of_lattice(known: dict[str, Any], hits: int) -> str:
    """Return a line on how many hits have the lattice of the given cell."""
    line = f"lattice of {known['cell']} found in {known['found']} of {hits} hits"
    not_looked = hits - known["looked_for"]
    if not_looked:
        return (
            f"{line}; not looked for in {not_looked}, of which photon energy, camera length, pixel "
            "size or beam centre are not known"
        )
    return f"{line}; is it their cell?" if hits and not known["found"] else line


def kinds(names: Sequence[str]) -> str:
    """Return what files and folders (`name/`) are, in few words: names, or counts of those alike.

    Examples
    --------
    >>> kinds(["b.f32", "run/README.md", "a.f32"])
    '2 .f32, README.md'
    """
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        folder = name.endswith("/")
        kind = "folders" if folder else Path(name).suffix.lower() or "without an ending"
        alike.setdefault(kind, []).append(Path(name).name + "/" * folder)
    many = sorted(f"{len(own)} {kind}" for kind, own in alike.items() if len(own) > 1)
    words = many + sorted(own[0] for own in alike.values() if len(own) == 1)
    left = len(words) - MOST_KINDS
    return ", ".join(words[:MOST_KINDS]) + (f" and {left} kinds more" if left > 0 else "")


def for_crystfel(words: list[str], cell: Path | None) -> list[str]:
    """Return lines with the command that goes on, with the cell that was given."""
    from spotmill.inference.handover import FINDER

    add = "-p with your cell, and -o" if cell is None else "-o"
    said = f"for CrystFEL (add {add}):"
    if FINDER in words:
        said = (
            "for CrystFEL, no peaks here: train config/tasks/peaks.yaml, too, or let indexamajig "
            f"find them (add {add}):"
        )
    given = [] if cell is None else ["-p", str(cell)]
    return [said, f"  {shlex.join([*words, *given])}"]


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


def few_peaks(middle: float | None, known: dict[str, Any], cell: Path | None) -> list[str]:
    """Return a line that names `--cell`, where hits have few peaks to index by."""
    # With a geometry for CrystFEL all is known that a lattice needs, too.
    if middle is None or middle >= FEW_PEAKS or cell is not None or not known["geometry"]:
        return []
    return [
        f"hits have {middle:g} peaks in the middle: --cell FILE finds fainter ones "
        "(docs/indexing.md)"
    ]
