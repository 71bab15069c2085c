"""Frames of a watch summed up by time, in a bounded number of bins."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_BINS = 300
NAMES = ("background", "photon_energy", "clen", "out_of_distribution")
FRAMES, HITS = 0, 1
# Of every name: number of values, their sum and that of their squares.
SUMS = 3


class TimeBins:
    """Sums over frames in bins of time whose width doubles as the stream grows, from 1 s."""

    def __init__(self) -> None:
        self.width = 1.0
        self._bins: dict[int, NDArray[np.float64]] = {}

    def add(self, columns: Mapping[str, NDArray[np.float64]], times: NDArray[np.float64]) -> None:
        """Add frames [n]; NaN is no value."""
        if not len(times):
            return
        places, inverse = np.unique(np.floor(times / self.width), return_inverse=True)
        sums = np.zeros((len(places), 2 + SUMS * len(NAMES)))
        np.add.at(sums[:, FRAMES], inverse, 1)
        np.add.at(sums[:, HITS], inverse, columns["is_hit"])
        for number, name in enumerate(NAMES):
            values = columns[name]
            known = np.isfinite(values)
            terms = (known, np.where(known, values, 0), np.where(known, values, 0) ** 2)
            for power, term in enumerate(terms):
                np.add.at(sums[:, 2 + SUMS * number + power], inverse, term)
        for place, one in zip(places.tolist(), sums, strict=True):
            self._put(int(place), one)
        while len(self._bins) > MOST_BINS:
            self._double()

    def _put(self, place: int, sums: NDArray[np.float64]) -> None:
        known = self._bins.get(place)
        self._bins[place] = sums if known is None else known + sums

    def _double(self) -> None:
        old, self._bins = self._bins, {}
        self.width *= 2
        for place, sums in old.items():
            self._put(place // 2, sums)

    def __len__(self) -> int:
        """Return the number of bins that hold frames."""
        return len(self._bins)

    def table(self) -> pd.DataFrame:
        """Return a row a bin: start (s since 1970), seconds, frames, hits, means and deviations."""
        places = sorted(self._bins)
        sums = np.zeros((len(places), 2 + SUMS * len(NAMES)))
        for row, place in enumerate(places):
            sums[row] = self._bins[place]
        frames, hits = sums[:, FRAMES], sums[:, HITS]
        table: dict[str, NDArray[np.float64]] = {
            "start": np.array(places, dtype=float) * self.width,
            "seconds": np.full(len(places), self.width),
            "frames": frames,
            "hits": hits,
            "hit_rate": hits / np.maximum(frames, 1),
        }
        for number, name in enumerate(NAMES):
            count, total, squares = sums[:, 2 + SUMS * number : 2 + SUMS * (number + 1)].T
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = np.where(count > 0, total / count, math.nan)
                variance = np.maximum(squares / count - mean**2, 0)
            table[name] = mean
            table[f"{name}_sd"] = np.where(count > 1, np.sqrt(variance), math.nan)
        return pd.DataFrame(table).astype({"frames": int, "hits": int})
