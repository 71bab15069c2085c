r"""Map frames by their physical features: where they lie, which belong together, which are odd.

Example::

    spotmill map --manifest results/manifest/all.parquet \
        --geometry results/images/01.geom results/images/02.geom \
        --output results/map/frames.parquet

Features are taken from image, mask and geometry alone (docs/map.md). Of many frames those with
the smallest hashes of their identity are taken, `--most` at most.
"""

import argparse
from pathlib import Path

from spotmill.commands.arguments import add_output, whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill map`."""
    parser.add_argument("--manifest", type=Path, required=True, help="of all datasets (.parquet)")
    parser.add_argument(
        "--geometry",
        type=Path,
        nargs="+",
        required=True,
        help="geometry of every dataset, named after it (DATASET.geom)",
    )
    parser.add_argument(
        "--most", type=whole("--most", 1, 100_000), default=2000, help="frames at most (2000)"
    )
    add_output(parser, "table of the frames (.parquet)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill map`."""
    import numpy as np

    from spotmill.formats.frame_map import map_schema
    from spotmill.formats.tables import write_table
    from spotmill.learning.frame_map import place_frames
    from spotmill.learning.map_frames import choose, read_features, read_manifest
    from spotmill.recipes import RECIPES

    manifest = read_manifest(args.manifest)
    rows = choose(manifest, args.most)
    features, outermost = read_features(rows, {path.stem: path for path in args.geometry})
    dataset = rows["dataset"].to_numpy(dtype=str)
    placed, facts = place_frames(features, dataset)
    columns = {name: rows[name].to_numpy() for name in ("dataset", "index", "is_hit")}
    columns |= placed | {"outermost_d": outermost}
    schema = map_schema()
    columns |= dict(zip(schema.names[-features.shape[1] :], np.asarray(features).T, strict=True))
    provenance = {"n_manifest": len(manifest), "recipe": RECIPES["map"], **facts}
    write_table(args.output, columns, schema, provenance)
    print(f"{args.output}: {len(rows)} of {len(manifest)} frames, {int(placed['odd'].sum())} odd")
