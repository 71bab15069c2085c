"""What changed since an earlier report, for the page: in words, and as a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from spotmill.changes import differences
from spotmill.report.compare import Compared, compare, difference
from spotmill.report.figures_changes import draw_changes
from spotmill.report.past import Past, read_other, read_past
from spotmill.report.style import Drawing
from spotmill.report.summary import DatasetSummary, Metric, Summary, TaskSummary

MOST = 12  # changed values of a file that are named one by one


@dataclass(frozen=True)
class Changes:
    """What differs between this report and an earlier one.

    `earlier` names the other, empty where there is none; `problem` says why the earlier reports
    cannot be read. `shown` and `unshown` are metrics that changed by more than luck allows, and
    others that are not the same to the last digit. `known` says whether the earlier
    configuration is.
    """

    earlier: str = ""
    problem: str = ""
    counted: str = ""
    shown: Sequence[tuple[str, str]] = ()
    unshown: Sequence[str] = ()
    tasks: Sequence[str] = ()
    datasets: Sequence[str] = ()
    configuration: Sequence[str] = ()
    versions: Sequence[str] = ()
    known: bool = True
    compared: Sequence[Compared] = ()
    drawing: Drawing | None = None

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        said = (self.shown, self.unshown, self.tasks, self.datasets, self.configuration)
        return not any((*said, self.versions))


@dataclass(frozen=True)
class LookBack:
    """Hold a report in numbers, those kept of earlier ones, and what changed."""

    now: Summary
    past: Past | None
    changes: Changes

    def keep(self) -> None:
        """Keep this report for the next one to look back at."""
        if self.past is not None:
            self.past.keep(self.now)


def look_back(now: Summary, history: Path | None, other: Path | None) -> LookBack:
    """Compare a report with an earlier one.

    Parameters
    ----------
    now
        This report.
    history
        File of the earlier reports of this folder; None where none is kept.
    other
        Folder of other results to compare with instead.

    Raises
    ------
    SpotmillError
        When `other` holds no report or run. A damaged `history` is told on the page.
    """
    past = read_past(history) if history else None
    problem = past.problem if past else ""
    if other is not None:
        changes = what_changed(read_other(other), now, f"the report of {other}")
    else:
        before = past.before(now) if past else None
        changes = what_changed(before, now, name_of(before)) if before else Changes()
    drawing = draw_changes(changes.compared, changes.earlier)
    return LookBack(now, past, replace(changes, problem=problem, drawing=drawing))


def name_of(before: Summary | None) -> str:
    """Return what to call an earlier report of this folder."""
    return f"the report before ({before.digest[:8]})" if before else ""


def what_changed(before: Summary, now: Summary, name: str) -> Changes:
    """Put into words what differs between two reports."""
    compared = compare(before.tasks, now.tasks)
    different = [one for one in compared if not one.same]
    shown = [one for one in different if one.verdict in ("better", "worse")]
    return Changes(
        earlier=name,
        counted=count(compared, different),
        shown=[(one.verdict, metric_words(one)) for one in shown],
        unshown=[metric_words(one) for one in different if one not in shown],
        tasks=task_words(before.tasks, now.tasks),
        datasets=dataset_words(before.datasets, now.datasets),
        configuration=configuration_words(before.configuration, now.configuration),
        versions=version_words(before, now),
        known=before.configuration is not None,
        compared=compared,
    )


def count(compared: Sequence[Compared], different: Sequence[Compared]) -> str:
    """Say how many figures of merit changed."""
    if not compared:
        return "No figure of merit is in both reports."
    verdicts = [one.verdict for one in different]
    better, worse = verdicts.count("better"), verdicts.count("worse")
    rest = len(different) - better - worse
    return (
        f"Of {len(compared)} figures of merit in both reports {better} "
        f"{'is' if better == 1 else 'are'} better, {worse} {'is' if worse == 1 else 'are'} worse, "
        f"{rest} differ{'s' if rest == 1 else ''} by no more than luck allows, "
        f"{len(compared) - len(different)} {'is' if len(compared) - len(different) == 1 else 'are'}"
        " the same."
    )


def metric_words(one: Compared) -> str:
    """Return a metric before and now, and whether that is a change."""
    low, high = one.interval
    return (
        f"{one.task}: {one.name} {told(one.before)} → {told(one.now)}: {one.verdict}"
        f" (difference {signed(one.now.value - one.before.value, one.now.unit)},"
        f" 95\u00a0% interval {signed(low, one.now.unit)} to {signed(high, one.now.unit)})"
    )


def told(metric: Metric) -> str:
    """Return a metric with its number of frames."""
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{digits(metric.value, metric.unit)}{unit} (n {metric.n})"


def digits(value: float, unit: str) -> str:
    """Return a share with three places, anything else with four digits."""
    return f"{value:.4g}" if unit else f"{value:.3f}"


def signed(value: float, unit: str) -> str:
    """Return a difference with its sign."""
    text = digits(abs(value), unit)
    if not float(text):
        return text
    return f"{'−' if value < 0 else '+'}{text}"


def task_words(before: Mapping[str, TaskSummary], now: Mapping[str, TaskSummary]) -> list[str]:
    """Return what changed about tasks, besides their metrics."""
    said = [f"{name}: new" for name in now if name not in before]
    said += [f"{name}: gone" for name in before if name not in now]
    for name, task in now.items():
        if name not in before:
            continue
        old = before[name]
        if old.good != task.good:
            words = ("does not hold", "holds")
            said.append(f"{name}: {words[old.good]} → {words[task.good]} (see the verdict)")
        if old.model != task.model:
            said.append(f"{name}: model {old.model} → {task.model}")
        if old.threshold != task.threshold:
            said.append(f"{name}: threshold {plain(old.threshold)} → {plain(task.threshold)}")
        if old.n != task.n:
            frames = [
                f"{side} {old.n.get(side, 0)} → {task.n.get(side, 0)}"
                for side in dict.fromkeys([*old.n, *task.n])
                if old.n.get(side) != task.n.get(side)
            ]
            said.append(f"{name}: frames {', '.join(frames)}")
    return said


def plain(value: float | None) -> str:
    """Return a threshold."""
    return "none" if value is None else f"{value:.4g}"


def dataset_words(
    before: Mapping[str, DatasetSummary], now: Mapping[str, DatasetSummary]
) -> list[str]:
    """Return which datasets are new or gone, and whose numbers of frames and hits changed."""
    said = [f"{name}: new, {frames(now[name])}" for name in now if name not in before]
    said += [f"{name}: gone, it had {frames(before[name])}" for name in before if name not in now]
    for name, dataset in now.items():
        if name in before and before[name] != dataset:
            said.append(
                f"{name}: {frames(before[name])} → {frames(dataset)}"
                f"{hit_words(before[name], dataset)}"
            )
    return said


def frames(dataset: DatasetSummary) -> str:
    """Return the numbers of frames of a dataset."""
    return f"{dataset.hits} hits of {dataset.patterns} patterns and {dataset.empties} empties"


def hit_words(before: DatasetSummary, now: DatasetSummary) -> str:
    """Say whether the share of hits among patterns changed."""
    if not before.patterns or not now.patterns:
        return ""
    shares = [hit_share(dataset) for dataset in (before, now)]
    low, high = difference(*shares)
    verdict = "no change shown" if low <= 0 <= high else "more" if low > 0 else "fewer"
    return (
        f"; hits among patterns {shares[0].value:.3f} → {shares[1].value:.3f}: {verdict}"
        f" (95\u00a0% interval of the difference {signed(low, '')} to {signed(high, '')})"
    )


def hit_share(dataset: DatasetSummary) -> Metric:
    """Return the share of hits among patterns with its Wilson interval."""
    hits = min(dataset.hits, dataset.patterns)
    ends = binomtest(hits, dataset.patterns).proportion_ci(0.95, "wilson")
    interval = (float(ends.low), float(ends.high))
    return Metric(value=hits / dataset.patterns, interval=interval, n=dataset.patterns)


Configuration = Mapping[str, Mapping[str, Any]]


def configuration_words(before: Configuration | None, now: Configuration | None) -> list[str]:
    """Return changed values of the configuration, file by file; none where one is unknown."""
    if before is None or now is None:
        return []
    said = [f"{name}: new" for name in now if name not in before]
    said += [f"{name}: no longer used" for name in before if name not in now]
    for name, values in now.items():
        old = before.get(name)
        if old is None or old == values:
            continue
        if name.endswith(".tsv"):
            # Datasets that are new or gone are told as such.
            both = [key for key in values if key in old]
            old, values = {key: old[key] for key in both}, {key: values[key] for key in both}
        changed = value_words(old, values)
        more = len(changed) - MOST
        tail = f" and {more} more values" if more > 0 else ""
        if changed:
            said.append(f"{name}: {', '.join(changed[:MOST])}{tail}")
    return said


def value_words(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return changed values; of lists what came and went, which may be long otherwise."""
    old, new = flat(before), flat(now)
    said = []
    for key in dict.fromkeys([*old, *new]):
        one, other = old.get(key), new.get(key)
        if isinstance(one, list) and isinstance(other, list):
            parts = [
                f"{key} {word} {', '.join(map(str, items))}"
                for word, items in (
                    ("with", [item for item in other if item not in one]),
                    ("without", [item for item in one if item not in other]),
                )
                if items
            ]
            said += parts or ([f"{key} in another order"] if one != other else [])
        else:
            said += differences({key: one}, {key: other})
    return said


def flat(values: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """Return values with keys within keys as one key with dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{inside}{key}.")
        else:
            found[f"{inside}{key}"] = value
    return found


def version_words(before: Summary, now: Summary) -> list[str]:
    """Return changed recipes and versions."""
    said = []
    if before.version != now.version:
        said.append(f"Spotmill {before.version} → {now.version}")
    if before.recipes is not None and now.recipes is not None:
        said += [f"recipe of {words}" for words in differences(before.recipes, now.recipes)]
    return said
