"""After every epoch: history, learning rate and checkpoint, all of which survive a resume."""

import logging
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic
from spotmill.tasks import EarlyStopping, Plateau

CHECKPOINT = "last.ckpt"

log = logging.getLogger(__name__)


class Record(Callback):
    """Keeps the history of all epochs and the weights of the best; both survive a resume."""

    def __init__(self, source: str) -> None:
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = -1
        self._source = source

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Record an epoch.

        Raises
        ------
        SpotmillError
            When its loss is not finite.
        """
        names = ("train_loss", "validation_loss", "validation_accuracy")
        row = {"epoch": trainer.current_epoch}
        row |= {name: float(trainer.callback_metrics[name]) for name in names}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
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

    def __init__(self, limits: EarlyStopping) -> None:
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
    """Lowers the learning rate on a plateau.

    Lightning's own steps come after the end of an epoch, so a checkpoint made there would
    miss one and a resumed run would differ.
    """

    def __init__(self, plateau: Plateau) -> None:
        self._plateau = plateau
        self._kept: dict[str, Any] | None = None
        self._scheduler: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Attach to the optimiser."""
        chosen = self._plateau.model_dump()
        self._scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            trainer.optimizers[0], **chosen
        )
        if self._kept is not None:
            self._scheduler.load_state_dict(self._kept)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Look at the validation loss."""
        if self._scheduler is not None:
            self._scheduler.step(float(trainer.callback_metrics["validation_loss"]))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {} if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self._kept = state_dict


class Checkpoints(Callback):
    """Keeps the whole state of training after every epoch, in one file that is always whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Replace the checkpoint."""
        with atomic(self._folder / CHECKPOINT) as temporary:
            trainer.save_checkpoint(temporary)


def resume_point(folder: Path) -> str | None:
    """Return the checkpoint to go on from, or None where there is none."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        # Read for its errors alone: Lightning's own would be a traceback.
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise SpotmillError(f"{path}: is no whole checkpoint; delete it to start anew") from error
    log.info("goes on from %s", path.name)
    return str(path)
