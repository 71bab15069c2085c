"""Compute |F| of a structure to 1.6 Å with gemmi's functions and nothing else: a peer.

    python benchmarks/gemmi_alone.py STRUCTURE OUTPUT

The same atoms, grids and solvent as `spotmill reflections` has, and an MTZ file.
"""

import sys

import gemmi
import numpy as np

D_MIN = 1.6
K_SOL, B_SOL = 0.35, 46.0


def compute(path: str) -> gemmi.ComplexAsuData:
    structure = gemmi.read_structure(path)
    calculator = gemmi.DensityCalculatorX()
    calculator.d_min = D_MIN
    calculator.rate = 2.0
    calculator.set_refmac_compatible_blur(structure[0])
    calculator.set_grid_cell_and_spacegroup(structure)
    calculator.put_model_density_on_grid(structure[0])
    atoms = gemmi.transform_map_to_f_phi(calculator.grid, half_l=True)
    mask = gemmi.FloatGrid()
    mask.set_unit_cell(structure.cell)
    mask.spacegroup = structure.find_spacegroup()
    mask.set_size_from_spacing(D_MIN / 3, gemmi.GridSizeRounding.Up)
    gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx).put_mask_on_float_grid(mask, structure[0])
    solvent = gemmi.transform_map_to_f_phi(mask, half_l=True).prepare_asu_data(dmin=D_MIN)
    data = atoms.prepare_asu_data(dmin=D_MIN, unblur=calculator.blur)
    scaling = gemmi.Scaling(structure.cell, mask.spacegroup)
    scaling.use_solvent, scaling.k_sol, scaling.b_sol = True, K_SOL, B_SOL
    scaling.scale_data(data, solvent)
    return data


def write(data: gemmi.ComplexAsuData, path: str) -> None:
    mtz = gemmi.Mtz(with_base=True)
    mtz.cell, mtz.spacegroup = data.unit_cell, data.spacegroup
    mtz.add_dataset("calculated")
    mtz.add_column("F", "F")
    columns = [data.miller_array, np.abs(data.value_array)[:, None]]
    mtz.set_data(np.hstack(columns).astype(np.float32))
    mtz.write_to_file(path)


if __name__ == "__main__":
    write(compute(sys.argv[1]), sys.argv[2])
