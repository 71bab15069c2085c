"""The table that a map of frames is kept in."""

import pyarrow as pa

from spotmill.physics.frame_features import FEATURES

ODD = 1.5  # oddness from which a frame is marked


def map_schema() -> pa.Schema:
    """Return the columns of the map, with their units and meanings."""

    def field(name: str, kind: pa.DataType, unit: str = "", meaning: str = "") -> pa.Field:
        return pa.field(name, kind, nullable=False, metadata={"units": unit, "meaning": meaning})

    number = pa.float64()
    return pa.schema(
        [
            field("dataset", pa.string()),
            field("index", pa.int64(), "", "frame"),
            field("is_hit", pa.bool_(), "", "the truth, for the figure; nothing else uses it"),
            *(field(f"pca_{k}", number, "", f"principal component {k}") for k in (1, 2)),
            *(field(f"umap_{k}", number, "", f"coordinate {k} of UMAP") for k in (1, 2)),
            field("cluster", pa.int32(), "", "number of the cluster, -1 outside any"),
            field("oddness", number, "", "local outlier factor within the dataset; usual: 1"),
            field("odd", pa.bool_(), "", f"oddness of at least {ODD:g}"),
            field("reason", pa.string(), "", "feature that is farthest from the dataset's median"),
            field("outermost_d", number, "angstrom", "of the outermost peaks; none: infinite"),
            *(field(f.name, number, f.unit, f.meaning) for f in FEATURES),
        ]
    )
