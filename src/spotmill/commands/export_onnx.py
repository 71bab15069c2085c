r"""Write a trained model for other programs, as ONNX.

Example::

    spotmill export onnx --model results/models/hit --output hit.onnx

The file is tried on real frames before it is written: where ONNX Runtime says otherwise than this
program by more than 1e-4 of the scale, nothing is written. The frames are training and validation
frames of the model's split. Needs `pip install 'spotmill[export]'`.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic, make_folder
from spotmill.tasks import Task

NEEDED = ("onnx", "onnxscript", "onnxruntime")

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser, shown: bool = True) -> None:
    """Add the arguments of `spotmill export onnx`; those that are not shown are not required."""

    def text(words: str) -> str:
        return words if shown else argparse.SUPPRESS

    parser.add_argument(
        "--model", type=Path, required=shown, help=text("folder of the trained model")
    )
    parser.add_argument(
        "--split",
        type=Path,
        help=text("frames to try it on (.parquet); default ../../splits/NAME.parquet of the model"),
    )
    parser.add_argument(
        "--detector",
        type=Path,
        help=text("geometry file (.geom); default: the one that the frames carry"),
    )
    parser.add_argument("--output", type=Path, required=shown, help=text("file to write (.onnx)"))


def run(args: argparse.Namespace) -> None:
    """Run `spotmill export onnx`."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise SpotmillError(f"onnx needs {' and '.join(missing)}; pip install 'spotmill[export]'")
    from spotmill.learning.onnx_export import OPSET, check, describe, open_case, to_onnx
    from spotmill.learning.store import CARD, load_card, load_network

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_folder(args.output)
    facts, source = load_card(args.model), str(args.model)
    known = {key: facts[key] for key in Task.model_fields if key in facts}
    task = Task.parse(known, args.model / CARD)
    network = load_network(args.model, task, source)
    folder = args.model.absolute().parent.parent
    split = args.split or folder / "splits" / f"{facts.get('task')}.parquet"
    with geometry_of(args.detector, split) as geometry:
        case = open_case(task, network, facts, args.model, split, geometry)
    model = to_onnx(case, source)
    describe(model, case, task, facts)
    content = model.SerializeToString(deterministic=True)
    worst = check(content, case, source)
    with atomic(args.output) as temporary:
        temporary.write_bytes(content)
    frames = len(next(iter(case.inputs.values())))
    log.info(
        "%s: opset %d, %d bytes; tried on %d inputs, off by at most %.1g of the scale",
        args.output,
        OPSET,
        len(content),
        frames,
        max(worst.values()),
    )


@contextmanager
def geometry_of(detector: Path | None, split: Path) -> Iterator[Path]:
    """Yield the geometry file that is given, or one as the frames of a split carry it.

    Raises
    ------
    SpotmillError
        When they carry none.
    """
    if detector is not None:
        yield detector
        return
    from spotmill.learning.frames import read_split
    from spotmill.overlays.opener import open_overlay

    table = read_split(split, ("train", "validation"))
    paths = table["overlay"].to_pylist()
    text = ""
    if paths:
        with open_overlay(str(paths[0])) as shard:
            text = str((shard.header.parameters.get("water") or {}).get("detector") or "")
    if not text:
        raise SpotmillError(f"{split}: its frames do not carry their geometry; give --detector")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.geom"
        path.write_text(text, encoding="utf-8")
        yield path
