"""Controls of finders of peaks: where there is nothing to find, no more than chance is found."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import poisson

from spotmill.learning.frames import WaterFrames
from spotmill.learning.peak_results import Finder, chosen, counted
from spotmill.learning.peaks import PeakSetup
from spotmill.physics.geometry import beam_centre
from spotmill.physics.peak_scoring import Spots, f1_of, turned
from spotmill.progress import track

# Turns of the truth: so many, fewer where there are more frames than this, but not below.
TURNS, TURNED, FEWEST_TURNS = 20, 4000, 4
WATER_FRAMES = 12
FAIL_LEVEL = 0.999


def controls(
    setup: PeakSetup,
    ours: Finder,
    threshold: float,
    truth: dict[int, Spots],
    bare: dict[int, Any],
    water: Path,
) -> list[dict[str, Any]]:
    """Run the controls: other frames' truth, water alone, and the same frames without signal.

    Parameters
    ----------
    bare
        Peaks found in frames without their Bragg photons, by row.
    water
        Shard with the expected water for the control of equal expectation.
    """
    frames = setup.frames
    test = [row for row in frames.rows("test").tolist() if str(setup.truth[row])]
    other: dict[int, Spots] = {}
    for name in np.unique(frames.dataset[test]):
        own = [row for row in test if frames.dataset[row] == name]
        if len(own) > 1:
            other |= {row: truth[own[number - 1]] for number, row in enumerate(own)}
    found = [
        at_chance(
            setup,
            "shuffled_truth",
            "each frame's peaks against the spots of another frame of its dataset: above chance, "
            "peaks are found where spots often are",
            ours,
            threshold,
            other,
            list(other),
        )
    ]
    removed = Finder(ours.name, ours.what, "", ours.find, bare)
    found.append(
        at_chance(
            setup,
            "signal_removed",
            "the same frames without their Bragg photons: above chance, spots are known that the "
            "frame does not show",
            removed,
            threshold,
            truth,
            [row for row in test if row in bare],
        )
    )
    return [*found, on_water(setup, ours, threshold, truth, water)]


def at_chance(
    setup: PeakSetup,
    name: str,
    what: str,
    finder: Finder,
    threshold: float,
    truth: dict[int, Spots],
    rows: list[int],
) -> dict[str, Any]:
    """Return a control whose pairs may be no more than by chance.

    Chance is what remains when the true spots are turned about the beam by random angles.
    """
    counts = counted(finder, threshold, truth, rows)
    rng = np.random.default_rng([setup.task.seed, 4])
    centre = {row: beam_centre(setup.views.of(row).detector) for row in rows}
    by_luck, turns = 0, max(min(TURNS, TURNED // max(len(rows), 1)), FEWEST_TURNS)
    for _ in track(range(turns), name, "turn"):
        turn = {
            row: Spots(
                turned(truth[row].place, centre[row], rng.uniform(0.2, 2 * np.pi - 0.2)),
                truth[row].photons,
            )
            for row in rows
        }
        by_luck += int(counted(finder, threshold, turn, rows).matched.sum())
    matched, peaks, true = (int(column.sum()) for column in counts)
    # The mean itself is known to a few counts only.
    expected = (by_luck + 3 * (by_luck + 1) ** 0.5) / turns
    return {
        "name": name,
        "what": what,
        "n": len(rows),
        "matched": matched,
        "found": peaks,
        "true": true,
        "f1": f1_of(matched, peaks, true),
        "chance": f1_of(by_luck / turns, peaks, true) if peaks + true else 1.0,
        "at_chance": bool(matched <= poisson.ppf(FAIL_LEVEL, expected)),
    }


def on_water(
    setup: PeakSetup, ours: Finder, threshold: float, truth: dict[int, Spots], water: Path
) -> dict[str, Any]:
    """Return how many peaks are found in frames of one expected water image alone.

    They are all false. They are too many where they clearly exceed twice the false peaks of a
    test frame.
    """
    drawn = WaterFrames(water, WATER_FRAMES, setup.task.seed)
    found = sum(
        len(chosen(ours.find(*drawn.read(number)), threshold).place)
        for number in track(range(WATER_FRAMES), "equal_expectation")
    )
    test = setup.frames.rows("test").tolist()
    counts = counted(ours, threshold, truth, test)
    false = int(counts.found.sum() - counts.matched.sum())
    limit = 2 * WATER_FRAMES * (false + 3 * (false + 3) ** 0.5) / len(test)
    return {
        "name": "equal_expectation",
        "what": "fresh photons of one expected water image: above the false peaks of test frames, "
        "noise is taken for spots",
        "n": WATER_FRAMES,
        "matched": 0,
        "found": found,
        "true": 0,
        "false_per_frame": found / WATER_FRAMES,
        "chance": false / len(test),
        "at_chance": bool(found <= poisson.ppf(FAIL_LEVEL, limit)),
    }


def complaint(evaluation: dict[str, Any]) -> str | None:
    """Return one sentence on the first control that is clearly off chance, or None."""
    for control in evaluation["controls"]:
        if not control["at_chance"]:
            return (
                f"control {control['name']}: {control['found']} peaks in {control['n']} frames, "
                f"{control['matched']} at a true spot, are more than chance allows; "
                f"{control['what'].partition(': ')[2]}"
            )
    return None
