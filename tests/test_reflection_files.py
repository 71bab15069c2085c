"""MTZ, CrystFEL lists and cells, structures, and the command that converts them."""

import gzip
import shutil
from pathlib import Path

import gemmi
import numpy as np
import pytest
from conftest import ROOT

from spotmill.cli import main
from spotmill.concepts import Crystal
from spotmill.errors import SpotmillError
from spotmill.formats.cell import read_cell, write_cell
from spotmill.formats.reflections import read_reflections, write_hkl, write_mtz
from spotmill.formats.structures import read_structure
from spotmill.physics.reflections import Reflections, expand_to_hemisphere, merge

GROUPS = {  # space group: cell, its .hkl symmetry, lattice, centring, unique axis
    "C 1": ((20, 21, 22, 80, 95, 100), "-1", "triclinic", "C", None),
    "P 1 21 1": ((20, 21, 22, 90, 95, 90), "2/m_uab", "monoclinic", "P", "b"),
    "A 1 1 2": ((20, 21, 22, 90, 90, 95), "2/m", "monoclinic", "A", "c"),
    "P 21 1 1": ((20, 21, 22, 95, 90, 90), "2/m_uaa", "monoclinic", "P", "a"),
    "I 21 21 21": ((20, 21, 22, 90, 90, 90), "mmm", "orthorhombic", "I", None),
    "P 43": ((20, 20, 22, 90, 90, 90), "4/m", "tetragonal", "P", "c"),
    "P 43 21 2": ((20, 20, 22, 90, 90, 90), "4/mmm", "tetragonal", "P", "c"),
    "P 31": ((20, 20, 22, 90, 90, 120), "-3_H", "hexagonal", "P", "c"),
    "P 31 1 2": ((20, 20, 22, 90, 90, 120), "-31m_H", "hexagonal", "P", "c"),
    "R 3 2:H": ((20, 20, 22, 90, 90, 120), "-3m1_H", "hexagonal", "H", "c"),
    "R 3:R": ((20, 20, 20, 80, 80, 80), "-3_R", "rhombohedral", "R", None),
    "P 61 2 2": ((20, 20, 22, 90, 90, 120), "6/mmm", "hexagonal", "P", "c"),
    "F 2 3": ((20, 20, 20, 90, 90, 90), "m-3", "cubic", "F", None),
    "I 4 3 2": ((20, 20, 20, 90, 90, 90), "m-3m", "cubic", "I", None),
}


def some_reflections(name: str) -> Reflections:
    cell = tuple(map(float, GROUPS[name][0]))
    group = gemmi.SpaceGroup(name)
    hkl = gemmi.make_miller_array(gemmi.UnitCell(*cell), group, 3.0)
    intensity = np.random.default_rng(1).exponential(1e4, len(hkl)).astype(np.float32)
    return merge(cell, group, hkl, intensity.astype(np.float64), 3.0)


def assert_same(first: Reflections, second: Reflections) -> None:
    assert np.array_equal(first.hkl, second.hkl)
    assert np.allclose(first.intensity, second.intensity, rtol=1e-7)
    assert first.cell == pytest.approx(second.cell, abs=1e-4)


@pytest.mark.parametrize("name", GROUPS)
def test_mtz_and_hkl_round_trip(tmp_path: Path, name: str) -> None:
    reflections = some_reflections(name)
    write_mtz(tmp_path / "a.mtz", reflections, ["made by a test"])
    write_hkl(tmp_path / "a.hkl", reflections)
    write_cell(tmp_path / "a.cell", reflections)
    from_mtz = read_reflections(tmp_path / "a.mtz", tmp_path / "a.cell")
    assert_same(from_mtz, reflections)
    assert (from_mtz.space_group, from_mtz.d_min) == (name, 3.0)
    from_hkl = read_reflections(
        tmp_path / "a.hkl", tmp_path / "a.cell", 3.0, space_group=name.partition(":")[0]
    )
    assert_same(from_hkl, reflections)
    assert from_hkl.space_group == name
    described = read_cell(tmp_path / "a.cell")
    assert (described.lattice_type, described.centering, described.unique_axis) == GROUPS[name][2:]
    symmetry = (tmp_path / "a.hkl").read_text().splitlines()[1]
    assert symmetry == f"Symmetry: {GROUPS[name][1]}"


@pytest.mark.parametrize("name", GROUPS)
def test_hkl_without_space_group_means_the_same_reflections(tmp_path: Path, name: str) -> None:
    reflections = some_reflections(name)
    write_hkl(tmp_path / "a.hkl", reflections)
    write_cell(tmp_path / "a.cell", reflections)
    plain = read_reflections(tmp_path / "a.hkl", tmp_path / "a.cell")
    for ours, theirs in zip(
        expand_to_hemisphere(plain), expand_to_hemisphere(reflections), strict=True
    ):
        assert np.allclose(ours, theirs, rtol=1e-7)


def test_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    reflections = some_reflections("P 43 21 2")
    for name in ("a", "b"):
        write_mtz(tmp_path / f"{name}.mtz", reflections, ["made by a test"])
        write_hkl(tmp_path / f"{name}.hkl", reflections)
    assert (tmp_path / "a.mtz").read_bytes() == (tmp_path / "b.mtz").read_bytes()
    assert (tmp_path / "a.hkl").read_bytes() == (tmp_path / "b.hkl").read_bytes()


def test_reference_hkl_is_read(shared) -> None:
    folder = shared / "reference" / "pattern_sim"
    reflections = read_reflections(
        folder / "1ic6_solvent.hkl.gz", folder / "1IC6.cell", 1.6, "P 43 21 2"
    )
    assert len(reflections.hkl) == 33043
    shipped = read_reflections(ROOT / "resources" / "1ic6.mtz")
    assert np.array_equal(shipped.hkl, reflections.hkl)
    assert np.corrcoef(shipped.intensity, reflections.intensity)[0, 1] > 0.999999


def test_amplitudes_are_squared(tmp_path: Path) -> None:
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 1")
    mtz.set_cell_for_all(gemmi.UnitCell(20, 20, 20, 90, 90, 90))
    mtz.add_dataset("test")
    mtz.add_column("FP", "F")
    mtz.set_data(np.array([[1, 2, 3, 4.0]], dtype=np.float32))
    mtz.write_to_file(str(tmp_path / "f.mtz"))
    assert read_reflections(tmp_path / "f.mtz").intensity.tolist() == [16.0]


def test_mtz_without_intensities_is_refused(tmp_path: Path) -> None:
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 1")
    mtz.set_cell_for_all(gemmi.UnitCell(20, 20, 20, 90, 90, 90))
    mtz.add_dataset("test")
    mtz.add_column("PHI", "P")
    mtz.set_data(np.array([[1, 2, 3, 4.0]], dtype=np.float32))
    mtz.write_to_file(str(tmp_path / "phi.mtz"))
    with pytest.raises(SpotmillError, match=r"phi.mtz: has neither intensities \(type J\)"):
        read_reflections(tmp_path / "phi.mtz")


def test_unmerged_and_damaged_mtz_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mtz"
    write_mtz(path, some_reflections("P 43"), [])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpotmillError, match=r"a.mtz: is not a whole MTZ file"):
        read_reflections(path)
    path.write_text("hello")
    with pytest.raises(SpotmillError, match=r"a.mtz: is not an MTZ file"):
        read_reflections(path)
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 1 2 1")
    mtz.set_cell_for_all(gemmi.UnitCell(20, 21, 20, 90, 95, 90))
    mtz.add_dataset("test")
    mtz.add_column("I", "J")
    mtz.set_data(np.array([[1, 2, 3, 4.0], [-1, 2, -3, 5.0]], dtype=np.float32))
    mtz.write_to_file(str(path))
    with pytest.raises(SpotmillError, match=r"a.mtz: column I: lists 1 reflections more than once"):
        read_reflections(path)


CELL = """CrystFEL unit cell file version 1.0
; a comment
lattice_type = monoclinic
centering = P
unique_axis = b
a = 2.0 nm
b = 21.0 A
c = 22.0 A
al = 90 deg
be = 95 deg
ga = 90 deg
"""

HKL = """CrystFEL reflection list version 2.0
Symmetry: 2/m_uab
   h    k    l          I    phase   sigma(I)   nmeas
   1    2    3       4.00        -       0.00       1
   1    2    4       5.00        -       0.00       1
End of reflections
"""


def read_texts(tmp_path: Path, hkl: str = HKL, cell: str = CELL, **options) -> Reflections:
    (tmp_path / "a.hkl").write_text(hkl)
    (tmp_path / "a.cell").write_text(cell)
    return read_reflections(tmp_path / "a.hkl", tmp_path / "a.cell", **options)


def test_hand_written_files_are_read(tmp_path: Path) -> None:
    reflections = read_texts(tmp_path)
    assert reflections.cell == (20.0, 21.0, 22.0, 90.0, 95.0, 90.0)
    assert reflections.space_group == "P 1 2/m 1"
    assert reflections.intensity.tolist() == [4.0, 5.0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version 2.0", "version 1.0", r"a.hkl: line 1: must be"),
        ("Symmetry: 2/m_uab", "Symmetry: 5/m", r"a.hkl: line 2: Symmetry: '5/m' is not"),
        ("Symmetry: 2/m_uab", "Symmetry: 2/m", r"Symmetry 2/m, .* monoclinic .* unique axis b"),
        ("Symmetry: 2/m_uab", "Symmetry: mmm", r"a.hkl has Symmetry mmm, but .*a.cell"),
        ("   h    k    l", "   k    h    l", r"a.hkl: line 3: must name the columns"),
        ("   1    2    4", "   1    2  4.5", r"a.hkl: line 5: h, k, l must be whole"),
        ("   1    2    4", "   1    2", r"a.hkl: line 5: has 6 columns instead of 7"),
        ("   1    2    4", "  -1    2   -3", r"a.hkl: line 5: reflection -1 2 -3 .* line 4"),
        ("   1    2    4", "   1    2 9999", r"a.hkl: line 5: index beyond"),
        ("5.00", "-5.00", r"a.hkl: line 5: reflection 1 2 4 has intensity -5.00"),
        ("5.00", "nan", r"a.hkl: line 5: reflection 1 2 4 has intensity nan"),
        ("End of reflections\n", "", r"a.hkl: ends without 'End of reflections'"),
    ],
)
def test_wrong_hkl_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpotmillError, match=message):
        read_texts(tmp_path, hkl=HKL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version 1.0", "version 9", r"a.cell: line 1: must be"),
        ("centering = P", "centring = P", r"a.cell: line 4: centring: unknown parameter"),
        ("centering = P", "centering = X", r"a.cell: line 4: centering: 'X' is not one of"),
        ("centering = P\n", "", r"a.cell: centering: is required"),
        ("unique_axis = b\n", "", r"a.cell: unique_axis: is required for a monoclinic"),
        ("b = 21.0 A", "b = 21.0", r"a.cell: line 7: b: needs a number and a unit"),
        ("b = 21.0 A", "b = -21.0 A", r"a.cell: line 7: b: .* is not between 0"),
        ("b = 21.0 A", "b = x A", r"a.cell: line 7: b: 'x' is not a number"),
        ("b = 21.0 A", "b : 21.0 A", r"a.cell: line 7: is not of the form"),
        ("b = 21.0 A", "a = 21.0 A", r"a.cell: line 7: a: is given twice"),
        ("al = 90 deg", "al = 80 deg", r"a.cell: cell .* does not have the symmetry"),
        ("ga = 90 deg\n", "", r"a.cell: ga: is required"),
    ],
)
def test_wrong_cell_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpotmillError, match=message):
        read_texts(tmp_path, cell=CELL.replace(old, new, 1))


def test_list_and_space_group_must_agree(tmp_path: Path) -> None:
    with pytest.raises(SpotmillError, match=r"centering P, space group C 1 2 1 has C"):
        read_texts(tmp_path, space_group="C 1 2 1")
    with pytest.raises(SpotmillError, match=r"Symmetry 2/m_uab, which space group P 1"):
        read_texts(tmp_path, space_group="P 1")
    with pytest.raises(SpotmillError, match=r"name its CrystFEL \.cell file"):
        read_reflections(tmp_path / "a.hkl")


def test_structure_files_are_read_in_every_form(tmp_path: Path, shared) -> None:
    structure = read_structure(shared / "structures" / "1yjp.pdb")
    structure.make_mmcif_document().write_file(str(tmp_path / "a.cif"))
    shutil.copy(shared / "structures" / "1yjp.pdb", tmp_path / "a.ent")
    for name in ("a.cif", "a.ent"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    for name in ("a.cif", "a.ent", "a.cif.gz", "a.ent.gz"):
        again = read_structure(tmp_path / name)
        assert again.cell.parameters == structure.cell.parameters
        assert again[0].count_atom_sites() == structure[0].count_atom_sites()


CRYST = "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1           1\n"
ATOM = "ATOM      1  CA  ALA A   1       5.000   5.000   5.000  1.00 20.00           C\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.pdb", "<html><body>not here</body></html>\n", "a.pdb: has no atoms"),
        ("a.pdb", CRYST, "a.pdb: has no atoms"),
        ("a.pdb", ATOM, "a.pdb: has no unit cell"),
        ("a.pdb", CRYST.replace("20.000", " 1.000") + ATOM, "a.pdb: has no unit cell"),
        ("a.pdb", CRYST.replace("P 1 ", "P 7 ") + ATOM, "a.pdb: space group 'P 7' is unknown"),
        ("a.pdb", CRYST.replace("P 1 ", "    ") + ATOM, "a.pdb: has no space group"),
        (
            "a.pdb",
            CRYST.replace("20.000", "21.000", 1).replace("P 1  ", "P 2 3") + ATOM,
            "a.pdb: cell 21 20 20 Å, 90 90 90° does not have the symmetry of space group P 2 3",
        ),
        ("a.cif", "<html>\n", "a.cif: cannot be read"),
        ("a.cif", "data_x\n_cell.length_a 3\n", "a.cif: has no atoms"),
        ("a.xyz", ATOM, "a.xyz: is not a structure by its name"),
        ("a.pdb", None, "a.pdb: no such file"),
        ("a.mtz", None, "a.mtz: no such file"),
        ("a.hkl", HKL, "a.hkl: does not say its unit cell"),
        ("pdb:1IC6X", None, "pdb:1IC6X: is not an entry"),
    ],
)
def test_command_refuses_in_one_line(tmp_path, monkeypatch, capsys, name, text, message) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).write_text(text)
    before = sorted(tmp_path.iterdir())
    assert main(["reflections", name, "--d-min", "3", "--output", "out.mtz"]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def run(*words: object) -> int:
    return main(["reflections", *map(str, words)])


def test_command_makes_the_shipped_list(tmp_path: Path, shared) -> None:
    made = tmp_path / "new" / "1ic6.mtz"
    pdb = shared / "structures" / "1ic6.pdb"
    crystal = ROOT / "config" / "crystals" / "proteinase_k.yaml"
    hkl, cell = tmp_path / "a.hkl", tmp_path / "a.cell"
    assert (
        run(pdb, "--d-min", 1.6, "--output", made, "--crystal", crystal)
        == run(made, "--output", tmp_path / "b.mtz", "--hkl", hkl, "--cell-output", cell)
        == run(hkl, "--cell-file", cell, "--crystal", crystal, "--output", tmp_path / "c.mtz")
        == 0
    )
    shipped = read_reflections(ROOT / "resources" / "1ic6.mtz")
    for name in ("new/1ic6.mtz", "b.mtz", "c.mtz"):
        again = read_reflections(tmp_path / name)
        assert_same(again, shipped)
        assert (again.space_group, again.d_min) == ("P 43 21 2", 1.6)


def test_command_checks_the_crystal_and_the_limit(tmp_path: Path, capsys) -> None:
    shipped = ROOT / "resources" / "1ic6.mtz"
    other = tmp_path / "other.yaml"
    other.write_text(
        "name: PYP\nstructure: x.mtz\nsize: 1.0e-5\ncell: [66.9, 66.9, 40.8, 90, 90, 120]\n"
    )
    out = tmp_path / "out.mtz"
    assert run(shipped, "--crystal", other, "--output", out) == 1
    error = capsys.readouterr().err
    assert "67.288" in error and "66.9" in error and "other.yaml" in error
    assert "1ic6.mtz" in error and error.count("\n") == 1
    assert run(shipped, "--d-min", 1.2, "--output", out) == 1
    error = capsys.readouterr().err
    assert "d_min 1.2 Å asked for, but the list ends at 1.6 Å" in error
    assert run(shipped, "--d-min", "nan", "--output", out) == 1
    assert run(shipped, "--output", tmp_path / "out.txt") == 1
    assert run("--output", out) == 1
    assert list(tmp_path.iterdir()) == [other]
    assert run(shipped, "--d-min", 3, "--output", out) == 0
    assert 0 < len(read_reflections(out).hkl) < 33043 / 5


def test_shipped_crystal_file_agrees_with_its_list() -> None:
    crystal = Crystal.read(ROOT / "config" / "crystals" / "proteinase_k.yaml")
    shipped = read_reflections(ROOT / crystal.structure)
    assert shipped.cell == crystal.cell and shipped.space_group == crystal.space_group
    assert shipped.d_min == crystal.d_min
    assert (ROOT / crystal.structure).stat().st_size < 1e6
