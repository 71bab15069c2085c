"""Structure factors of an atomic model: density on a grid, Fourier transform, bulk solvent."""

import gemmi
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.physics.reflections import Cell, Reflections, find_space_group, merge

# Flat bulk solvent: mean values of Fokine & Urzhumtsev (2002), Acta Cryst. D58, 1387.
K_SOL = 0.35  # e/Å^3
B_SOL = 46.0  # Å^2

# Samples of the density per d_min/2; with Refmac's blur |F| is within 2e-4 of direct
# summation for all but the weakest reflections.
SAMPLING_RATE = 2.0

# The mask belongs to the structure, not to the resolution asked for, so that |F|^2 of a
# reflection does not change with d_min; a finer d_min than 1.6 Å needs a finer grid.
MASK_SPACING = 1.6 / 3  # Å

LARGEST_GRID = 5e8  # points (4 bytes each, held about four times)


def from_structure(structure: gemmi.Structure, d_min: float) -> Reflections:
    """Compute |F|^2 of a crystal structure to a resolution.

    The atoms' density (X-ray form factors of International Tables C, 1992, neutral atoms;
    occupancies, isotropic and anisotropic displacements as in the model; no hydrogen is
    added) is summed on a grid and transformed; a flat bulk solvent fills what the atoms
    leave: F = F_atoms + K_SOL exp(-B_SOL/(4 d^2)) F_mask (Jiang & Brünger 1994,
    J. Mol. Biol. 243, 100; probe and shrink radii as in cctbx). Strict non-crystallographic
    symmetry that the file leaves to the reader is applied.

    Parameters
    ----------
    structure
        One model with a cell and a space group.
    d_min
        Resolution limit in Å.

    Returns
    -------
    Reflections
        |F|^2 in electrons^2 per unit cell.

    Raises
    ------
    SpotmillError
        When the structure has several models, an atom without form factors, a cell that
        does not fit its space group, or needs too large a grid.
    """
    if len(structure) != 1:
        raise SpotmillError(f"holds {len(structure)} models; keep one")
    cell: Cell = structure.cell.parameters
    space_group = find_space_group(structure.spacegroup_hm, cell)
    _check_atoms(structure[0])
    points = structure.cell.volume / (d_min / (2 * SAMPLING_RATE)) ** 3
    if points > LARGEST_GRID:
        raise SpotmillError(
            f"a density of {points:.2g} grid points at d_min {d_min:g} Å is too large; "
            "give a coarser d_min"
        )
    whole = _whole(structure, space_group)
    hkl, factors = _atoms(whole, space_group, d_min)
    factors = factors + _solvent(whole, space_group, d_min, hkl)
    intensity = factors.real**2 + factors.imag**2
    return merge(cell, space_group, hkl, intensity, d_min)


def _whole(structure: gemmi.Structure, space_group: gemmi.SpaceGroup) -> gemmi.Structure:
    """Return a copy with all atoms that gemmi's grids do not generate by themselves."""
    whole = structure.clone()
    whole.expand_ncs(gemmi.HowToNameCopiedChain.AddNumber)
    if space_group.number == 1:
        # gemmi takes any setting of group 1 for P 1, and so leaves out the centring of C 1.
        whole.ncs.clear()
        for shift in space_group.operations().cen_ops[1:]:
            fraction = gemmi.Fractional(*(part / gemmi.Op.DEN for part in shift))
            vector = gemmi.Vec3(*whole.cell.orthogonalize(fraction).tolist())
            whole.ncs.append(gemmi.NcsOp(gemmi.Transform(gemmi.Mat33(), vector), "", False))
        whole.expand_ncs(gemmi.HowToNameCopiedChain.AddNumber)
    return whole


def _check_atoms(model: gemmi.Model) -> None:
    for cra in model.all():
        element = cra.atom.element
        # gemmi would take an unknown element for oxygen.
        if element.name == "X" or not element.it92:
            raise SpotmillError(
                f"atom {cra} is of element {element.name}, which has no X-ray form "
                "factors; name its element or remove it"
            )


def _atoms(
    structure: gemmi.Structure, space_group: gemmi.SpaceGroup, d_min: float
) -> tuple[NDArray[np.int32], NDArray[np.complex128]]:
    """Return hkl [n, 3] of the asymmetric unit and F [n] of the atoms alone."""
    calculator = gemmi.DensityCalculatorX()
    calculator.d_min = d_min
    calculator.rate = SAMPLING_RATE
    calculator.set_refmac_compatible_blur(structure[0])
    calculator.set_grid_cell_and_spacegroup(structure)
    calculator.put_model_density_on_grid(structure[0])
    grid = gemmi.transform_map_to_f_phi(calculator.grid, half_l=True)
    data = grid.prepare_asu_data(dmin=d_min, unblur=calculator.blur)
    return data.miller_array, data.value_array.astype(np.complex128)


def _solvent(
    structure: gemmi.Structure,
    space_group: gemmi.SpaceGroup,
    d_min: float,
    hkl: NDArray[np.int32],
) -> NDArray[np.complex128]:
    """Return F [n] of the bulk solvent for the reflections `hkl` [n, 3]."""
    mask = gemmi.FloatGrid()
    mask.set_unit_cell(structure.cell)
    mask.spacegroup = space_group
    mask.set_size_from_spacing(min(MASK_SPACING, d_min / 3), gemmi.GridSizeRounding.Up)
    gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx).put_mask_on_float_grid(mask, structure[0])
    factors = gemmi.transform_map_to_f_phi(mask, half_l=True).get_value_by_hkl(hkl)
    inverse_d2 = structure.cell.calculate_1_d2_array(hkl)
    return np.asarray(K_SOL * np.exp(-B_SOL / 4 * inverse_d2) * factors, dtype=np.complex128)
