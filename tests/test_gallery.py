"""The gallery of frames, on a small production: what is chosen, and that counts are the shards'."""

import base64
import io
import json
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import copy_tiny, simulate_words, water_words
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spotmill.cli import main
from spotmill.config import FIRST_EMPTY
from spotmill.formats.frames import Shard
from spotmill.formats.tables import MANIFEST, SPOTS, read_table
from spotmill.gallery.encode import decode, decode_counts, decode_mask, encode, encode_mask
from spotmill.overlays.opener import open_overlay
from spotmill.physics.geometry import Panel, positions

DATASETS = {"A": 6000, "B": 8000, "C": 7000}
MOVED = (
    "photon_energy: {uniform: [-300, 300]}\nclen: {uniform: [-0.005, 0.005]}\n"
    "beam_x: {uniform: [-0.004, 0.004]}\ntilt_y: {uniform: [-5, 5]}\nflux: 0.5\ndead_modules: 1\n"
)
DIM = 0.1
GEOMETRIES = tuple(f"{name}.geom" for name in DATASETS)


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def make_dataset(name: str, energy: int) -> None:
    """Make frames of one dataset: A as files, B drawn when read, C with conditions of its own."""
    given = ["--randomise", "moved.yaml"] if name == "C" else []
    own = {"randomise": "moved.yaml"} if name == "C" else {}
    run(*simulate_words(f"{name}/p00000", dataset=name, photon_energy=energy, **own))
    run(*water_words(f"water/{name}.h5", dataset=name, photon_energy=energy))
    pattern, empty = (f"overlay/{name}/{shard}.h5" for shard in ("p00000", "e00000"))
    overlay = ["overlay", "--water", f"water/{name}.h5", "--seed", 7, *given]
    overlay += ["--virtual"] * (name == "B")
    run(*overlay, "--peaks", f"peaks/{name}/p00000.h5", "--output", pattern)
    run(*overlay, "--first", FIRST_EMPTY, "--count", 6, "--output", empty)
    run("labels", "--peaks", f"peaks/{name}/p00000.h5", "--output", f"labels/{name}/p00000.h5")
    words = ["--peaks", f"peaks/{name}/p00000.h5", "--labels", f"labels/{name}/p00000.h5"]
    words += ["--truth", f"truth/{name}/p00000.parquet", "--output", f"manifest/{name}.parquet"]
    run("manifest", "--overlay", pattern, empty, *words)
    geometry = ["--detector", "config/detectors/tiny.geom", "--beam", "config/beams/weak.yaml"]
    geometry += ["--photon-energy", energy, "--clen", 0.05, "--dataset", name, *given]
    run("geometry", *geometry, "--output", f"{name}.geom")


def write_answers(task: str, summary: dict, predictions: dict) -> None:
    folder = Path(f"evaluation/{task}")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"task": task, "target": "hit", **summary})
    (folder / "evaluation.json").write_text(text)
    pd.DataFrame(predictions).to_parquet(folder / "predictions.parquet")


def of_test(split: pd.DataFrame) -> pd.DataFrame:
    return split[split["split"] == "test"].reset_index(drop=True)


def make_answers() -> None:
    """Write what four tasks said of the test frames of A and B."""
    words_of_task = Path("config/tasks/hit.yaml").read_text()
    for task in ("hit", "low", "energy", "peaks"):
        manifests = ["manifest/A.parquet", "manifest/B.parquet"]
        Path(f"config/tasks/{task}.yaml").write_text(words_of_task)
        run("split", "--task", f"config/tasks/{task}.yaml", "--manifest", *manifests,
            "--output", f"splits/{task}.parquet")  # fmt: skip
    rows = of_test(pd.read_parquet("splits/hit.parquet"))
    truth = np.where(rows["is_hit"], "hit", "no hit")
    wrong = rows.index == 1
    said = np.where(wrong, np.where(truth == "hit", "no hit", "hit"), truth)
    score = np.where(said == "hit", 0.9, 0.1)
    columns = {"dataset": rows["dataset"], "index": rows["index"], "truth": truth, "said": said,
               "score_0": 1 - score, "score_1": score}  # fmt: skip
    names = ("dataset", "index", "truth", "said")
    worst = [{name: columns[name][1] for name in names} | {"index": int(rows["index"][1])}]
    classes = {"classes": ["no hit", "hit"], "worst": worst}
    write_answers("hit", classes, columns)
    crystal = rows["kind"] == "crystal"
    dim = {name: np.asarray(values)[crystal] for name, values in columns.items()}
    low = {name: np.concatenate([values, dim[name]]) for name, values in columns.items()}
    low["flux"] = np.concatenate([np.ones(len(rows)), np.full(crystal.sum(), DIM)])
    write_answers("low", classes | {"kind": "flux", "flux": [1.0, DIM]}, low)
    energy = rows["photon_energy"].to_numpy(float)
    values = {"dataset": rows["dataset"], "index": rows["index"], "truth": energy,
              "said": energy + 300, "sigma": np.full(len(rows), 200.0)}  # fmt: skip
    write_answers("energy", {"kind": "values", "unit": "eV", "step": 1000.0, "worst": []}, values)
    found = [one for _, row in rows.iterrows() for one in found_peaks(row)]
    summary = {"kind": "peaks", "min_photons": 5.0, "worst": []}
    write_answers("peaks", summary, pd.DataFrame(found, columns=PEAKS).to_dict("list"))


PEAKS = ("dataset", "index", "fs", "ss", "intensity", "score", "matched")


def found_peaks(row: pd.Series) -> list[tuple]:
    """Return the three strongest spots of a frame as found peaks, and one that is none."""
    if not row["truth"]:
        return []
    spots = pd.read_parquet(row["truth"]).query(f"index == {row['index']} and photons > 0")
    best = spots.sort_values("photons").tail(3)
    found = [(row["dataset"], row["index"], fs, ss, n, 0.9, True)
             for fs, ss, n in best[["fs", "ss", "photons"]].itertuples(index=False)]  # fmt: skip
    return [*found, (row["dataset"], row["index"], 1.5, 1.5, 9.0, 0.6, False)]


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_tiny(tmp_path_factory.mktemp("gallery"))
    here = Path.cwd()
    os.chdir(folder)
    try:
        Path("moved.yaml").write_text(MOVED)
        for name, energy in DATASETS.items():
            make_dataset(name, energy)
        for name, members in {"two": "AB", "all": "ABC"}.items():
            parts = [f"manifest/{member}.parquet" for member in members]
            run("manifest", "--join", *parts, "--output", f"manifest/{name}.parquet")
        make_answers()
        run("map", "--manifest", "manifest/all.parquet", "--geometry", *GEOMETRIES,
            "--output", "map.parquet")  # fmt: skip
        run(*words("gallery"))
    finally:
        os.chdir(here)
    return folder


def words(folder: str, manifest: str = "all", **changes: object) -> list[str]:
    tasks = ("hit", "low", "energy", "peaks")
    found = ["gallery", "--manifest", f"manifest/{manifest}.parquet", "--output", folder]
    found += ["--map", "map.parquet", "--geometry", *GEOMETRIES]
    found += ["--evaluation", *(f"evaluation/{task}" for task in tasks)]
    found += ["--split", *(f"splits/{task}.parquet" for task in tasks)]
    return found + [str(word) for pair in changes.items() for word in (f"--{pair[0]}", pair[1])]


@pytest.fixture(autouse=True)
def there(production: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(production)


def told(path: str | Path) -> dict:
    """Return what a script hands to the page; fail where it does anything else."""
    found = re.fullmatch(r"spotmill\.(frames?)\((.*)\);\n", Path(path).read_text(), re.DOTALL)
    assert found and "</" not in found[2]
    return json.loads(found[2])


def listed(folder: str = "gallery") -> list[dict]:
    return told(f"{folder}/index.js")["frames"]


def manifest() -> pd.DataFrame:
    return read_table("manifest/all.parquet", MANIFEST).to_pandas().set_index(["dataset", "index"])


@given(st.lists(st.integers(0, 2**32 - 1), max_size=300))
@settings(max_examples=40, deadline=None)
def test_numbers_travel_whole(values: list[int]) -> None:
    assert decode(encode(np.array(values, dtype=np.uint64))).tolist() == values


@pytest.mark.parametrize("first", [True, False])
def test_masks_travel_whole(first: bool) -> None:
    live = np.random.default_rng(3).random((7, 9)) < 0.5
    live[0, 0] = first
    assert np.array_equal(decode_mask(encode_mask(live), live.shape), live)
    whole = np.full((3, 4), first)
    assert np.array_equal(decode_mask(encode_mask(whole), whole.shape), whole)


def test_every_count_is_the_shards(production: Path) -> None:
    rows, kinds = manifest(), set()
    for line in listed():
        frame, row = told(f"gallery/{line['file']}"), rows.loc[line["dataset"], line["index"]]
        assert frame["file"] == line["file"]
        shape = tuple(frame["shape"])
        photons, live = decode_counts(frame, shape), decode_mask(frame["mask"], shape)
        with open_overlay(row["overlay"]) as shard:
            stored = np.where(shard.mask, shard.read(int(row["position"])), 0)
            assert not live[~shard.mask].any()
            assert np.array_equal(live, shard.mask) == (line["dataset"] != "C")
        if line["share"] == 1:
            assert np.array_equal(photons, stored)
        else:
            with Shard(row["peaks"]) as shard:
                peaks = shard.read(int(row["position"])).astype(np.int64)
            # Of the crystal's photons a tenth is left, of the background all.
            kept = photons.astype(np.int64) - (stored.astype(np.int64) - peaks)
            assert ((kept >= 0) & (kept <= peaks)).all()
            assert abs(kept.sum() - DIM * peaks.sum()) < 5 * np.sqrt(DIM * peaks.sum())
        kinds.add((line["dataset"], line["crystal"], line["share"]))
    assert {(name, crystal, 1) for name in DATASETS for crystal in (True, False)} <= kinds
    assert {share for *_, share in kinds} == {1, DIM}


def test_a_line_says_what_is_true_and_what_was_said() -> None:
    rows = manifest()
    split = pd.read_parquet("splits/hit.parquet").set_index(["dataset", "index"])["split"]
    for line in listed():
        row = rows.loc[line["dataset"], line["index"]]
        assert line["hit"] == row["is_hit"] and line["crystal"] == (row["kind"] == "crystal")
        assert (line["n_spots"], line["photons"]) == (row["n_spots"], row["photons"])
        side = split.get((line["dataset"], line["index"]), "")
        assert line["split"] == side
        tasks = [one["task"] for one in line["told"]]
        full = ["hit", "low", "energy", "peaks"] if line["share"] == 1 else ["low"]
        assert tasks == (full if side == "test" else [])
        assert line["wrong"] is (None if not tasks else not all(x["right"] for x in line["told"]))
    said = {one["task"]: one for line in listed() for one in line["told"] if line["share"] == 1}
    assert said["energy"]["right"] and said["energy"]["sigma"] == 200.0
    assert said["peaks"].keys() == {"task", "found", "matched", "true", "right"}


def test_wrong_answers_come_first() -> None:
    worst = json.loads(Path("evaluation/hit/evaluation.json").read_text())["worst"][0]
    run(*words("first", frames=1))
    (line,) = listed("first")
    assert (line["dataset"], line["index"]) == (worst["dataset"], worst["index"])
    assert line["wrong"] is True
    assert [one["said"] for one in line["told"] if one["task"] == "hit"] == [worst["said"]]


def test_odd_frames_come_early() -> None:
    rows = pd.read_parquet("map.parquet")
    odd = rows.sort_values("oddness").iloc[-3:]
    rows["odd"] = rows.index.isin(odd.index)
    table = pq.read_table("map.parquet")
    place = table.column_names.index("odd")
    table = table.set_column(place, table.schema.field(place), pa.array(rows["odd"]))
    pq.write_table(table, "odd.parquet")
    # In turn: an answer that was wrong, an odd frame, a typical one.
    for count, of in ((2, 1), (9, 3)):
        run(*words("odd", frames=count, map="odd.parquet"))
        held = {(line["dataset"], line["index"]) for line in listed("odd")}
        oddest = odd.iloc[::-1][["dataset", "index"]].head(of)
        assert set(oddest.itertuples(index=False, name=None)) <= held


def test_places_are_those_of_the_true_spots() -> None:
    """Resolution from the panels as told, against that of the reciprocal lattice."""
    seen = 0
    for line in listed():
        frame = told(f"gallery/{line['file']}")
        spots = frame["spots"]
        for fs, ss, d, photons in zip(
            *(spots[name] for name in ("fs", "ss", "d", "photons")), strict=True
        ):
            assert photons > 0
            # The middle of a spot may lie in a gap.
            panel = next((one for one in frame["panels"] if holds(one["bounds"], fs, ss)), None)
            if panel is None:
                continue
            left, right, top, bottom = panel["bounds"]
            vectors = (np.array(panel[name]) for name in ("corner", "fs", "ss"))
            x, y, z = positions(Panel("p", left, right, top, bottom, *vectors), fs, ss)
            angle = np.arctan2(np.hypot(x, y), z)
            assert frame["wavelength"] / (2 * np.sin(angle / 2)) == pytest.approx(d, rel=0.03)
            seen += line["dataset"] == "C"
        if line["dataset"] == "C":
            assert line["clen"] != 0.05 and 6700 <= line["photon_energy"] <= 7300
            assert line["flux"] == 0.5
    assert seen > 10


def holds(bounds: list[int], fs: float, ss: float) -> bool:
    return bounds[0] <= fs < bounds[1] + 1 and bounds[2] <= ss < bounds[3] + 1


def test_true_spots_and_found_peaks_are_all_there() -> None:
    rows = manifest()
    lines = [line for line in listed() if line["crystal"]]
    for line in lines:
        frame, row = told(f"gallery/{line['file']}"), rows.loc[line["dataset"], line["index"]]
        truth = read_table(row["truth"], SPOTS).to_pandas()
        truth = truth[(truth["index"] == line["index"]) & (truth["photons"] > 0)]
        assert sorted(frame["spots"]["photons"]) == sorted(truth["photons"].round(1))
        hkl = set(zip(*frame["spots"]["hkl"], strict=True))
        assert hkl == set(truth[["h", "k", "l"]].itertuples(index=False, name=None))
        asked = line["split"] == "test" and line["share"] == 1
        assert len(frame["peaks"]) == asked
        for own in frame["peaks"]:
            assert own["matched"].count(False) == 1
            of = next(one for one in line["told"] if one["task"] == "peaks")
            assert len(own["fs"]) == of["found"] == of["matched"] + 1


def test_small_pictures_keep_single_pixels() -> None:
    lines = [line for line in listed() if line["dataset"] == "A" and line["share"] == 1]
    for line in lines:
        frame = told(f"gallery/{line['file']}")
        photons = decode_counts(frame, tuple(frame["shape"]))
        kind, _, data = line["thumbnail"].partition("base64,")
        assert kind == "data:image/png;"
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        # Here a pixel is one of the picture: 8 is a gap, 7 is 100 photons and more.
        assert picture.shape == photons.shape
        assert ((picture == 7) == (photons >= 100)).all()
        live = decode_mask(frame["mask"], tuple(frame["shape"]))
        assert ((picture == 0) == ((photons == 0) & live)).all()


def test_a_dataset_that_is_added_brings_in_no_other_frame() -> None:
    chosen = {}
    for name, members in {"two": "AB", "all": "ABC"}.items():
        geometries = [f"{member}.geom" for member in members]
        run("map", "--manifest", f"manifest/{name}.parquet", "--geometry", *geometries,
            "--output", "own.parquet")  # fmt: skip
        run(*words(f"kept_{name}", name, frames=14, map="own.parquet"))
        chosen[name] = {
            (one["dataset"], one["index"], one["share"]) for one in listed(f"kept_{name}")
        }
    before, after = chosen["two"], chosen["all"]
    assert {one[0] for one in after} == set(DATASETS)
    assert {one for one in after if one[0] != "C"} < before


def test_the_budget_holds() -> None:
    whole = sum(path.stat().st_size for path in Path("gallery").glob("[ABC]_*.js"))
    budget = whole // 3
    run(*words("small", bytes=budget))
    lines = listed("small")
    assert 2 < len(lines) < len(listed())
    frames = sum((Path("small") / line["file"]).stat().st_size for line in lines)
    assert frames + len(json.dumps(lines, separators=(",", ":"))) <= budget + 10 * len(lines)
    run(*words("few", frames=5))
    assert len(listed("few")) == 5


def test_the_same_bytes_twice_and_nothing_of_before() -> None:
    run(*words("again", frames=5))
    before = {path.name for path in Path("again").iterdir()}
    run(*words("again"))
    after = {path.name: path.read_bytes() for path in Path("again").iterdir()}
    assert after == {path.name: path.read_bytes() for path in Path("gallery").iterdir()}
    run(*words("again", frames=5))
    assert {path.name for path in Path("again").iterdir()} == before
    assert all(str(Path.cwd()).encode() not in text for text in after.values())


def test_the_grid_without_scripts_shows_a_dozen() -> None:
    page = Path("gallery/grid.html").read_text()
    assert "<script" not in page and page.count("<img ") == page.count("<figcaption>") == 12
    assert page.count('alt="') == 12 and not re.search(r"https?://", page)


def test_without_tasks() -> None:
    run("gallery", "--manifest", "manifest/two.parquet", "--geometry", "A.geom", "B.geom",
        "--output", "untold")  # fmt: skip
    lines = listed("untold")
    assert len(lines) == 36
    assert all(line["wrong"] is None and line["split"] == "" for line in lines)


def spoil_prediction() -> None:
    path = Path("evaluation/hit/predictions.parquet")
    rows = pd.read_parquet(path)
    rows["said"] = "perhaps"
    rows.to_parquet(path)


def spoil_worst() -> None:
    path = Path("evaluation/hit/evaluation.json")
    path.write_text(re.sub(r'"index": \d+', '"index": 4711', path.read_text()))


def spoil_shard() -> None:
    with h5py.File("overlay/A/p00000.h5", "r+") as file:
        file["/entry/frames/index"][...] += 100


BAD = {
    "no evaluation": (lambda: Path("evaluation/hit/evaluation.json").unlink(), "no such file"),
    "no predictions": (
        lambda: Path("evaluation/hit/predictions.parquet").unlink(),
        "hit/predictions.parquet: no such table",
    ),
    "no split": (lambda: Path("splits/hit.parquet").unlink(), "splits/hit.parquet: no such table"),
    "half a summary": (
        lambda: Path("evaluation/hit/evaluation.json").write_text('{"task": "hit"}'),
        "evaluation/hit/evaluation.json: target: is required",
    ),
    "another class": (spoil_prediction, "said: 'perhaps' is no class of its task"),
    "unknown frame": (spoil_worst, "manifest: has no frame 4711 of dataset"),
    "no truth": (
        lambda: Path("truth/A/p00000.parquet").unlink(),
        "A/p00000.parquet: no such table",
    ),
    "no shard": (lambda: Path("overlay/A/p00000.h5").unlink(), "A/p00000.h5: no such shard"),
    "other frames": (spoil_shard, "remake the manifest"),
    "no geometry": (lambda: Path("A.geom").unlink(), "A.geom: no such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    name: str,
    production: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy_project(production, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    spoil, says = BAD[name]
    spoil()
    assert main(words("spoilt")) == 1
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and not Path("spoilt").exists()


def copy_project(source: Path, target: Path) -> None:
    import shutil

    target.mkdir()
    for name in ("manifest", "evaluation", "splits", "overlay", "water", "peaks", "truth"):
        shutil.copytree(source / name, target / name)
    for path in (*source.glob("*.geom"), source / "map.parquet"):
        shutil.copy(path, target)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bytes": 2000}, "hold not even one frame"),
        ({"bytes": 10}, "--bytes: 10 is not between"),
        ({"frames": 0}, "--frames: 0 is not between"),
        ({"output": "A.geom"}, "A.geom is named by --geometry too; choose another name"),
    ],
)
def test_bad_arguments(changes: dict, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("refused", **changes)) == 1
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and not Path("refused").exists()


def test_a_dataset_without_geometry_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["gallery", "--manifest", "manifest/two.parquet", "--geometry", "A.geom"]
    assert main([*given, "--output", "refused"]) == 1
    assert "--geometry: dataset 'B' has none; give B.geom" in capsys.readouterr().err
    run("gallery", "--manifest", "manifest/two.parquet", "--geometry", "A.geom", "B.geom",
        "--output", "told", "--frames", "3")  # fmt: skip
    given += ["B.geom", "--evaluation", "evaluation/hit", "--output", "refused"]
    assert main(given) == 1
    assert "task 'hit' has no split; name hit.parquet with --split" in capsys.readouterr().err
