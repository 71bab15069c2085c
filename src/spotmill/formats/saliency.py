"""Layouts of what a saliency stage writes: parts of frames, or rings, and what each changes."""

import pyarrow as pa


def _field(name: str, kind: pa.DataType, unit: str = "", meaning: str = "") -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"units": unit, "meaning": meaning})


PARTS = pa.schema(
    [
        _field("frame", pa.int32(), "", "number of the frame in saliency.json, from 0"),
        _field("ss", pa.int32(), "pixel", "first pixel of a square part"),
        _field("fs", pa.int32(), "pixel", "first pixel of a square part"),
        _field("edge", pa.int32(), "pixel"),
        _field("change", pa.float64(), "", "by which the part raises the answer"),
    ]
)

RINGS = pa.schema(
    [
        _field("frame", pa.int32(), "", "number of the frame in saliency.json, from 0"),
        _field("radius", pa.float64(), "pixel", "middle of the ring, from the beam"),
        _field("two_theta", pa.float64(), "degree", "of that middle"),
        _field(
            "pixels", pa.float64(), "pixel", "live, without Bragg spots where the model reads so"
        ),
        _field("photons", pa.float64(), "photons/pixel", "of the frame"),
        _field("reference", pa.float64(), "photons/pixel", "mean of the validation frames"),
        _field("change", pa.float64(), "", "by which the ring raises the answer"),
    ]
)
