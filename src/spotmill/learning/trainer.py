"""Run a training with Lightning: on one device or several, repeatable, resumable, watched."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
)
from torch import nn
from torch.utils.data import Dataset
from tqdm.contrib.logging import logging_redirect_tqdm

from spotmill.errors import SpotmillError
from spotmill.learning.batches import Batches, loaded
from spotmill.learning.callbacks import Bar, Checkpoints, Patience, Record, Schedule, resume_point
from spotmill.learning.learner import Learner
from spotmill.tasks import Task

SEVERAL = "docs/slurm.md says how to start several"


@dataclass(frozen=True)
class Trained:
    """A trained network and how it came about.

    Attributes
    ----------
    network
        With the weights of the epoch of lowest validation loss.
    history
        One row an epoch: epoch, train_loss, validation_loss, what else validation tells,
        learning_rate.
    best_epoch
        The epoch, from 0, whose weights these are.
    """

    network: nn.Module
    history: list[dict[str, float]]
    best_epoch: int


@dataclass(frozen=True)
class Machine:
    """What a training runs on: the same steps, faster, up to the last digits of sums.

    Attributes
    ----------
    devices
        Processes on a node: one a GPU, or else one a share of the processor's cores.
    nodes
        Of a cluster, all with as many.
    """

    devices: int = 1
    nodes: int = 1

    @property
    def processes(self) -> int:
        """How many train together."""
        return self.devices * self.nodes

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        name = "SLURM_PROCID" if started_by_slurm() else "LOCAL_RANK"
        return self.processes == 1 or int(os.environ.get(name, "0")) == 0


ALONE = Machine()


def train(
    learner: Learner,
    sides: tuple[Dataset[Any], Dataset[Any]],
    batches: tuple[Batches, Batches],
    task: Task,
    source: str,
    checkpoints: Path | None = None,
    machine: Machine = ALONE,
    gpu: bool = True,
) -> Trained:
    """Train a network, and keep the weights of the epoch of least validation loss.

    Parameters
    ----------
    sides, batches
        Samples, and their batches, of training and of validation.
    source
        Names the task in messages.
    checkpoints
        Folder to keep the state in after every epoch and to resume from; None keeps none.
    gpu
        Whether the network gains from a GPU where there is one.

    Raises
    ------
    SpotmillError
        When the loss stops being finite, or the machine is not as asked for.
    """
    gpu = gpu and torch.cuda.is_available()
    check(task, machine, batches, gpu, source)
    record = Record(source)
    callbacks: list[Callback] = [record]
    if task.early_stopping:
        callbacks.append(Patience(task.early_stopping))
    if task.schedule:
        callbacks.append(Schedule(task.schedule))
    state = resume_point(checkpoints) if checkpoints else None
    if checkpoints:
        callbacks.append(Checkpoints(checkpoints, record))
    shown = sys.stderr.isatty() and machine.leads
    if shown:
        callbacks.append(Bar(source))
    if machine.processes > 1:
        # Else Lightning lets every process take its share of all cores.
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    loaders = [loaded(side, own) for side, own in zip(sides, batches, strict=True)]
    with quiet(), logging_redirect_tqdm() if shown else nullcontext():
        trainer = pl.Trainer(
            max_epochs=task.epochs,
            accelerator="gpu" if gpu else "cpu",
            devices=machine.devices,
            num_nodes=machine.nodes,
            strategy="auto" if machine.processes == 1 else "ddp",
            sync_batchnorm=gpu and machine.processes > 1,
            # Batches share themselves out: Lightning's sampler repeats frames in validation.
            use_distributed_sampler=False,
            plugins=[environment(machine)],
            precision=task.precision,
            gradient_clip_val=task.gradient_clip,
            callbacks=callbacks,
            deterministic=True,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(learner, *loaders, ckpt_path=state, weights_only=True)
    if machine.processes > 1:
        # What comes after is no longer shared out.
        torch.distributed.destroy_process_group()
    if not record.rows:
        raise SpotmillError(f"{source}: training stopped before its first epoch was over")
    learner.network.load_state_dict(record.best)
    return Trained(learner.network.cpu().eval(), record.rows, record.best_epoch)


def check(task: Task, machine: Machine, batches: Sequence[Batches], gpu: bool, source: str) -> None:
    """Raise SpotmillError where a machine cannot train a task."""
    if task.precision == "16-mixed" and not gpu:
        raise SpotmillError(
            f"{source}: precision: 16-mixed needs a GPU, and there is none; use bf16-mixed or "
            "32-true"
        )
    if gpu and machine.devices > torch.cuda.device_count():
        raise SpotmillError(
            f"--devices: {machine.devices} are asked for, this machine has "
            f"{torch.cuda.device_count()} GPUs; ask for as many or fewer"
        )
    if machine.processes == 1:
        return
    least = min(side.whole(0) for side in batches)
    if machine.processes > least:
        raise SpotmillError(
            f"--devices: {machine.processes} processes are more than the {least} frames of a "
            f"batch or side of {source}; ask for fewer, or raise batch_size"
        )


def started_by_slurm() -> bool:
    """Return whether srun started this process as one of several."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def environment(machine: Machine) -> ClusterEnvironment:
    """Return how the processes find each other.

    Raises
    ------
    SpotmillError
        When they are not started as they must be.
    """
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    if machine.processes > 1 and started_by_slurm():
        if int(tasks) != machine.processes:
            raise SpotmillError(
                f"--devices, --nodes: srun started {tasks} tasks for {machine.devices} devices on "
                f"each of {machine.nodes} nodes; start one a device ({SEVERAL})"
            )
        # Snakemake alone repeats jobs.
        return SLURMEnvironment(auto_requeue=False)
    if machine.nodes > 1:
        raise SpotmillError(
            f"--nodes: {machine.nodes} nodes need srun, with one task a device ({SEVERAL})"
        )
    # Also inside a cluster's job, whose variables mean nothing to one node.
    return LightningEnvironment()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Lightning says of every small run, and nothing else."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Encoded frames lie in memory: worker processes would only copy them.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # One process is meant, on a machine with SLURM too.
        warnings.filterwarnings("ignore", ".*`srun` command is available.*")
        # Lightning 2.6 asks torch for a name that torch 2.13 is about to drop.
        warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\).*")
        # What is logged is one number in all processes already.
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")
        yield
