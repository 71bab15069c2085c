"""Which frames the gallery shows: by identity alone, so that the same ones stay.

Three lists are dealt out in turn until nothing more fits. One has the answers that were most
wrong, first of every task, then second of every task and so on. One has the odd frames of the
map, the oddest first. The last goes round the datasets: a hit, a blank, then few and many spots;
after the first two rounds come the frames of tasks at several fluxes. A dataset that is added
thins out the frames of the others, and never brings in another frame of theirs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

import pandas as pd

from spotmill.config import FIRST_EMPTY
from spotmill.gallery.answers import Answers
from spotmill.splits import position

# Lower ends of classes by number of true spots, as evaluations tell them apart.
SPOTS = (0, 1, 3, 6, 11, 21, 51)
EMPTIES = -1
FIRST_ROUNDS = 2  # a hit and a blank of every dataset
ODD = 24  # of the map, at most
DIMMED = 2  # frames of a task at several fluxes that are shown at each


@dataclass(frozen=True, order=True)
class Choice:
    """A frame to show, at a share of the full flux on its crystal."""

    dataset: str
    index: int
    flux: float = 1.0


def choose(
    manifest: pd.DataFrame, answers: Sequence[Answers], odd: Sequence[Choice] = ()
) -> list[Choice]:
    """Return all frames that may be shown, each once, the first to be shown first.

    Parameters
    ----------
    manifest
        One row a frame, its columns as in the manifest.
    answers
        What each task said.
    odd
        Odd frames, the oddest first.
    """
    rounds = list(zip_longest(*(queue(rows) for _, rows in manifest.groupby("dataset"))))
    typical = [one for part in rounds[:FIRST_ROUNDS] for one in part if one]
    others = [one for part in rounds[FIRST_ROUNDS:] for one in part if one]
    ranks = zip_longest(*([Choice(*wrong) for wrong in own.worst] for own in answers))
    worst = [one for rank in ranks for one in rank if one]
    round_trip = [*typical, *dimmed(answers, [*typical, *others]), *others]
    dealt = chain.from_iterable(zip_longest(worst, odd, round_trip))
    return list(dict.fromkeys(one for one in dealt if one))


def queue(rows: pd.DataFrame) -> list[Choice]:
    """Return all frames of one dataset, in the order in which they are to be shown.

    Classes by number of spots are dealt out in turn: the commonest among hits, blanks, then the
    others from many spots to few. Within a class the last hashes of the identity come first:
    those are test frames, of which models said something.
    """
    classes: dict[int, list[tuple[float, Choice]]] = {}
    hits: dict[int, int] = {}
    columns = zip(
        *(rows[name].tolist() for name in ("dataset", "index", "n_spots", "is_hit")), strict=True
    )
    for dataset, index, n_spots, is_hit in columns:
        key = EMPTIES if index >= FIRST_EMPTY else max(low for low in SPOTS if low <= n_spots)
        hits[key] = hits.get(key, 0) + is_hit
        classes.setdefault(key, []).append((-position(dataset, index), Choice(dataset, index)))
    commonest = max(hits, key=lambda key: (hits[key], key))
    order = sorted(classes, key=lambda key: (key != commonest, key != EMPTIES, -key))
    ordered = ([choice for _, choice in sorted(classes[key])] for key in order)
    return [one for part in zip_longest(*ordered) for one in part if one]


def odd_frames(frames: pd.DataFrame) -> list[Choice]:
    """Return the odd frames of a map, the oddest first."""
    rows = frames[frames["odd"]].sort_values(
        ["oddness", "dataset", "index"], ascending=[False, True, True]
    )
    return [
        Choice(dataset, index)
        for dataset, index in zip(rows["dataset"].tolist(), rows["index"].tolist(), strict=True)
    ][:ODD]


def dimmed(answers: Sequence[Answers], order: Sequence[Choice]) -> Iterator[Choice]:
    """Yield a few test frames with a crystal at every flux of the tasks that have several."""
    for own in answers:
        tested = {(key[0], key[1]) for key in own.said if key[1] < FIRST_EMPTY}
        if len(own.flux) < 2:
            continue
        shown: dict[str, Choice] = {}
        for one in order:
            if (one.dataset, one.index) in tested:
                shown.setdefault(one.dataset, one)
        for one in list(shown.values())[:DIMMED]:
            yield from (replace(one, flux=flux) for flux in own.flux)
