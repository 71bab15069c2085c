"""Exports that are stopped, refused or told about: nothing half-written under the final name."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from export_frames import FRAMES, contents, export

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.export.folder import check_room, in_words

# The command, with files of some size at most: a disk that is full.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from spotmill.cli import main
raise SystemExit(main(sys.argv[2:]))
"""


@pytest.fixture
def here(export_results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(export_results)
    return export_results


def units_done(part: Path) -> int:
    journal = part / ".journal"
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


WORDS = {
    "paper": [],
    "cxi": ["--frames-per-file", "4"],
    "webdataset": ["--frames-per-file", "4"],
}


@pytest.mark.parametrize("what", WORDS)
def test_a_killed_export_goes_on(
    what: str, here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed outright once some units are done; what it then writes is what it would have."""
    output, part = tmp_path / "out", tmp_path / ".out.part"
    command = [sys.executable, "-m", "spotmill.cli", "export", what, "--output", str(output)]
    process = subprocess.Popen([*command, *WORDS[what]], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while units_done(part) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert part.is_dir() and not output.exists()
    # Its last line may be torn.
    with (part / ".journal").open("ab") as journal:
        journal.write(b'{"unit": "x", "fil')
    before = {path: path.stat().st_mtime_ns for path in part.rglob("*") if path.is_file()}
    done = json.loads((part / ".journal").read_text().splitlines()[1])["files"]
    assert export(what, output, *WORDS[what]) == 0
    assert "goes on behind" in capfd.readouterr().err
    assert not part.exists()
    for name in done:
        assert (output / name).stat().st_mtime_ns == before[part / name], "was written again"
    assert export(what, tmp_path / "whole", *WORDS[what]) == 0
    assert contents(output) == contents(tmp_path / "whole")
    assert os.system(f"cd {output} && sha256sum --check --quiet SHA256SUMS") == 0


def refused(capfd: pytest.CaptureFixture[str], says: str, *words: object) -> None:
    capfd.readouterr()
    assert main([str(word) for word in words]) == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("spotmill export: error: ") and says in error


def test_what_is_there_is_not_touched(
    here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    words = ["export", "paper", "--datasets", "01", "--sides", "validation", "--output"]
    refused(capfd, "mine: is not empty; name a new folder", *words, tmp_path / "mine")
    refused(capfd, "file: is a file; name a new folder", *words, tmp_path / "file")
    assert main([*words, str(tmp_path / "out")]) == 0
    before = contents(tmp_path / "out")
    refused(capfd, "holds an export already; delete it", *words, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    (tmp_path / ".new.part").mkdir()
    (tmp_path / ".new.part/notes.txt").write_text("keep")
    refused(capfd, "is in the way and not of an export", *words, tmp_path / "new")
    assert (tmp_path / ".new.part/notes.txt").read_text() == "keep"
    # An empty folder is a good place.
    (tmp_path / "empty").mkdir()
    assert main([*words, str(tmp_path / "empty")]) == 0


def test_what_was_left_by_other_settings_is_not_gone_on_with(
    here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / ".out.part"
    part.mkdir()
    (part / ".journal").write_text(json.dumps({"settings": {"format": "paper"}}) + "\n")
    words = ["export", "cxi", "--output", tmp_path / "out"]
    refused(capfd, ".out.part: holds an unfinished export of other settings", *words)
    (part / ".journal").write_text("{}\n")
    refused(capfd, ".out.part: has a broken journal; delete it", *words)
    assert not (tmp_path / "out").exists()


def test_data_that_changed_since_are_not_mixed(
    here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = Path("results/images/labels/01/p00001.h5")
    raw, state = labels.read_bytes(), labels.stat()
    words = ["export", "paper", "--datasets", "01", "--output", tmp_path / "out"]
    labels.write_bytes(raw[: len(raw) // 2])
    refused(capfd, "p00001.h5: is not a whole HDF5 file", *words)
    assert not (tmp_path / "out").exists()
    labels.write_bytes(raw)
    os.utime(labels, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert main([str(word) for word in words]) == 0


def test_two_processes_do_not_write_one_export(
    here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / ".out.part"
    part.mkdir()
    with (part / ".journal").open("w") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        words = ["export", "cxi", "--output", tmp_path / "out"]
        refused(capfd, "another process is writing it", *words)


def test_a_full_disk_is_told_and_can_be_gone_on_from(here: Path, tmp_path: Path) -> None:
    """Of cxi, one file fits and the next one does not."""
    words = ["export", "cxi", "--compression", "none", "--output", str(tmp_path / "out")]
    limited = subprocess.run(
        [sys.executable, "-c", LIMITED, "100000", *words], capture_output=True, text=True
    )
    assert limited.returncode == 1
    error = limited.stderr.splitlines()[-1]
    assert "out: cannot be written (File too large); make space" in error
    assert not (tmp_path / "out").exists()
    assert main(words) == 0


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpotmillError, match=r"needs about 1000000\.0 TB, and .* free there"):
        check_room(tmp_path / "a/b", 10**18)
    check_room(tmp_path / "a/b", 1000)
    assert [in_words(size) for size in (7, 1234, 56_000_000, 7.8e12)] == [
        *("7 bytes", "1.2 kB", "56 MB", "7.8 TB")
    ]


def test_the_expected_bytes_are_about_those_written(
    here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from spotmill.commands.export_data import KINDS
    from spotmill.export.choice import choose
    from spotmill.export.cxi import Cxi
    from spotmill.export.paper import Paper
    from spotmill.export.reader import Reader
    from spotmill.export.run import expected_bytes
    from spotmill.export.webdataset import WebDataset

    choice = choose(Path("results"))
    with Reader(choice) as reader:
        layouts = {
            "paper": Paper(choice, reader, KINDS, "figure", True),
            "cxi": Cxi(choice, reader, KINDS, 1000, False),
            "webdataset": WebDataset(choice, reader, KINDS, 1000, False),
        }
        words = {"paper": [], "cxi": ["--compression", "none"], "webdataset": []}
        for what, layout in layouts.items():
            assert export(what, tmp_path / what, "--kinds", *KINDS, "--json", *words[what]) == 0
            out = capfd.readouterr()
            record = json.loads(out.out)
            assert record["n_frames"] == FRAMES and record["format"] == what
            assert record["bytes"] == sum(map(len, contents(tmp_path / what).values()))
            assert expected_bytes(layout) == pytest.approx(record["bytes"], rel=0.2)
            # Plain lines, as a log takes them.
            assert "\r" not in out.err and "about" in out.err.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["paper", "--datasets", "07"], "--datasets: '07' does not exist; there are 01, 02"),
        (["paper", "--results", "nowhere"], "nowhere: has no datasets (manifest/*.parquet)"),
        (["cxi", "--kinds", "water"], "--kinds: water has no frames"),
        (["cxi", "--split", "absent.parquet"], "absent.parquet: no such table"),
        (["cxi", "--frames-per-file", "0"], "--frames-per-file: 0 is not between 1"),
        (["webdataset", "--split", "results/manifest/01.parquet"], "lacks the column 'split'"),
    ],
)
def test_bad_words_are_told_in_one_line(
    words: list[str], says: str, here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused(capfd, says, "export", *words, "--output", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_a_format_the_formats_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    refused(capfd, "which format? give one of onnx, paper, cxi, webdataset", "export")
