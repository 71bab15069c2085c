"""Structure factors and symmetry, against direct summation written out here and gemmi's."""

import gzip

import gemmi
import numpy as np
import pytest
from conftest import ROOT

from spotmill.errors import SpotmillError
from spotmill.formats.mtz import read_mtz
from spotmill.formats.point_groups import laue_symbol, point_group_operations
from spotmill.formats.structures import read_structure
from spotmill.physics import structure_factors
from spotmill.physics.reflections import (
    Reflections,
    check_same_crystal,
    expand_to_hemisphere,
    merge,
    reciprocal_basis,
    resolutions,
    truncate,
)
from spotmill.physics.structure_factors import from_structure

SETTINGS = list(gemmi.spacegroup_table())
ATOMS = [  # element, fractional position, B (Å^2), occupancy
    ("C", (0.11, 0.23, 0.37), 22.0, 1.0),
    ("N", (0.31, 0.07, 0.19), 25.0, 0.7),
    ("S", (0.43, 0.41, 0.05), 30.0, 1.0),
]


def cell_for(group: gemmi.SpaceGroup) -> tuple[float, ...]:
    """Return a cell that the space group's setting allows, nothing more symmetric."""
    a, b, c = 9.0, 10.3, 11.7
    system = group.crystal_system_str()
    if system == "triclinic":
        return (a, b, c, 81.0, 97.0, 104.0)
    if system == "monoclinic":
        angles = [90.0, 90.0, 90.0]
        angles["abc".index(group.monoclinic_unique_axis())] = 101.0
        return (a, b, c, *angles)
    if system == "orthorhombic":
        return (a, b, c, 90.0, 90.0, 90.0)
    if system == "tetragonal":
        return (a, a, c, 90.0, 90.0, 90.0)
    if system == "cubic":
        return (b, b, b, 90.0, 90.0, 90.0)
    if group.ext == "R":
        return (a, a, a, 82.0, 82.0, 82.0)
    return (a, a, c, 90.0, 90.0, 120.0)


def small_structure(group: gemmi.SpaceGroup) -> gemmi.Structure:
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(*cell_for(group))
    structure.spacegroup_hm = group.xhm()
    residue = gemmi.Residue()
    residue.name = "UNL"
    for element, position, b_iso, occupancy in ATOMS:
        atom = gemmi.Atom()
        atom.name = element
        atom.element = gemmi.Element(element)
        atom.pos = structure.cell.orthogonalize(gemmi.Fractional(*position))
        atom.b_iso, atom.occ = b_iso, occupancy
        residue.add_atom(atom)
    chain = gemmi.Chain("A")
    chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_cell_images()
    return structure


def direct_summation(group: gemmi.SpaceGroup, hkl: np.ndarray) -> np.ndarray:
    """Return F [n] of ATOMS under every operation of the group, term by term."""
    s2 = np.sum((hkl @ reciprocal_basis(cell_for(group))) ** 2, axis=1)
    total = np.zeros(len(hkl), dtype=complex)
    for element, position, b_iso, occupancy in ATOMS:
        table = gemmi.Element(element).it92
        form = table.c + sum(a * np.exp(-b * s2 / 4) for a, b in zip(table.a, table.b, strict=True))
        for op in group.operations():
            image = np.array(op.apply_to_xyz(list(position)))
            total += occupancy * form * np.exp(-b_iso * s2 / 4 + 2j * np.pi * (hkl @ image))
    return total


def hemisphere(cell: tuple[float, ...], d_min: float) -> np.ndarray:
    """Return every hkl [n, 3] to d_min, one of each Friedel pair, by trying all."""
    limit = gemmi.UnitCell(*cell).get_hkl_limits(d_min)
    axes = [np.arange(-m, m + 1) for m in limit]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    h, k, l = hkl.T  # noqa: E741
    hkl = hkl[(h > 0) | ((h == 0) & ((k > 0) | ((k == 0) & (l > 0))))]
    return hkl[resolutions(cell, hkl) >= d_min]


@pytest.fixture
def no_solvent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure_factors, "K_SOL", 0.0)


def test_every_setting_agrees_with_direct_summation(no_solvent: None) -> None:
    # The whole hemisphere is compared, so this also proves the asymmetric unit, the systematic
    # absences (whose direct sum is 0) and the expansion, in all 230 groups and 564 settings.
    assert {group.number for group in SETTINGS} == set(range(1, 231))
    d_min, wrong = 2.6, []
    for group in SETTINGS:
        reflections = from_structure(small_structure(group), d_min)
        hkl = hemisphere(cell_for(group), d_min)
        expected = np.abs(direct_summation(group, hkl)) ** 2
        equivalents, intensity = expand_to_hemisphere(reflections)
        found = dict(zip(map(tuple, equivalents.tolist()), intensity, strict=True))
        got = np.array([found.pop(tuple(index), 0.0) for index in hkl.tolist()])
        error = np.abs(np.sqrt(got) - np.sqrt(expected)).max() / np.sqrt(expected).mean()
        if found or not error < 2e-3 or reflections.space_group != group.xhm():
            wrong.append((group.xhm(), len(found), error))
    assert wrong == []


def test_lists_hold_no_absent_reflection_and_are_asymmetric(no_solvent: None) -> None:
    for group in SETTINGS[::7]:
        reflections = from_structure(small_structure(group), 3.0)
        asu = gemmi.ReciprocalAsu(group)
        assert reflections.hkl.any(axis=1).all()
        assert not group.operations().systematic_absences(reflections.hkl).any(), group.xhm()
        assert all(asu.is_in(index) for index in reflections.hkl.tolist()), group.xhm()
        expected = gemmi.make_miller_array(gemmi.UnitCell(*reflections.cell), group, 3.0)
        assert len(reflections.hkl) == len(expected)


@pytest.mark.parametrize("name", ["1ic6.pdb", "1yjp.pdb", "101M.pdb"])
def test_proteins_agree_with_direct_summation(shared, no_solvent: None, name: str) -> None:
    structure = read_structure(shared / "structures" / name)
    reflections = from_structure(structure, 1.8)
    chosen = np.random.default_rng(0).choice(len(reflections.hkl), 40, replace=False)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    direct = np.array(
        [
            abs(calculator.calculate_sf_from_model(structure[0], index))
            for index in reflections.hkl[chosen].tolist()
        ]
    )
    amplitude = np.sqrt(reflections.intensity[chosen])
    assert np.abs(amplitude - direct).sum() / direct.sum() < 1e-4
    assert np.abs(amplitude - direct).max() < 1e-3 * direct.mean()


def test_anisotropic_and_partial_atoms_count(no_solvent: None) -> None:
    group = gemmi.SpaceGroup("P 21 21 21")
    structure = small_structure(group)
    atom = structure[0][0][0][0]
    atom.aniso = gemmi.SMat33f(0.2, 0.4, 0.6, 0.05, 0.0, -0.05)
    atom.b_iso = 0.4 * 8 * np.pi**2
    reflections = from_structure(structure, 2.5)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    direct = np.array(
        [
            abs(calculator.calculate_sf_from_model(structure[0], index))
            for index in reflections.hkl.tolist()
        ]
    )
    assert np.abs(np.sqrt(reflections.intensity) - direct).max() < 2e-3 * direct.mean()


def reference(shared, name: str) -> dict[tuple[int, ...], float]:
    path = shared / "reference" / "pattern_sim" / f"1ic6_{name}.hkl.gz"
    with gzip.open(path, "rt") as handle:
        rows = [line.split() for line in handle]
    return {tuple(map(int, row[:3])): float(row[3]) for row in rows[3:] if len(row) == 7}


@pytest.mark.parametrize("name", ["solvent", "nosolvent"])
def test_1ic6_agrees_with_reference(shared, monkeypatch, name: str) -> None:
    if name == "nosolvent":
        monkeypatch.setattr(structure_factors, "K_SOL", 0.0)
    expected = reference(shared, name)
    reflections = from_structure(read_structure(shared / "structures" / "1ic6.pdb"), 1.6)
    assert {tuple(index) for index in reflections.hkl.tolist()} == set(expected)
    theirs = np.array([expected[tuple(index)] for index in reflections.hkl.tolist()])
    strong = theirs > 1
    assert np.corrcoef(theirs, reflections.intensity)[0, 1] > 0.999999
    assert np.median(reflections.intensity[strong] / theirs[strong]) == pytest.approx(1, abs=1e-4)
    assert np.allclose(reflections.intensity, theirs, rtol=1e-3, atol=50)


def test_shipped_list_is_what_the_command_makes(shared) -> None:
    shipped = read_mtz(ROOT / "resources" / "1ic6.mtz")
    made = from_structure(read_structure(shared / "structures" / "1ic6.pdb"), 1.6)
    assert (shipped.cell, shipped.space_group, shipped.d_min) == (
        (67.288, 67.288, 106.582, 90.0, 90.0, 90.0),
        "P 43 21 2",
        1.6,
    )
    assert np.array_equal(shipped.hkl, made.hkl)
    assert np.allclose(shipped.intensity, made.intensity, rtol=1e-6)


def test_second_shipped_list_is_what_the_command_makes(shared) -> None:
    shipped = read_mtz(ROOT / "resources" / "101m.mtz")
    made = from_structure(read_structure(shared / "structures" / "101M.pdb"), 1.6)
    assert (shipped.cell, shipped.space_group, shipped.d_min) == (
        (91.67, 91.67, 45.97, 90.0, 90.0, 120.0),
        "P 6",
        1.6,
    )
    assert np.array_equal(shipped.hkl, made.hkl)
    assert np.allclose(shipped.intensity, made.intensity, rtol=1e-6)


def test_solvent_does_not_depend_on_d_min(shared) -> None:
    structure = read_structure(shared / "structures" / "1yjp.pdb")
    fine, coarse = from_structure(structure, 1.8), from_structure(structure, 3.0)
    cut = truncate(fine, 3.0)
    assert np.array_equal(cut.hkl, coarse.hkl)
    assert np.abs(np.sqrt(cut.intensity) - np.sqrt(coarse.intensity)).max() < 0.05


def test_solvent_weakens_low_resolution_alone(shared, monkeypatch) -> None:
    structure = read_structure(shared / "structures" / "2LYZ.pdb")
    wet = from_structure(structure, 2.0)
    monkeypatch.setattr(structure_factors, "K_SOL", 0.0)
    dry = from_structure(structure, 2.0)
    d = resolutions(wet.cell, wet.hkl)
    low, high = d > 10, d < 2.2
    assert wet.intensity[low].mean() < 0.5 * dry.intensity[low].mean()
    assert wet.intensity[high].mean() == pytest.approx(dry.intensity[high].mean(), rel=0.01)


def test_strict_ncs_is_applied(no_solvent: None) -> None:
    structure = small_structure(gemmi.SpaceGroup("P 1"))
    whole = small_structure(gemmi.SpaceGroup("P 1"))
    shift = gemmi.Transform(gemmi.Mat33(), gemmi.Vec3(3.1, 2.2, 1.3))
    structure.ncs.append(gemmi.NcsOp(shift, "2", False))
    for atom in list(whole[0][0][0]):
        copy = atom.clone()
        copy.name += "2"
        copy.pos = atom.pos + gemmi.Position(3.1, 2.2, 1.3)
        whole[0][0][0].add_atom(copy)
    expected = from_structure(whole, 2.6)
    assert np.allclose(from_structure(structure, 2.6).intensity, expected.intensity, atol=0.05)
    assert len(structure.ncs) == 1 and not structure.ncs[0].given


def test_reciprocal_basis_is_dual_and_in_standard_orientation() -> None:
    cell = (9.0, 10.3, 11.7, 81.0, 97.0, 104.0)
    direct = np.linalg.inv(reciprocal_basis(cell)).T
    assert np.allclose(np.linalg.norm(direct, axis=1), cell[:3])
    assert np.allclose(direct[0], [9.0, 0, 0]) and abs(direct[1, 2]) < 1e-12
    assert np.degrees(np.arccos(direct[0] @ direct[1] / 9.0 / 10.3)) == pytest.approx(104.0)
    assert np.linalg.det(direct) > 0


def test_every_setting_has_a_laue_symbol() -> None:
    symbols = {laue_symbol(group) for group in SETTINGS}
    assert len(symbols) == 16 and {"2/m_uab", "-31m_H", "-3_R", "m-3m"} <= symbols
    for group in SETTINGS:
        size = len(point_group_operations(laue_symbol(group)))
        order = len(group.operations().sym_ops)
        assert size == order * (1 if group.is_centrosymmetric() else 2), group.xhm()


def test_tetragonal_unique_axes_are_permuted() -> None:
    about_a = {np.reshape(op, (3, 3)).tobytes() for op in point_group_operations("4/mmm_uaa")}
    quarter_turn = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert quarter_turn.tobytes() in about_a


def list_of(hkl, intensity, name: str = "P 1 2 1") -> Reflections:
    cell = (20.0, 21.0, 22.0, 90.0, 95.0, 90.0)
    return merge(cell, gemmi.SpaceGroup(name), np.array(hkl, dtype=np.int32), np.array(intensity))


def test_merging_averages_equivalents() -> None:
    merged = list_of([[1, 2, 3], [-1, 2, -3], [1, -2, 3], [2, 0, 0]], [1.0, 2.0, 6.0, 5.0])
    assert merged.hkl.tolist() == [[1, 2, 3], [2, 0, 0]]
    assert merged.intensity.tolist() == [3.0, 5.0]


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_wrong_intensities_are_named(value: float) -> None:
    with pytest.raises(SpotmillError, match=r"reflection 2 3 4 has intensity"):
        list_of([[1, 2, 3], [2, 3, 4]], [1.0, value])


def test_strong_absent_reflections_stop_and_weak_ones_are_left_out() -> None:
    with pytest.raises(SpotmillError, match=r"reflection 0 3 0 .* P 1 21 1"):
        list_of([[1, 2, 3], [0, 3, 0]], [1.0, 1.0], "P 1 21 1")
    assert list_of([[1, 2, 3], [0, 3, 0]], [1.0, 0.01], "P 1 21 1").hkl.tolist() == [[1, 2, 3]]


def test_truncating_and_asking_too_much() -> None:
    reflections = list_of([[1, 2, 3], [5, 0, 0]], [1.0, 2.0])
    assert truncate(reflections, 5.0).hkl.tolist() == [[1, 2, 3]]
    with pytest.raises(SpotmillError, match=r"d_min 2 Å asked for, but the list ends at 3\.985 Å"):
        truncate(reflections, 2.0)
    with pytest.raises(SpotmillError, match="no reflection at 40 Å"):
        truncate(reflections, 40.0)


PROTEINASE = (67.288, 67.288, 106.582, 90.0, 90.0, 90.0)


def test_same_crystal_passes() -> None:
    rounded = (67.3, 67.3, 106.6, 90.0, 90.0, 90.0)
    check_same_crystal("a.mtz", PROTEINASE, "P 43 21 2", "b.yaml", rounded, "P43212")
    check_same_crystal("a.mtz", PROTEINASE, None, "b.yaml", None, "P 1")
    rhombohedral = (60.0, 60.0, 60.0, 80.0, 80.0, 80.0)
    check_same_crystal("a.mtz", rhombohedral, "R 3:R", "b.yaml", None, "R 3")


@pytest.mark.parametrize(
    "cell",
    [
        (66.9, 66.9, 40.8, 90.0, 90.0, 90.0),  # PYP, which a run of old used by mistake
        (67.288, 67.288, 106.582, 90.0, 90.2, 90.0),
        (67.288, 67.5, 106.582, 90.0, 90.0, 90.0),
    ],
)
def test_another_cell_is_refused_with_both(cell) -> None:
    with pytest.raises(SpotmillError) as caught:
        check_same_crystal("a.mtz", PROTEINASE, None, "b.yaml", cell, None)
    message = str(caught.value)
    assert "a.mtz has 67.288" in message and f"b.yaml has {cell[0]:g}" in message
    assert "\n" not in message


def test_another_space_group_is_refused_with_both() -> None:
    with pytest.raises(SpotmillError, match=r"a.mtz has P 43 21 2, b.yaml has P 41 21 2"):
        check_same_crystal("a.mtz", PROTEINASE, "P 43 21 2", "b.yaml", None, "P 41 21 2")
    with pytest.raises(SpotmillError, match=r"b.yaml: space_group: 'P 7' is unknown"):
        check_same_crystal("a.mtz", PROTEINASE, "P 43 21 2", "b.yaml", None, "P 7")


def test_several_models_unknown_elements_and_huge_grids_are_refused() -> None:
    structure = small_structure(gemmi.SpaceGroup("P 1"))
    with pytest.raises(SpotmillError, match="too large"):
        from_structure(structure, 0.001)
    structure[0][0][0][0].element = gemmi.Element("X")
    with pytest.raises(SpotmillError, match="element X"):
        from_structure(structure, 3.0)
    structure.add_model(structure[0].clone())
    with pytest.raises(SpotmillError, match="holds 2 models"):
        from_structure(structure, 3.0)
