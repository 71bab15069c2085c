"""Measure the reflections of 1IC6 to 1.6 Å, beside gemmi alone.

    python benchmarks/reflections.py [--repeats 5]

Once as functions within this process, once as processes of their own, from start to file.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

# isort: off
from measuring import ROOT, command, machine, program, spent

# isort: on
import numpy as np
from gemmi_alone import D_MIN, compute

from spotmill.formats.structures import read_structure
from spotmill.physics.reflections import Reflections
from spotmill.physics.structure_factors import from_structure

FILE = ROOT.parent / "shared/structures/1ic6.pdb"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--structure", type=Path, default=FILE, help="PDB file of 1IC6")
    args = parser.parse_args()
    if not args.structure.is_file():
        raise SystemExit(f"{args.structure}: no such file; name 1IC6 with --structure")
    path = str(args.structure)

    def ours(_: int) -> Reflections:
        return from_structure(read_structure(path), D_MIN)

    theirs = np.abs(compute(path).value_array)
    print(f"<!-- reflections: {len(ours(0).hkl)}, gemmi {len(theirs)} -->")
    functions = [spent(lambda _: compute(path), args.repeats), spent(ours, args.repeats)]
    with tempfile.TemporaryDirectory() as folder:
        words = ["reflections", path, "--d-min", D_MIN, "--output", f"{folder}/ours.mtz"]
        peer = [Path(__file__).with_name("gemmi_alone.py"), path, f"{folder}/gemmi.mtz"]
        pairs = [(program(*peer), command(*words)) for _ in range(args.repeats)]
    print(f"{machine()}; one core; medians of {args.repeats}\n")
    print("| reflections of 1IC6 to 1.6 Å | gemmi, CPU-s (wall) | spotmill, CPU-s (wall) | ratio |")
    print("|---|---|---|---|")
    processes = [
        [statistics.median(getattr(run, name) for run in runs) for name in ("wall", "cpu")]
        for runs in zip(*pairs, strict=True)
    ]
    for name, (gemmi, spotmill) in {
        "function": [run[:2] for run in functions],
        "whole process": processes,
    }.items():
        both = " | ".join(f"{cpu:.2f} ({wall:.2f})" for wall, cpu in (gemmi, spotmill))
        print(f"| {name} | {both} | {spotmill[1] / gemmi[1]:.2f} |")


if __name__ == "__main__":
    main()
