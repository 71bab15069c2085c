"""What docs/faults.md says of one machine: kills, Ctrl-C, two runs in one folder."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from kill import Harness
from small_mill import Mill, jobs, wait_gone

pytestmark = pytest.mark.slow

TARGETS = ("results/images/water/A.h5", "results/images/peaks_water_overlay/A/e00000.h5")
WATER = TARGETS[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    """Return a mill that makes a background and its empties, with its outputs in `expected`."""
    return Mill.make(tmp_path_factory.mktemp("mill"), targets=TARGETS)


@pytest.fixture
def mill(whole: Mill) -> Iterator[Mill]:
    """Return the mill with nothing made."""
    whole.clear()
    yield whole
    whole.clear()


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_few_kills_change_nothing(mill: Mill) -> None:
    tally = Harness(mill, seed=3).run(kills=3)
    assert tally.kinds.total() == 3
    assert tally.completed >= 1
    assert not tally.problems, str(tally)


def test_a_second_run_says_so_and_the_first_is_unharmed(mill: Mill) -> None:
    first = mill.start()
    until(lambda: jobs(psutil.Process(first.pid)))
    second = mill.run()
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stdout
    assert "--unlock" in second.stdout
    assert first.wait() == 0, mill.said()
    assert {f"results/{name}" for name in mill.outputs()} == set(TARGETS)
    assert mill.pending() == set()


def test_what_was_made_unseen_is_made_again(mill: Mill) -> None:
    """An output put in place after Snakemake last looked has no record of its parameters."""
    snakemake = mill.start()
    until(lambda: jobs(psutil.Process(snakemake.pid)))
    os.kill(snakemake.pid, signal.SIGSTOP)
    until((mill.folder / WATER).exists)
    os.kill(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    locked = mill.run()
    assert locked.returncode != 0 and "Directory cannot be locked" in locked.stdout
    assert (mill.folder / WATER).exists()
    mill.unlock()
    assert any(WATER in job for job in mill.pending())
    done = mill.run()
    assert done.returncode == 0, done.stdout
    assert any(WATER in job for job in mill.pending(raised=True))


def test_ctrl_c_stops_all_and_leaves_nothing_half(mill: Mill) -> None:
    snakemake = mill.start()
    process = psutil.Process(snakemake.pid)
    until(lambda: jobs(process))
    family = process.children(recursive=True)
    os.killpg(snakemake.pid, signal.SIGINT)
    assert snakemake.wait() != 0
    assert not wait_gone(family, 20)
    assert not list(mill.folder.rglob(".*.part"))
    assert not (mill.folder / WATER).exists()
    done = mill.run()
    assert done.returncode == 0, done.stdout
