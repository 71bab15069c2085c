"""What the page is told of a frame: a line of the list, and the frame itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spotmill.gallery.answers import Answers
from spotmill.gallery.choose import Choice
from spotmill.gallery.encode import encode_counts, encode_mask, thumbnail
from spotmill.gallery.frames import Shown
from spotmill.physics.geometry import Detector, Panel, beam_centre
from spotmill.physics.peak_scoring import Spots, merge
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.report.names import frame_name


def file_name(choice: Choice) -> str:
    """Return the name of a frame's file."""
    flux = "" if choice.flux == 1 else f"_flux{choice.flux:g}"
    return f"{choice.dataset}_{choice.index}{flux}.js"


def tell_line(shown: Shown, answers: Sequence[Answers]) -> dict[str, Any]:
    """Return what the list of frames says of one: identity, truth, answers, small picture."""
    choice, row, conditions = shown.choice, shown.row, shown.conditions
    told = [one for own in answers if (one := answer(own, shown)) is not None]
    return {
        "dataset": choice.dataset,
        "index": choice.index,
        "share": choice.flux,
        "name": frame_name(choice.index),
        "file": file_name(choice),
        "crystal": row["kind"] == "crystal",
        "hit": bool(row["is_hit"]),
        "n_spots": int(row["n_spots"]),
        "photons": int(row["photons"]),
        "photon_energy": round(conditions.photon_energy, 3),
        "clen": round(conditions.clen, 7),
        # Of the crystal's photons, as the beam file has them.
        "flux": figures(conditions.flux * conditions.signal * choice.flux, 5),
        "split": side(answers, choice),
        "told": told,
        "wrong": any(not one["right"] for one in told) if told else None,
        "thumbnail": thumbnail(shown.image, shown.live),
    }


def tell_frame(shown: Shown, answers: Sequence[Answers], min_photons: float) -> dict[str, Any]:
    """Return all that the viewer needs to show a frame.

    `min_photons` is from how many drawn photons a spot counts.
    """
    choice, spots = shown.choice, shown.spots
    centre = beam_centre(shown.detector)
    return {
        "file": file_name(choice),
        "shape": list(shown.image.shape),
        **encode_counts(shown.image, shown.live),
        "mask": encode_mask(shown.live),
        "wavelength": figures(wavelength_from_photon_energy(shown.conditions.photon_energy), 8),
        "clen": figures(shown.conditions.clen, 8),
        "centre": [round(value, 3) for value in centre],
        "panels": panels(shown.detector),
        "min_photons": min_photons,
        "spots": {
            "fs": rounded(spots["fs"], 2),
            "ss": rounded(spots["ss"], 2),
            "photons": rounded(spots["photons"], 1),
            "d": rounded(spots["d"], 3),
            "hkl": [spots[name].astype(int).tolist() for name in "hkl"],
        },
        "peaks": [
            {
                "task": own.task,
                "fs": rounded(rows["fs"], 2),
                "ss": rounded(rows["ss"], 2),
                "intensity": rounded(rows["intensity"], 1),
                "score": rounded(rows["score"], 4),
                "matched": rows["matched"].tolist(),
            }
            for own in answers
            if choice.flux == 1
            and (rows := own.peaks.get((choice.dataset, choice.index))) is not None
        ],
    }


def answer(own: Answers, shown: Shown) -> dict[str, Any] | None:
    """Return what a task said of a frame; None where it said nothing."""
    choice = shown.choice
    said = own.said.get((choice.dataset, choice.index, choice.flux))
    if said is None or own.min_photons is None:
        return said
    spots = shown.spots
    place = spots[["fs", "ss"]].to_numpy(dtype=np.float64).reshape(-1, 2)
    merged = merge(Spots(place, spots["photons"].to_numpy(dtype=np.float64)))
    true = len(merged.at_least(own.min_photons).photons)
    return said | {"true": true, "right": said["found"] == said["matched"] == true}


def side(answers: Sequence[Answers], choice: Choice) -> str:
    """Return on which side of the split a frame is; “test (hit), train” where tasks differ."""
    sides: dict[str, list[str]] = {}
    for own in answers:
        if found := own.sides.get((choice.dataset, choice.index)):
            sides.setdefault(found, []).append(own.task)
    if len(sides) < 2:
        return "".join(sides)
    return "; ".join(f"{name} ({', '.join(tasks)})" for name, tasks in sorted(sides.items()))


def panels(detector: Detector) -> list[dict[str, Any]]:
    """Return the panels of a detector as plain values, lengths in m."""

    def vector(panel: Panel, name: str) -> list[float]:
        return [figures(value, 9) for value in getattr(panel, name).tolist()]

    return [
        {
            "name": panel.name,
            "bounds": [panel.min_fs, panel.max_fs, panel.min_ss, panel.max_ss],
            "corner": vector(panel, "corner"),
            "fs": vector(panel, "fs"),
            "ss": vector(panel, "ss"),
        }
        for panel in detector.panels
    ]


def figures(value: float, digits: int) -> float:
    """Return a number with so many significant digits; 0 without a sign."""
    return float(f"{value:.{digits}g}") + 0.0


def rounded(values: Any, digits: int) -> list[float]:
    """Return a column as plain numbers with so many decimals."""
    return [float(value) for value in np.round(np.asarray(values, dtype=np.float64), digits)]
