"""Whether a model's result can be believed, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from spotmill.report.evaluations import Control, Result, Task

# Everett & Kurth (2024): what the paper reports of its models, by (target, model).
PAPER = {
    ("hit", "binary_cnn"): "97.5 % of hits found, no false alarm (54 frames)",
    ("hit", "base_cnn"): "74 % of hits found, no false alarm (54 frames)",
    ("photon_energy", "linear"): "“perfect”: 100 %, from one frozen noise image per dataset",
    ("camera_length", "linear"): "“perfect”: 100 %, from one frozen noise image per dataset",
}

TITLES = {
    "hit": "Hit finding",
    "photon_energy": "Photon energy",
    "camera_length": "Camera length",
}

QUESTIONS = {
    "hit": "Does the frame hold a diffraction pattern?",
    "photon_energy": "At which photon energy was the frame taken?",
    "camera_length": "At which camera length was the frame taken?",
}


@dataclass(frozen=True)
class Verdict:
    """Good or not, with the reasons in words."""

    good: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A line of the table of verdicts; only models carry a verdict and a claim of the paper."""

    role: str  # model, paper, baseline or control
    name: str
    task: str
    result: Result | Control
    paper: str = ""
    verdict: Verdict | None = None

    @property
    def is_control(self) -> bool:
        """Whether this is a control of a model, not an answer to the question."""
        return self.role == "control"


@dataclass(frozen=True)
class Group:
    """All that was tried on one question."""

    target: str
    title: str
    question: str
    rows: tuple[Row, ...]
    summary: str

    @property
    def finds_hits(self) -> bool:
        """Whether recall and specificity are known."""
        return any(isinstance(row.result, Result) and row.result.recall for row in self.rows)

    def controls(self, task: str) -> list[Control]:
        """Return the controls of a task."""
        rows = [row for row in self.rows if row.task == task]
        return [row.result for row in rows if isinstance(row.result, Control)]


def claim(task: Task) -> str:
    """Return what the paper says of a task's model, or an empty text where it is not theirs."""
    return PAPER.get((task.evaluation.target, task.evaluation.model), "")


def percent(value: float) -> str:
    """Return a share as per cent."""
    return f"{100 * value:.1f}\u00a0%"


def best_baseline(task: Task) -> Result | None:
    """Return the baseline with the most right answers."""
    return max(task.evaluation.baselines, key=lambda result: result.accuracy, default=None)


def judge(task: Task) -> Verdict:
    """Judge a model: controls at chance, better than guessing, not below the best baseline."""
    evaluation = task.evaluation
    ours, best = evaluation.ours, best_baseline(task)
    problems = [
        f"the control “{control.name}” scores {percent(control.accuracy)} where chance is "
        f"{percent(control.chance)}: something other than the physics is learnt"
        for control in evaluation.controls
        if not control.at_chance
    ]
    if not evaluation.controls:
        problems.append("no control was run, so nothing shows that the result is honest")
    if ours.interval[0] <= ours.majority:
        problems.append(
            f"no better than always saying the commonest class ({percent(ours.majority)})"
        )
    if best and ours.interval[1] < best.interval[0]:
        problems.append(
            f"below the classical baseline “{best.name}” ({percent(best.accuracy)}) "
            "by more than the intervals"
        )
    if ours.calibration is not None and not ours.calibration.holds:
        problems.append(ours.calibration.words)
    if problems:
        return Verdict(False, tuple(problems))
    reasons = ["controls at chance", f"better than guessing ({percent(ours.majority)})"]
    if best:
        above = ours.interval[0] > best.interval[1]
        reasons.append(
            f"{'above' if above else 'level with'} the best baseline “{best.name}” "
            f"({percent(best.accuracy)})"
        )
    return Verdict(True, tuple(reasons))


def group_tasks(tasks: Sequence[Task]) -> list[Group]:
    """Group tasks by target, in the order in which targets first come."""
    targets = list(dict.fromkeys(task.evaluation.target for task in tasks))
    return [
        _group(target, [t for t in tasks if t.evaluation.target == target]) for target in targets
    ]


def _group(target: str, tasks: list[Task]) -> Group:
    tasks = sorted(tasks, key=lambda task: bool(claim(task)))
    rows = [
        Row(
            "paper" if claim(task) else "model",
            task.evaluation.model,
            task.name,
            task.evaluation.ours,
            claim(task),
            judge(task),
        )
        for task in tasks
    ]
    rows += _baseline_rows(tasks)
    rows += [
        Row("control", control.name, task.name, control)
        for task in tasks
        for control in task.evaluation.controls
    ]
    title = TITLES.get(target, target.replace("_", " ").capitalize())
    return Group(target, title, QUESTIONS.get(target, ""), tuple(rows), _summary(rows))


def _baseline_rows(tasks: Sequence[Task]) -> list[Row]:
    """Return every baseline once: tasks of one split repeat the same figures."""
    seen: dict[tuple[str, int, int], Row] = {}
    for task in tasks:
        for result in task.evaluation.baselines:
            key = (result.name, result.n, result.correct)
            seen.setdefault(key, Row("baseline", result.name, task.name, result))
    return list(seen.values())


def _summary(rows: Sequence[Row]) -> str:
    """Say in one sentence how the first model, the paper's best and the best baseline did."""
    first = rows[0]
    parts = [f"{first.name} is right on {_of(first)}"]
    for role, words in (("paper", "the paper’s best model"), ("baseline", "the best baseline")):
        others = [row for row in rows[1:] if row.role == role]
        if others:
            best = max(others, key=lambda row: row.result.accuracy)
            parts.append(f"{words} ({best.name}) on {_of(best)}")
    return "; ".join(parts) + "."


def _of(row: Row) -> str:
    result = row.result
    return f"{result.correct} of {result.n} test frames ({percent(result.accuracy)})"
