"""Every bad input gets one line that names it and a remedy, and leaves nothing behind."""

import os
import re
import shutil
from pathlib import Path

import pytest
from bad_inputs import CONFIGURATION, DETECTORS, GOOD, SEARCH, Bad, words
from bad_inputs_files import REFLECTIONS, SHARDS, SIMULATE, TABLES
from bad_inputs_front import FRONT, LOOKED
from bad_inputs_models import MODELS, PROGRAMS
from bad_inputs_values import VALUES
from conftest import copy_tiny, simulate_words, water_words

from spotmill.cli import COMMANDS, main

CASES = [
    *(*CONFIGURATION, *DETECTORS, *REFLECTIONS, *SIMULATE, *SHARDS, *TABLES),
    *(*MODELS, *PROGRAMS, *FRONT, *LOOKED, *VALUES),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which every command has run: two datasets, a model, an evaluation."""
    folder = copy_tiny(tmp_path_factory.mktemp("made"))
    here = Path.cwd()
    os.chdir(folder)
    try:
        make()
    finally:
        os.chdir(here)
    return folder


def make() -> None:
    def run(*given: object) -> None:
        assert main([str(word) for word in given]) == 0

    for name, energy in (("A", 6000), ("B", 8000)):
        run(*simulate_words(f"{name}/p00000", dataset=name, photon_energy=energy))
        run(*water_words(f"water/{name}.h5", dataset=name, photon_energy=energy))
        pattern, empty = (f"overlay/{name}/{shard}.h5" for shard in ("p00000", "e00000"))
        peaks, labels = (f"{kind}/{name}/p00000.h5" for kind in ("peaks", "labels"))
        overlay = ["overlay", "--water", f"water/{name}.h5", "--seed", 7]
        run(*overlay, "--peaks", peaks, "--output", pattern)
        run(*overlay, "--first", 10_000_000, "--count", 12, "--output", empty)
        run("labels", "--peaks", peaks, "--output", labels)
        files = ["--peaks", peaks, "--labels", labels, "--truth", f"truth/{name}/p00000.parquet"]
        run("manifest", "--overlay", pattern, empty, *files, "--output", f"manifest/{name}.parquet")
    manifests = ["manifest/A.parquet", "manifest/B.parquet"]
    run("manifest", "--join", *manifests, "--output", "manifest/all.parquet")
    task = Path("config/tasks/hit.yaml")
    task.write_text(task.read_text().replace("epochs: 30", "epochs: 1"))
    Path(SEARCH).write_text(
        "task: hit\ntrials: 2\nspace:\n  learning_rate: {log: [1.0e-3, 1.0e-2]}\n"
    )
    run(*words("split", {"output": "splits/hit.parquet"}))
    run(*words("train", {"output": "models/hit"}))
    run(*words("evaluate", {"output": "evaluation/hit"}))
    write_sources()


def write_sources() -> None:
    """Write what reflections, background and pattern-sim start from."""
    import h5py
    import numpy as np

    cell = f"{67.288:9.3f}{67.288:9.3f}{106.582:9.3f}{90:7.2f}{90:7.2f}{90:7.2f} P 43 21 2     8"
    atom = "ATOM      1  CA  ALA A   1      10.000  10.000  10.000  1.00 20.00           C"
    Path("model.pdb").write_text(f"CRYST1{cell}\n{atom}\nEND\n")
    with h5py.File("blank.h5", "w") as file:
        file["entry/data/data"] = np.ones((3, 128, 166), dtype=np.uint16)
    Path("sim.geom").write_text(
        Path("config/detectors/tiny.geom").read_text().replace("clen = 0.06", "clen = 0.05")
    )
    Path("tiny.cell").write_text(
        "CrystFEL unit cell file version 1.0\n\nlattice_type = tetragonal\ncentering = P\n"
        "unique_axis = c\na = 67.288 A\nb = 67.288 A\nc = 106.582 A\n"
        "al = 90 deg\nbe = 90 deg\nga = 90 deg\n"
    )
    main(words("reflections", {"output": "small.mtz", "hkl": "tiny.hkl", "d_min": 8}))


@pytest.fixture
def prepared(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the folder, made the current one."""
    folder = tmp_path / "copy"
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return every file and folder below, hidden ones too, with size and time of files."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        times = (0, 0) if path.is_dir() else (status.st_size, status.st_mtime_ns)
        found[str(path.relative_to(folder))] = times
    return found


@pytest.mark.parametrize("command", GOOD)
def test_the_same_words_work_where_nothing_is_wrong(command: str, prepared: Path) -> None:
    assert main(words(command, {})) == 0


def test_every_command_has_bad_inputs() -> None:
    assert {case.command for case in CASES} == set(COMMANDS)
    assert len({str(case) for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_is_one_line_and_leaves_nothing(
    case: Bad, prepared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case.spoil()
    before = listing(prepared.parent)
    given = words(case.command, case.changes)
    try:
        code = main(given)
    except SystemExit as left:
        code = int(left.code or 0)
    said = capfd.readouterr().err
    assert code in (1, 2), said
    assert said.count("\n") == 1 and said.endswith("\n"), said
    assert said.startswith(f"spotmill {case.command}: error: ")
    assert re.search(case.says, said), said
    assert re.search("; |must|should|needs", said), f"names no remedy: {said}"
    assert said.rstrip("\n").isprintable() and len(said) < 1000
    assert listing(prepared.parent) == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "required: COMMAND; see spotmill --help"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["simulate"], "--detector"),
        (["water", "--colour", "red"], "required: --detector"),
    ],
)
def test_wrong_words_are_one_line_too(
    given: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(given)
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.count("\n") == 1 and says in said
