"""Atomic models: PDB and mmCIF files."""

from pathlib import Path

import gemmi

from spotmill.errors import SpotmillError
from spotmill.physics.reflections import find_space_group
from spotmill.plain_files import check_plain, check_unpacked

PDB_SUFFIXES = (".pdb", ".ent")
CIF_SUFFIXES = (".cif", ".mmcif")
LARGEST_STRUCTURE = 2**30  # bytes, unpacked


def read_structure(path: str | Path) -> gemmi.Structure:
    """Read a crystal structure (.pdb, .ent, .cif or .mmcif, also with .gz).

    Raises
    ------
    SpotmillError
        When the file is missing or damaged, or has no atoms, no unit cell or no known space
        group that fits the cell.
    """
    suffix = _suffix(path)
    if suffix not in PDB_SUFFIXES + CIF_SUFFIXES:
        raise SpotmillError(
            f"{path}: is not a structure by its name; use .pdb, .ent, .cif or .mmcif"
        )
    check_plain(path, LARGEST_STRUCTURE)
    check_unpacked(path, LARGEST_STRUCTURE)
    kind = gemmi.CoorFormat.Pdb if suffix in PDB_SUFFIXES else gemmi.CoorFormat.Mmcif
    try:
        structure = gemmi.read_structure(str(path), merge_chain_parts=False, format=kind)
        _check(structure, path)
    except UnicodeDecodeError as error:
        raise SpotmillError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0].removeprefix(f"{path}:").strip()
        raise SpotmillError(f"{path}: cannot be read ({reason}); check the file") from error
    return structure


def _check(structure: gemmi.Structure, path: str | Path) -> None:
    if not any(model.count_atom_sites() for model in structure):
        raise SpotmillError(f"{path}: has no atoms; is it a whole PDB or mmCIF file?")
    if not structure.cell.is_crystal():
        raise SpotmillError(
            f"{path}: has no unit cell (CRYST1 or _cell); only crystal structures will do"
        )
    if not structure.spacegroup_hm:
        raise SpotmillError(f"{path}: has no space group (CRYST1 or _symmetry); add it")
    try:
        find_space_group(structure.spacegroup_hm, structure.cell.parameters)
    except SpotmillError as error:
        raise SpotmillError(f"{path}: {error}") from error


def _suffix(path: str | Path) -> str:
    return Path(str(path).lower().removesuffix(".gz")).suffix


def read_entry_ids(path: str | Path) -> list[str]:
    """Return the identifiers that an mmCIF file declares, short and extended.

    Raises
    ------
    SpotmillError
        When the file is not mmCIF of one block.
    """
    try:
        block = gemmi.cif.read(str(path)).sole_block()
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SpotmillError(f"{path}: is not mmCIF ({reason}); check the file") from error
    tags = ("_entry.id", "_database_2.pdbx_database_accession")
    values = [gemmi.cif.as_string(value) for tag in tags for value in block.find_values(tag)]
    return [value for value in values if value]
