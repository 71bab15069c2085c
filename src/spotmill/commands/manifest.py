r"""List frames and their files in one table.

Example::

    spotmill manifest --overlay o/02/p00000.h5 o/02/e00000.h5 --peaks p/02/p00000.h5 \
        --labels l/02/p00000.h5 --truth t/02/p00000.parquet --output 02.parquet
    spotmill manifest --join 01.parquet 02.parquet --output all.parquet

Files of one shard belong together by name; the frames inside them are joined by identity.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from spotmill.commands.arguments import add_output
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard, check_paired
from spotmill.formats.tables import MANIFEST, read_table, write_table
from spotmill.overlays.opener import open_overlay
from spotmill.recipes import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill manifest`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--overlay", type=Path, nargs="+", help="overlay shards of one dataset")
    what.add_argument("--join", type=Path, nargs="+", help="manifests to put together")
    for name in ("peaks", "labels", "truth"):
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], help="files of shards")
    add_output(parser, "manifest (.parquet)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill manifest`."""
    if args.join:
        tables = [read_table(path, MANIFEST) for path in args.join]
        columns = pa.concat_tables(tables).to_pydict()
    else:
        columns = collect(args)
    check_identities(columns, args.output)
    write_table(args.output, columns, MANIFEST, {"recipe": RECIPES["manifest"]})


def by_shard(paths: Sequence[Path], what: str) -> dict[str, Path]:
    """Return files by the name of their shard; raise SpotmillError for a name given twice."""
    found: dict[str, Path] = {}
    for path in paths:
        name = path.name.split(".")[0]
        if name in found:
            raise SpotmillError(f"--{what}: {found[name]} and {path} are of one shard; give one")
        found[name] = path
    return found


def collect(args: argparse.Namespace) -> dict[str, Any]:
    """Return the columns of the manifest of one dataset."""
    overlays = by_shard(args.overlay, "overlay")
    extras = {name: by_shard(getattr(args, name), name) for name in ("peaks", "labels", "truth")}
    for name, files in extras.items():
        for shard in files.keys() - overlays.keys():
            raise SpotmillError(
                f"--{name}: {files[shard]} has no overlay of the same shard; give it"
            )
    columns: dict[str, Any] = {name: [] for name in MANIFEST.names}
    dataset = None
    for shard, path in sorted(overlays.items()):
        with open_overlay(path) as overlay:
            if dataset not in (None, overlay.header.dataset):
                raise SpotmillError(
                    f"{path}: is of dataset {overlay.header.dataset}, not {dataset}; "
                    "give the shards of one"
                )
            dataset = overlay.header.dataset
            beside: dict[str, Path | None] = {
                name: found.get(shard) for name, found in extras.items()
            }
            append(columns, shard, overlay, beside)
    return columns


def append(
    columns: dict[str, Any], shard: str, overlay: Shard, files: dict[str, Path | None]
) -> None:
    """Append the frames of one shard."""
    header = overlay.header
    if header.content != "overlay":
        raise SpotmillError(f"{overlay.path}: holds {header.content}, not an overlay; give one")
    if header.kind == "crystal" and None in files.values():
        lacking = next(name for name, path in files.items() if path is None)
        raise SpotmillError(f"--{lacking}: shard {shard} of {overlay.path} has none; give it")
    for name in ("peaks", "labels"):
        path = files[name]
        if path:
            with Shard(path) as other:
                check_paired(overlay, other)
    if files["truth"] and not files["truth"].is_file():
        raise SpotmillError(f"{files['truth']}: no such table; remake it (name it to snakemake)")
    n = len(overlay)
    zeros = np.zeros(n)
    crystal = header.kind == "crystal"
    recipes = {"overlay": header.recipe, "water": overlay.parameter("water_recipe")}
    if crystal:
        recipes["simulate"] = overlay.parameter("peaks_recipe")
    columns["index"] += overlay.indices.tolist()
    columns["position"] += range(n)
    for name in ("n_spots", "photons", "is_hit"):
        values = overlay.column(name) if crystal else zeros
        columns[name] += values.astype(MANIFEST.field(name).type.to_pandas_dtype()).tolist()
    constant = {
        "dataset": header.dataset,
        "kind": header.kind,
        "photon_energy": header.photon_energy,
        "clen": header.clen,
        "shard": shard,
        "overlay": overlay.path.as_posix(),
        "recipe": json.dumps(recipes, sort_keys=True),
    } | {name: path.as_posix() if path else "" for name, path in files.items()}
    for name, value in constant.items():
        columns[name] += [value] * n


def check_identities(columns: dict[str, Any], output: Path) -> None:
    """Raise SpotmillError where a frame stands twice."""
    seen = set()
    for identity in zip(columns["dataset"], columns["index"], strict=True):
        if identity in seen:
            raise SpotmillError(
                f"{output}: frame {identity[1]} of dataset {identity[0]} stands twice; "
                "remove old shards of another shard_size from the arguments"
            )
        seen.add(identity)
