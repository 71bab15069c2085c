"""Tell when a stream of frames changes: CUSUM charts of ranks.

Frames are put together in blocks. The rank of a block's value among the quiet blocks since the last
alarm, made a standard normal number (van der Waerden's score), feeds a two-sided CUSUM (Page 1954,
Biometrika 41, 100). Ranks of exchangeable values are the same game of chance whatever the values'
distribution (McDonald 1990, Naval Res. Logist. 37, 627), so that the rate of false alarms is known
beforehand, without a model of background, hit rate or noise. A jet flickers: what a score owes to
the one before it is taken off (Alwan & Roberts 1988, J. Bus. Econ. Stat. 6, 87).
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import norm, rankdata

# Half the change, in standard deviations of a block, that the charts are tuned to (Page's k).
REFERENCE = 1.0
BLOCK = 25  # frames
FALSE_ALARMS = 0.1  # per 10 000 frames, of all charts together
PER = 10_000
# Between these lies the limit (from a false alarm every 5 blocks to one in 10^10).
LIMITS = (0.0, 14.0)
# States of the Markov chain that gives the run length.
STATES = 200
# Quiet blocks before which there is no alarm, and what their small number adds to k: the
# median of m blocks is off by 1.25 / sqrt(m) standard deviations.
FEWEST, CAUTION = 12, 1.0
# Correlation of a score with the one before: weight of none, and the most that is taken off.
DOUBT, MOST_CORRELATED = 20.0, 0.95
# Of a block's values, the share left out at either end of the mean.
TRIM = 0.2
# Blocks before the sums rose among which a change may have begun.
LOOK_BACK = 20
SEED = 20241
ALARM_COLUMNS = (
    "time", "row", "quantity", "before", "after", "since_time", "since_row", "words",
)  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """What a chart watches.

    Attributes
    ----------
    name
        Column of the table.
    least
        Smallest change that is told: in `unit`, or as a share where `is_relative`.
    factor
        From the column's unit to `unit`.
    """

    name: str
    words: str
    unit: str
    least: float
    factor: float = 1.0
    is_relative: bool = False
    digits: int = 3

    def shown(self, value: float) -> str:
        """Return a value in words."""
        return f"{value * self.factor:.{self.digits}g} {self.unit}".strip()

    def matters(self, before: float, after: float) -> bool:
        """Whether a change is large enough to be told."""
        change = abs(after - before)
        if self.is_relative:
            return change >= self.least * abs(before)
        return change * self.factor >= self.least


QUANTITIES = (
    Quantity("is_hit", "hit rate", "%", 1.0, 100.0),
    Quantity("background", "background", "photons a pixel", 0.05, is_relative=True),
    Quantity("photon_energy", "photon energy", "eV", 20.0, digits=4),
    Quantity("clen", "camera length", "mm", 0.5, 1e3, digits=4),
    Quantity("out_of_distribution", "strangeness", "", 0.1),
)


@dataclass(frozen=True)
class Alarm:
    """A change of the stream.

    Attributes
    ----------
    told
        Row of the frame at which it was noticed, from 0.
    since
        Row of the first frame of the block from which on it holds.
    time, since_time
        Of these frames, s since 1970.
    before, after
        Means of blocks on either side, in the column's unit.
    """

    quantity: str
    told: int
    time: float
    since: int
    since_time: float
    before: float
    after: float

    @property
    def words(self) -> str:
        """What changed, from what to what, and since when."""
        quantity = next(one for one in QUANTITIES if one.name == self.quantity)
        how = "rose" if self.after > self.before else "fell"
        when = ""
        if math.isfinite(self.since_time):
            local = datetime.fromtimestamp(self.since_time, UTC).astimezone()
            when = f"{local:%Y-%m-%d %H:%M:%S}, "
        return (
            f"{quantity.words} {how} from {quantity.shown(self.before)} to "
            f"{quantity.shown(self.after)} since {when}row {self.since}"
        )

    def fields(self) -> dict[str, Any]:
        """Return what alarms.csv and the ledger hold."""
        return {
            "time": date_text(self.time),
            "row": self.told,
            "quantity": self.quantity,
            "before": self.before,
            "after": self.after,
            "since_time": date_text(self.since_time),
            "since_row": self.since,
            "words": self.words,
        }


def date_text(seconds: float) -> str:
    """Return a time in ISO 8601, UTC; empty for NaN."""
    if not math.isfinite(seconds):
        return ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}Z"


class Chart:
    """The two-sided CUSUM of one quantity.

    Parameters
    ----------
    limit
        From which on a sum is an alarm (Page's h).
    number
        Of the chart, so that each breaks ties by its own draws.
    """

    def __init__(self, quantity: Quantity, block: int, limit: float, number: int) -> None:
        self.quantity, self.block, self.limit = quantity, block, limit
        self._draws = np.random.default_rng((SEED, number))
        self._values = np.empty(0)
        self._rows = np.empty(0, dtype=np.int64)
        self._times = np.empty(0)
        self._restart()

    def _restart(self) -> None:
        self._blocks: list[tuple[float, int, float]] = []
        # Of quiet blocks: values in order, sums of products of successive scores and of squares.
        self._quiet: list[float] = []
        self._products = self._squares = 0.0
        # Of blocks that may belong to a change: values, and scores with those before them.
        self._doubtful: list[tuple[float, float, float]] = []
        self._up = self._down = self._last = 0.0

    def add(
        self, values: NDArray[np.float64], rows: NDArray[np.int64], times: NDArray[np.float64]
    ) -> list[Alarm]:
        """Take frames in their order; NaN is none. Return the alarms."""
        known = np.isfinite(values)
        self._values = np.concatenate([self._values, values[known]])
        self._rows = np.concatenate([self._rows, rows[known]])
        self._times = np.concatenate([self._times, times[known]])
        whole = len(self._values) // self.block
        used = whole * self.block
        if not whole:
            return []
        means = trimmed_means(self._values[:used].reshape(whole, self.block))
        rows, times = self._rows[:used], self._times[:used]
        self._values, self._rows = self._values[used:], self._rows[used:]
        self._times = self._times[used:]
        alarms = []
        for at, value in enumerate(means.tolist()):
            first, last = at * self.block, (at + 1) * self.block - 1
            self._blocks.append((value, int(rows[first]), float(times[first])))
            alarm = self._step(value, int(rows[last]), float(times[last]))
            if alarm is not None:
                alarms.append(alarm)
        return alarms

    def _step(self, value: float, row: int, time: float) -> Alarm | None:
        below, upto = bisect_left(self._quiet, value), bisect_right(self._quiet, value)
        # Among equals the place is drawn.
        place = below + self._draws.uniform() * (upto - below + 1)
        score = float(ndtri(min(max(place / (len(self._quiet) + 1), 1e-12), 1 - 1e-12)))
        self._doubtful.append((value, score, self._last))
        known = min(max(self._products / (self._squares + DOUBT), 0.0), MOST_CORRELATED)
        news = (score - known * self._last) / math.sqrt(1 - known**2)
        self._last = score
        if len(self._quiet) >= FEWEST:
            allowance = REFERENCE + CAUTION / math.sqrt(len(self._quiet))
            self._up = max(0.0, self._up + news - allowance)
            self._down = max(0.0, self._down - news - allowance)
        if max(self._up, self._down) <= self.limit:
            if self._up == self._down == 0:
                self._settle()
            return None
        values = np.array([one[0] for one in self._blocks])
        # No earlier than some blocks before the sums rose: small changes that were not told are
        # part of what was there before.
        first = max(len(values) - len(self._doubtful) - LOOK_BACK, 0)
        split = first + change_point(values[first:])
        before, after = float(values[:split].mean()), float(values[split:].mean())
        if not self.quantity.matters(before, after):
            self._up = self._down = 0.0
            self._settle()
            return None
        _, since, since_time = self._blocks[split]
        self._restart()
        return Alarm(self.quantity.name, row, time, since, since_time, before, after)

    def _settle(self) -> None:
        """Take what seemed to be a change for quiet."""
        for value, score, before in self._doubtful:
            insort(self._quiet, value)
            self._products += score * before
            self._squares += before * before
        self._doubtful.clear()


class Charts:
    """The charts of all quantities."""

    def __init__(self, block: int = BLOCK, false_alarms: float = FALSE_ALARMS) -> None:
        limit = limit_for(block, false_alarms)
        self._charts = [
            Chart(quantity, block, limit, number) for number, quantity in enumerate(QUANTITIES)
        ]

    def add(
        self,
        columns: Mapping[str, NDArray[np.float64]],
        rows: NDArray[np.int64],
        times: NDArray[np.float64],
    ) -> list[Alarm]:
        """Take frames in their order, each column [n]; return the alarms in their order."""
        found = [
            alarm
            for chart in self._charts
            for alarm in chart.add(columns[chart.quantity.name], rows, times)
        ]
        return sorted(found, key=lambda alarm: alarm.told)


def trimmed_means(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each row [n, block] without its smallest and largest values.

    Of zeros and ones all are taken.
    """
    cut = int(TRIM * blocks.shape[1])
    if not cut or np.isin(blocks, (0.0, 1.0)).all():
        return np.asarray(blocks.mean(1))
    return np.asarray(np.sort(blocks, axis=1)[:, cut:-cut].mean(1))


def change_point(values: NDArray[np.float64]) -> int:
    """Return the number of values before the most likely change (largest Mann-Whitney score)."""
    count = len(values)
    if count < 2:
        return 0
    before = np.arange(1, count)
    sums = np.cumsum(rankdata(values))[:-1]
    spread = np.sqrt(before * (count - before) * (count + 1) / 12)
    return int(before[np.argmax(abs(sums - before * (count + 1) / 2) / spread)])


def limit_for(block: int, false_alarms: float) -> float:
    """Return the limit of the sums for a rate of false alarms per 10 000 frames, all charts."""
    # Alarms of one side of one chart in one block.
    rate = false_alarms / PER * block / (2 * len(QUANTITIES))
    return float(brentq(lambda limit: math.log(run_length(limit) * rate), *LIMITS, xtol=1e-4))


def run_length(limit: float, reference: float = REFERENCE) -> float:
    """Return the mean number of steps to a false alarm of a one-sided CUSUM.

    By the Markov chain of Brook & Evans 1972, Biometrika 59, 539.
    """
    width = 2 * limit / (2 * STATES - 1)
    state = np.arange(STATES)
    step = (state[None, :] - state[:, None]) * width + reference
    chance = norm.cdf(step + width / 2) - norm.cdf(step - width / 2)
    # All that falls below zero stays at zero.
    chance[:, 0] = norm.cdf(-state * width + reference + width / 2)
    return float(np.linalg.solve(np.eye(STATES) - chance, np.ones(STATES))[0])
