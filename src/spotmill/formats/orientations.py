"""Lists of orientations: unit quaternions (w, x, y, z), one a line."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.model import read_text
from spotmill.physics.orientations import unit_quaternion

LARGEST = 10.0


def read_orientations(path: str | Path, count: int) -> NDArray[np.float64]:
    """Read `count` quaternions, [count, 4]; blank lines and lines with # are passed over.

    Raises
    ------
    SpotmillError
        When a line is not four numbers of a unit quaternion, or the number of lines is
        not `count`.
    """
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        where = f"{path}: line {number}"
        try:
            values = np.array([float(word) for word in words])
        except ValueError as error:
            raise SpotmillError(f"{where}: is not four numbers w x y z; correct it") from error
        if len(values) != 4:
            raise SpotmillError(f"{where}: has {len(values)} numbers; give four, w x y z")
        if not (np.abs(values) <= LARGEST).all():
            raise SpotmillError(f"{where}: is no unit quaternion; give numbers of -1 to 1")
        found.append(unit_quaternion(values, where))
    if len(found) != count:
        raise SpotmillError(
            f"{path}: holds {len(found)} orientations for {count} frames; give one a frame"
        )
    return np.array(found)
