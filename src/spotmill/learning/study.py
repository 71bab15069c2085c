"""A search for settings with Optuna: kept in a journal, so that a killed one goes on.

What a trial tries depends on the seed, its number and the trials that ended before it, and on
nothing else: a search that was killed, or is later given more trials, tries what one that ran
in one go would have tried. A trial that was killed is run anew.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import make_folder
from spotmill.learning.bench import Bench, Diverged, Pruned
from spotmill.learning.registry import model_module
from spotmill.tasks import Task
from spotmill.tuning import SETTING, SUM_BIN, Plain, Search, Span, with_values

NAME = "spotmill"
# Where a trial that ended keeps what the table says of it.
RESULT = "result"
# Of what is drawn from a range this many digits are used, so that a person can copy them.
DIGITS = 3

log = logging.getLogger(__name__)

Row = dict[str, Any]


def distribution(span: Span) -> BaseDistribution:
    """Return the values of a key as Optuna has them."""
    if span.categorical is not None:
        return CategoricalDistribution(span.categorical)
    if span.int is not None:
        return IntDistribution(*span.int)
    low, high = span.log or span.float or (0.0, 1.0)
    return FloatDistribution(low, high, log=span.log is not None)


def plain(value: Plain, span: Span) -> Plain:
    """Return a value that Optuna drew with few digits, still within its range."""
    pair = span.float or span.log
    if pair is None or not isinstance(value, float):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), pair[0]), pair[1])


def present(search: Search, task: Task, source: str) -> dict[str, Plain] | None:
    """Return the values that the task has now, or None where one is not in the space.

    Raises
    ------
    SpotmillError
        When the task's model has no such setting, or it cannot take a value of the space.
    """
    module = model_module(task.model)
    values: dict[str, Plain] = {}
    own = module.Settings.parse(task.settings, f"{source}: task: settings")
    for key, span in search.space.items():
        if key.startswith(SETTING):
            name = key.removeprefix(SETTING)
            for end in span.ends:
                changed = {**task.settings, name: end}
                module.Settings.parse(changed, f"{source}: space: settings")
            values[key] = getattr(own, name)
        else:
            values[key] = task.input.sum_bin if key == SUM_BIN else getattr(task, key)
    fits = all(span.holds(values[key]) for key, span in search.space.items())
    return values if fits else None


def run_search(search: Search, task: Task, bench: Bench, journal: Path, source: str) -> list[Row]:
    """Try as many settings as the search says; return a row a trial, in their order.

    Each has `state` (complete, pruned or diverged), `value` (the lower the better; None for
    diverged ones), `best_epoch`, `epochs` and `values` by key. The first is the task as it
    stands, where the space holds it.

    Raises
    ------
    SpotmillError
        When the journal is broken or cannot be written, or a value does not fit the task.
    """
    now = present(search, task, source)
    spans = search.space
    space = {key: distribution(span) for key, span in spans.items()}
    with study_in(journal, search) as study:
        for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(left.number, state=TrialState.FAIL)
        while len(ended(study)) < search.trials:
            number = len(ended(study))
            study.sampler = optuna.samplers.TPESampler(seed=seed_of(search.seed, number))
            waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if number == 0 and now is not None and not waiting:
                study.enqueue_trial(now)
            trial = study.ask(space)
            values = {key: plain(trial.params[key], spans[key]) for key in spans}
            if number == 0 and now is not None:
                values = now
            row = attempt(search, task, bench, trial, values, source)
            trial.set_user_attr(RESULT, row)
            if row["state"] == "complete":
                study.tell(trial, row["value"])
            else:
                study.tell(trial, state=TrialState.PRUNED)
            log.info("trial %d of %d: %s", number + 1, search.trials, in_words(row))
        return [dict(trial.user_attrs[RESULT]) for trial in ended(study)][: search.trials]


def attempt(
    search: Search,
    task: Task,
    bench: Bench,
    trial: optuna.Trial,
    values: dict[str, Plain],
    source: str,
) -> Row:
    """Train the task with some values; return the row of the trial."""
    limits: dict[str, Any] = {}
    if search.epochs is not None:
        limits["epochs"] = min(search.epochs, task.epochs)
    tried = with_values(task.model_copy(update=limits), values, source)
    losses: list[float] = []

    def watch(row: dict[str, float]) -> None:
        losses.append(row["validation_loss"])
        if search.pruner is not None:
            trial.report(losses[-1], len(losses))
            if trial.should_prune():
                raise Pruned

    row: Row = {"state": "complete", "value": None, "best_epoch": None, "values": values}
    try:
        outcome = bench.train(tried, watch)
    except Pruned:
        best = int(np.argmin(losses))
        return row | {
            "state": "pruned",
            "value": losses[best],
            "best_epoch": best,
            "epochs": len(losses),
        }
    except Diverged:
        return row | {"state": "diverged", "epochs": len(losses) + 1}
    return row | {
        "value": outcome.value,
        "best_epoch": outcome.best_epoch,
        "epochs": outcome.epochs,
    }


def in_words(row: Row) -> str:
    """Return what a trial tried and came to."""
    values = ", ".join(f"{key} {value}" for key, value in row["values"].items())
    if row["value"] is None:
        return f"{values}: the loss is not finite"
    said = "" if row["state"] == "complete" else f", {row['state']}"
    return f"{values}: {row['value']:.5g} in {row['epochs']} epochs{said}"


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to an end, in their order; killed ones did not."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return list(study.get_trials(deepcopy=False, states=states))


def seed_of(seed: int, number: int) -> int:
    """Return the seed of one trial."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


@contextmanager
def study_in(journal: Path, search: Search) -> Iterator[optuna.Study]:
    """Open the study of a journal, or a new one."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    chosen = search.pruner
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if chosen is not None:
        pruner = optuna.pruners.MedianPruner(chosen.trials, chosen.epochs)
    make_folder(journal)
    try:
        mend(journal)
        # An absolute name: the lock lies beside it, wherever the process goes.
        name = str(journal.absolute())
        storage = JournalStorage(JournalFileBackend(name, JournalFileOpenLock(name)))
        study = optuna.create_study(
            storage=storage, study_name=NAME, pruner=pruner, load_if_exists=True
        )
    except OSError as error:
        raise unwritable(journal, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpotmillError(
            f"{journal}: is no journal of a search; delete it to start anew"
        ) from error
    try:
        yield study
    except OSError as error:
        raise unwritable(journal, error) from error
    finally:
        # A search that failed at once leaves nothing.
        if not ended(study):
            remove(journal)


def remove(journal: Path) -> None:
    """Remove a journal, and the folders above it that are empty then."""
    shutil.rmtree(journal.parent, ignore_errors=True)
    with suppress(OSError):
        journal.parent.parent.rmdir()


def unwritable(journal: Path, error: OSError) -> SpotmillError:
    """Return the complaint of a journal that cannot be written."""
    return SpotmillError(
        f"{journal}: cannot be written ({error.strerror or error}); check the folder, its "
        "permissions and space"
    )


def mend(journal: Path) -> None:
    """Cut off a last line that a killed writer left unfinished."""
    if not journal.is_file():
        return
    content = journal.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    for line in whole.splitlines():
        json.loads(line)
    if len(whole) < len(content):
        with journal.open("r+b") as file:
            file.truncate(len(whole))
