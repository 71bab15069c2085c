"""Whether a figure of merit changed: two estimates of different samples, each with its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spotmill.report.stored import Interval
from spotmill.report.summary import Metric, TaskSummary


@dataclass(frozen=True)
class Compared:
    """A metric of a task before and now; `interval` is of the difference now - before."""

    task: str
    name: str
    before: Metric
    now: Metric
    interval: Interval

    @property
    def same(self) -> bool:
        """Whether it is the very same figure of as many frames."""
        return self.before == self.now

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval of the difference leaves out 0."""
        low, high = self.interval
        if low <= 0 <= high:
            return "no change shown"
        return "better" if (low > 0) == self.now.more_is_better else "worse"


def difference(before: Metric, now: Metric) -> Interval:
    """Return the 95 % interval of the difference of two independent estimates.

    Each side's distance to its own limit is squared and added: Newcombe's hybrid score interval
    (Statist. Med. 17 (1998) 873, method 10) where the intervals are Wilson's, as those of shares
    are; for other estimates MOVER (Zou and Donner, Statist. Med. 27 (2008) 1693). Of the same
    frames twice it is wider than need be, as such estimates go up and down together.
    """
    d = now.value - before.value
    below = math.hypot(now.value - now.interval[0], before.interval[1] - before.value)
    above = math.hypot(now.interval[1] - now.value, before.value - before.interval[0])
    return d - below, d + above


def compare(before: Mapping[str, TaskSummary], now: Mapping[str, TaskSummary]) -> list[Compared]:
    """Return all metrics that both reports have, in the order of this one."""
    found = []
    for task, summary in now.items():
        if task not in before:
            continue
        earlier = before[task].metrics
        for name, metric in summary.metrics.items():
            old = earlier.get(name)
            if old is not None and old.unit == metric.unit:
                found.append(Compared(task, name, old, metric, difference(old, metric)))
    return found
