"""The live view follows real runs of Snakemake: one that ends, is killed, stopped, or fails."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, copy_tiny
from mill import BIN, PARTS, append, run_snakemake
from serve_client import PATIENCE, Server

from spotmill.serve.runs import SILENT

SHARDS = [f"results/images/peaks_water_overlay/A/{name}.h5" for name in ("p00000", "e00000")]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny workflow, in which nothing ran."""
    folder = copy_tiny(tmp_path_factory.mktemp("serve_runs"))
    shutil.copy(ROOT / "Snakefile", folder)
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name)
    (folder / "results").mkdir()
    return folder


def start(project: Path, *targets: str) -> subprocess.Popen[bytes]:
    """Start Snakemake; it may use no more than one core."""
    return subprocess.Popen(
        [str(BIN / "snakemake"), "--profile", "profiles/local", "--cores", "1", *targets],
        cwd=project,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[Server]:
    with Server(project / "results") as running:
        yield running


def test_a_run_is_followed_from_none_to_all(project: Path, server: Server) -> None:
    assert "No run has been recorded" in server.changes()["parts"]["progress"]
    with start(project, *SHARDS) as run:
        seen = []
        told = server.until(lambda told: seen.append(told) or "Finished" in title_and_words(told))
        assert run.wait(PATIENCE) == 0
    counts = [one["title"].split()[0] for one in seen if "/" in one["title"]]
    done = [int(count.split("/")[0]) for count in counts]
    total = int(counts[-1].split("/")[1])
    assert done == sorted(done) and done[-1] == total == 5 and len(set(done)) > 2
    going = [one for one in seen if "Running now" in one["parts"]["progress"]]
    # On a busy machine a look may miss a job.
    assert any("dataset=A" in one["parts"]["progress"].split("By rule")[0] for one in going)
    assert any("jobs a minute" in one["parts"]["progress"] for one in going)
    assert any(" end</dt>" in one["parts"]["progress"] for one in going)
    assert not told["live"] and "Running now" not in told["parts"]["progress"]
    assert f"{total} of {total} jobs done" in told["parts"]["progress"]


def title_and_words(told: dict) -> str:
    return told["title"] + told["parts"]["progress"]


def test_its_frames_are_shown(server: Server) -> None:
    part = server.until(lambda told: "<img" in told["parts"]["frames"])["parts"]["frames"]
    assert "Bragg photons" in part and "no crystal" in part
    sources = [piece.split('"')[0] for piece in part.split('src="')[1:]]
    assert len(sources) == 12
    for source in sources[:3]:
        answer = server.get(source)
        assert answer.status == 200 and answer.body.startswith(b"\x89PNG\r\n")
        etag = answer.getheader("ETag") or ""
        assert server.get(source, If_None_Match=etag).status == 304
    page = server.text("/frame/peaks_water_overlay/A/p00000/0")
    assert "photons on live pixels" in page and 'rel="next"' in page and 'rel="prev"' not in page
    for name in ("p00000/12", "p00000/-1", "p00000/x", "p99999/0", "p00000/99999999"):
        assert server.get(f"/frame/peaks_water_overlay/A/{name}").status == 404
    assert server.get("/frame/labels/A/p00000/0").status == 404


def test_a_shard_that_breaks_is_told_and_nothing_falls(project: Path, server: Server) -> None:
    shard = project / "results/images/peaks_water_overlay/A/p00000.h5"
    whole = shard.read_bytes()
    try:
        shard.write_bytes(whole[: len(whole) // 2])
        answer = server.get("/picture/peaks_water_overlay/A/p00000/5.png")
        assert answer.status in (404, 503) and str(project).encode() not in answer.body
        assert server.get("/").status == 200
    finally:
        shard.write_bytes(whole)


def test_a_killed_run_is_told_from_one_that_goes_on(project: Path, server: Server) -> None:
    with start(project, "results/manifest/B.parquet") as run:
        server.until(lambda told: "Running now" in told["parts"]["progress"])
        run.kill()
        run.wait()
    told = server.until(lambda told: "Killed" in told["parts"]["progress"])
    assert "Not ended" in told["parts"]["progress"] and "cut short" in told["parts"]["progress"]
    assert not told["live"]
    (log,) = sorted((project / ".snakemake/log").glob("*.log"))[-1:]
    # One that never saw it alive cannot tell it from a run on another host, until it is silent.
    with Server(project / "results") as other:
        assert "on another host" in other.changes()["parts"]["progress"]
        past = time.time() - SILENT - 60
        for path in (log, *project.glob("logs/*/B.log"), *project.glob("logs/*/B/*.log")):
            os.utime(path, (past, past))
        told = other.until(lambda told: "Silent" in told["title"].title())
        assert "or it was killed" in told["parts"]["progress"]
    # The next one meets its lock, and does nothing; what is told is still the run before.
    assert run_snakemake(project, "results/manifest/B.parquet").returncode
    told = server.until(lambda told: "found the folder locked" in told["parts"]["progress"])
    assert "Killed" in told["parts"]["progress"]
    assert run_snakemake(project, "--unlock").returncode == 0
    told = server.until(lambda told: "found the folder locked" in told["parts"]["progress"])
    assert "Killed" in told["parts"]["progress"]


def test_a_failed_job_is_told_with_its_last_words(project: Path, server: Server) -> None:
    geometry = project / "config/detectors/tiny.geom"
    before = geometry.read_text()
    geometry.write_text(before.replace("max_fs", "max_xs"))
    try:
        with start(project, "results/images/water/C.h5", "results/images/C.geom") as run:
            assert run.wait(PATIENCE)
        told = server.until(lambda told: "Ended with failures" in told["parts"]["progress"])
    finally:
        geometry.write_text(before)
    part = told["parts"]["progress"]
    assert '<span class="mark bad">water</span> dataset=C' in part
    assert "logs/water/C.log" in part and "spotmill water: error:" in part


def test_the_next_run_takes_the_place_of_the_last(project: Path, server: Server) -> None:
    assert run_snakemake(project, "results/images/water/C.h5").returncode == 0
    told = server.until(lambda told: told["title"] == "1/1 finished")
    assert "Failed" not in told["parts"]["progress"]
    assert "with earlier runs" in told["parts"]["progress"]
    # Nothing to be done is no news of what was.
    assert run_snakemake(project, "results/images/water/C.h5").returncode == 0
    server.until(lambda told: "nothing was to be done" in told["parts"]["progress"])


def test_a_quiet_run_is_told_by_its_files(project: Path, server: Server) -> None:
    for name in project.glob("results/images/C.geom"):
        name.unlink()
    done = run_snakemake(project, "--quiet", "progress", "--", "results/images/C.geom")
    assert done.returncode == 0, done.stdout
    told = server.until(lambda told: "1 jobs done" in told["parts"]["progress"])
    assert "--quiet" in told["parts"]["progress"]


def test_a_run_that_cannot_begin_says_why(project: Path, server: Server) -> None:
    config = project / "config/config.yaml"
    before = config.read_text()
    append(config, "nonsense: 1\n")
    try:
        assert run_snakemake(project).returncode
    finally:
        config.write_text(before)
    time.sleep(4)
    assert server.get("/").status == 200


def test_stopping_by_hand_is_told(project: Path, server: Server) -> None:
    with start(project, "results/manifest/B.parquet") as run:
        server.until(lambda told: "Running now" in told["parts"]["progress"])
        run.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            run.wait(PATIENCE)
    server.until(lambda told: "Stopped by its user" in told["parts"]["progress"])
