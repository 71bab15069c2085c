"""Jobs that outlive their workflow: they stop, and put no file in place.

Killed outright, Snakemake cannot stop its jobs. One that went on could replace a file that
a later run, perhaps with another configuration, has made since.
"""

import _thread
import os
import signal
import threading
import time
from pathlib import Path

import psutil

from spotmill.errors import SpotmillError

# Process that runs the job's shell; the Snakefile sets it.
VARIABLE = "SPOTMILL_WORKFLOW"

LOOK_EVERY = 1.0  # s
PATIENCE = 5.0  # s for a tidy end, of which a long computation knows nothing

_workflow: list[int] = []


def watch() -> None:
    """Interrupt this process when the workflow that started it is gone.

    Started by hand, or in a container that hides the workflow, it is left alone.
    """
    text = os.environ.get(VARIABLE, "")
    if text.isdecimal() and int(text) in _ancestors() and not _workflow:
        _workflow.append(int(text))
        _heed_interrupts()
        threading.Thread(target=_wait, daemon=True).start()


def _heed_interrupts() -> None:
    """Let SIGINT raise KeyboardInterrupt where it is ignored, as after `nohup … &`.

    `interrupt_main` does nothing while it is ignored, and Snakemake stops its jobs by it, too.
    """
    on_main = threading.current_thread() is threading.main_thread()
    if on_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def refuse_orphans(path: Path) -> None:
    """Raise SpotmillError, naming the file, where the workflow that wanted it is gone."""
    if _is_orphan():
        raise SpotmillError(
            f"{path}: the workflow that started this job is gone; run snakemake again"
        )


def _ancestors() -> set[int]:
    return {process.pid for process in psutil.Process().parents()}


def _is_orphan() -> bool:
    # Also where only the shell between is gone: Snakemake then takes the job for failed.
    return bool(_workflow) and _workflow[0] not in _ancestors()


def _wait() -> None:
    while not _is_orphan():
        time.sleep(LOOK_EVERY)
    _thread.interrupt_main()
    time.sleep(PATIENCE)
    os._exit(1)
