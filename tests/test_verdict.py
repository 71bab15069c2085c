"""What makes a frame a hit: every rule by a case that it decides, and one that it leaves alone."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from spotmill.inference.verdict import FoundPeaks, Unlike, Verdict, on_lattice, verdict

LIKE, STRANGE = Unlike("light", 1.5), Unlike("light", 2.5)


def peaks(every: int, sure: int = -1, chance: float = 0.99, **changes: Any) -> FoundPeaks:
    """So many peaks, all sound ones that lie apart but where else is said."""
    sure = every if sure < 0 else sure
    known = {"refused": 0, "sound": sure, "kept": every, "outside": every} | changes
    return FoundPeaks(every=np.full(every, chance), sure=np.full(sure, chance), **known)


class Case(NamedTuple):
    name: str
    probability: float
    unlike: Unlike
    found: FoundPeaks | None
    is_hit: bool
    by: str
    remark: str = ""


CASES = [
    Case("the model alone, a hit", 0.8, LIKE, None, True, "hit"),
    Case("the model alone, a blank", 0.6, LIKE, None, False, "hit"),
    Case("strange, and nobody else to ask", 0.8, STRANGE, None, True, "hit", "light unlike"),
    Case("peaks agree", 0.8, LIKE, peaks(5), True, "hit"),
    Case("peaks agree that there is none", 0.2, LIKE, peaks(0), False, "hit"),
    # A frame unlike the training: peaks alone say, three of them make a hit.
    Case("strange, three peaks", 0.1, STRANGE, peaks(3), True, "peaks", "training frames of hits"),
    Case("strange, two peaks", 0.99, STRANGE, peaks(2), False, "peaks", "2.5 times"),
    Case("strange, three weak peaks", 0.99, STRANGE, peaks(3, chance=0.7), False, "peaks"),
    Case("strange, ice leaks through", 0.99, STRANGE, peaks(4, refused=400), False, "peaks"),
    Case("strange, more than ice leaks", 0.1, STRANGE, peaks(20, refused=400), True, "peaks"),
    # Most peaks are false.
    Case("false peaks", 0.99, LIKE, peaks(9, 2), False, "peaks", "7 of 9 peaks are single"),
    Case("false peaks, enough true ones", 0.99, LIKE, peaks(9, 4), True, "peaks", "5 of 9"),
    Case("few false peaks", 0.99, LIKE, peaks(4, 2), True, "hit"),
    Case("more true than false", 0.99, LIKE, peaks(9, 5), True, "hit"),
    Case("false peaks of a blank", 0.1, LIKE, peaks(9, 2), False, "hit"),
    # A hit without peaks.
    Case("no peaks", 0.85, LIKE, peaks(0), False, "peaks", "has no peaks, though"),
    Case("no peaks, but sure", 0.95, LIKE, peaks(0), True, "hit"),
    # Peaks that the model of hits does not see.
    Case("many peaks", 0.1, LIKE, peaks(9, chance=0.9999), True, "peaks", "has 9 peaks, though"),
    Case("one fewer", 0.1, LIKE, peaks(8, chance=0.9999), False, "hit"),
    Case("many weak ones", 0.1, LIKE, peaks(12, chance=0.8), False, "hit"),
    # All in one place.
    Case("a heap", 0.99, LIKE, peaks(9, heap=8, outside=1), False, "heap", "8 of 9 peaks lie"),
    Case("a heap, and spots", 0.99, LIKE, peaks(12, heap=8, outside=4), True, "hit"),
    Case("a heap of a blank", 0.1, LIKE, peaks(8, heap=8, outside=0), False, "hit"),
    Case("a strange heap", 0.1, STRANGE, peaks(9, heap=8, outside=1), False, "heap", "square"),
    # What is said of the model of peaks decides nothing.
    Case("strange to peaks", 0.8, LIKE, peaks(5, unlike=STRANGE), True, "hit", "frames of peaks"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_rule(case: Case) -> None:
    said = verdict(case.probability, 0.7, case.unlike, case.found)
    assert (said.is_hit, said.by) == (case.is_hit, case.by)
    assert case.remark in " ".join(said.remarks)
    # Who decides otherwise than the model says why.
    assert bool(said.remarks) == (bool(case.remark) or case.unlike is STRANGE)
    if said.by == "hit":
        assert said.probability == case.probability
    elif said.by == "peaks":
        assert said.is_hit == (said.probability >= 0.5) or "has no peaks" in case.remark


def test_remarks_come_in_the_order_of_the_rules() -> None:
    found = peaks(9, 4, heap=8, outside=1, unlike=STRANGE)
    remarks = verdict(0.99, 0.7, LIKE, found).remarks
    for remark, words in zip(remarks, ("5 of 9", "of peaks", "small square"), strict=True):
        assert words in remark


@pytest.mark.parametrize(("log_odds", "is_hit"), [(None, False), (9.0, True)])
def test_a_lattice_makes_a_hit_and_takes_none_away(log_odds: float | None, is_hit: bool) -> None:
    blank = Verdict(0.1, False, "hit", ("first",))
    said = on_lattice(blank, log_odds, "lattice: 12 maxima fit")
    assert (said.is_hit, said.by) == ((True, "lattice") if is_hit else (False, "hit"))
    assert said.probability == pytest.approx(1 / (1 + np.exp(-9)) if is_hit else 0.1)
    assert said.remarks == ("first", "lattice: 12 maxima fit")
    hit = Verdict(0.9, True, "peaks")
    assert on_lattice(hit, log_odds, "") == hit
