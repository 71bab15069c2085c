"""During training: history, learning rate, checkpoint and progress; all survive a resume."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import lr_scheduler
from tqdm import tqdm

from spotmill import tasks
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic, write_text
from spotmill.learning.history import HISTORY, history_text

CHECKPOINT = "last.ckpt"
QUICK = 0.5  # s that a checkpoint may take after every epoch
FIGURES = ("train_loss", "validation_loss", "validation_accuracy", "validation_rmse")

# Is told every epoch's row of the history before it is judged; what it raises ends training.
Watch = Callable[[dict[str, float]], None]
WATCH: ContextVar[Watch | None] = ContextVar("WATCH", default=None)

log = logging.getLogger(__name__)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Let every training within be watched."""
    token = WATCH.set(watch)
    try:
        yield
    finally:
        WATCH.reset(token)


def tell(row: dict[str, float]) -> None:
    """Tell who watches, if anybody, an epoch's row of the history."""
    watch = WATCH.get()
    if watch is not None:
        watch(row)


class Record(Callback):
    """Keeps the history of all epochs and the weights of the best; both survive a resume."""

    def __init__(self, source: str) -> None:
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = -1
        self._source = source
        self._rate = math.nan

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Note the learning rate that the epoch begins with."""
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Record an epoch.

        Raises
        ------
        SpotmillError
            When its loss is not finite.
        """
        known = trainer.callback_metrics
        row = {"epoch": trainer.current_epoch}
        row |= {name: float(known[name]) for name in FIGURES if name in known}
        row["learning_rate"] = self._rate
        tell(row)
        if not all(math.isfinite(value) for value in row.values()):
            raise SpotmillError(
                f"{self._source}: learning_rate: the loss is not finite after epoch "
                f"{trainer.current_epoch}; lower the rate"
            )
        self.rows.append(row)
        losses = [past["validation_loss"] for past in self.rows]
        if losses[-1] <= min(losses):
            state = module.network.state_dict()
            self.best = {key: value.detach().cpu().clone() for key, value in state.items()}
            self.best_epoch = trainer.current_epoch
        log.info(
            "epoch %d of at most %d: loss %.4g in training, %.4g in validation",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            row["train_loss"],
            row["validation_loss"],
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rows": self.rows, "best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.rows = list(state_dict["rows"])
        self.best = dict(state_dict["best"])
        self.best_epoch = int(state_dict["best_epoch"])


class Patience(Callback):
    """Stops training that no longer gets better.

    Lightning's own looks after all other callbacks, so a checkpoint misses the last look, and
    it does not keep that it said stop: a resumed run would go on for one epoch more.
    """

    def __init__(self, limits: tasks.EarlyStopping) -> None:
        self._limits = limits
        self._best = math.inf
        self._waited = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Say stop again where a checkpoint was the last."""
        self._stop(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Look at the validation loss."""
        loss = float(trainer.callback_metrics["validation_loss"])
        if loss < self._best - self._limits.min_delta:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        if self._waited >= self._limits.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self._best, self._waited = float(state_dict["best"]), int(state_dict["waited"])


class Schedule(Callback):
    """Changes the learning rate: on a plateau after an epoch, along a cosine after every step.

    Lightning's own steps come after the end of an epoch, so a checkpoint made there would
    miss one and a resumed run would differ.
    """

    def __init__(self, schedule: tasks.Schedule) -> None:
        self._schedule = schedule
        self._kept: dict[str, Any] | None = None
        self._scheduler: Any = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Attach to the optimiser."""
        optimiser = trainer.optimizers[0]
        steps = int(trainer.num_training_batches) * int(trainer.max_epochs or 1)
        self._scheduler = scheduler(self._schedule, optimiser, steps)
        if self._kept is not None:
            self._scheduler.load_state_dict(self._kept)
            # A new one sets the rate of the first step.
            for group, rate in zip(optimiser.param_groups, self._kept["_last_lr"], strict=True):
                group["lr"] = rate

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Go a step along a cosine."""
        if self._schedule.kind == "cosine":
            self._scheduler.step()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Look at the validation loss."""
        if self._schedule.kind == "plateau":
            self._scheduler.step(float(trainer.callback_metrics["validation_loss"]))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {} if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self._kept = state_dict


def scheduler(
    schedule: tasks.Schedule, optimiser: torch.optim.Optimizer, steps: int
) -> lr_scheduler.LRScheduler:
    """Return what sets the learning rate of an optimiser that takes this many steps."""
    if schedule.kind == "plateau":
        return lr_scheduler.ReduceLROnPlateau(
            optimiser,
            factor=schedule.factor,
            patience=schedule.patience,
            threshold=schedule.threshold,
        )
    rise = min(round(schedule.warm_up * steps), steps - 1)
    # Half a cosine down to nothing (Loshchilov & Hutter, ICLR 2017).
    fall = lr_scheduler.CosineAnnealingLR(optimiser, steps - rise)
    if not rise:
        return fall
    climb = lr_scheduler.LinearLR(optimiser, 1 / (rise + 1), 1.0, rise)
    return lr_scheduler.SequentialLR(optimiser, [climb, fall], [rise])


class Checkpoints(Callback):
    """Keeps the whole state of training after an epoch, in one file that is always whole.

    After every epoch, but where writing takes long, so seldom that a tenth of the time goes into
    it: a run that goes on from an earlier epoch comes to the same end. Beside it lies the history
    so far, for those who watch.
    """

    def __init__(self, folder: Path, record: Record) -> None:
        self._folder, self._record = folder, record
        self._next = 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Replace the checkpoint."""
        begun = time.monotonic()
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        # All processes take part or none.
        if not trainer.strategy.broadcast(last or begun >= self._next):
            return
        if trainer.is_global_zero:
            with atomic(self._folder / CHECKPOINT) as temporary:
                trainer.save_checkpoint(temporary)
            write_text(self._folder / HISTORY, history_text(self._record.rows))
        else:
            trainer.save_checkpoint(self._folder / CHECKPOINT)
        ended = time.monotonic()
        if ended - begun > QUICK:
            self._next = ended + 9 * (ended - begun)


class Bar(Callback):
    """Shows on a terminal how far training is."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Show the bar."""
        self._bar = tqdm(
            desc=self._label,
            total=int(trainer.num_training_batches) * int(trainer.max_epochs or 1),
            initial=trainer.global_step,
            unit="step",
            leave=False,
            file=sys.stderr,
        )

    def on_train_batch_end(self, *_: Any) -> None:
        """Go a step on."""
        self._bar.update()

    def teardown(self, *_: Any, **__: Any) -> None:
        """Take the bar away, however training ended."""
        if self._bar is not None:
            self._bar.close()


def resume_point(folder: Path) -> str | None:
    """Return the checkpoint to go on from, or None where there is none."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        # Read for its errors alone: Lightning's own would be a traceback.
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, UnpicklingError) as error:
        raise SpotmillError(f"{path}: is no whole checkpoint; delete it to start anew") from error
    log.info("goes on from %s", path.name)
    return str(path)
