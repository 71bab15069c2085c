"""Starts `spotmill watch` again and again: a process that has imported everything, and forks.

Reads requests from its input, one JSON a line, and answers each with a line.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from typing import Any

# As the command sets it before HDF5 is loaded.
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"

import spotmill.inference.monitor
import spotmill.inference.pictures
import spotmill.inference.pipeline
import spotmill.inference.watching
import spotmill.learning.applied  # noqa: F401
from spotmill.cli import main

# Where a process may be struck between two lines.
STRUCK = ("ledger", "published", "watching", "peak_parts", "atomic", "monitor.py")


def strike_at(line: int) -> None:
    """Kill this process when it has run so many lines of the modules that write."""
    left = line

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if not any(name in frame.f_code.co_filename for name in STRUCK):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def child(request: dict[str, Any]) -> None:
    """Run a command in this process, and end with its code."""
    with open(request["log"], "ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    random.seed()
    if request.get("line") is not None:
        strike_at(request["line"])
    code = 70
    try:
        code = main(request["words"])
    except Exception:  # noqa: BLE001 (as Python's own end, which a fork does not come to)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int, seconds: float) -> int | None:
    """Return a child's code (negative: the signal that ended it), None where it still runs."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def serve() -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if "words" in request:
            pid = os.fork()
            if not pid:
                child(request)
            print(pid, flush=True)
        else:
            print(json.dumps(wait(request["wait"], request["seconds"])), flush=True)


if __name__ == "__main__":
    serve()
