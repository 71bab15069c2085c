"""Orientations of a crystal: unit quaternions (w, x, y, z).

Sense of rotation: a quaternion turns the crystal by the *transpose* of the usual rotation
matrix R(w, x, y, z), as CrystFEL's `pattern_sim` did, so that one list of orientations
gives the same crystals there and here. astar, bstar and cstar in every frame table are
the axes as turned and settle any doubt.
"""

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError


def random_quaternion(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a quaternion of a rotation uniform on SO(3).

    Four normal deviates have no preferred direction, so their unit vector is uniform on
    the 3-sphere, which covers SO(3) twice and evenly (Shoemake, Graphics Gems III, 1992).
    """
    while True:
        quaternion = rng.standard_normal(4)
        length = np.linalg.norm(quaternion)
        if length > 1e-6:
            return np.asarray(quaternion / length)


def unit_quaternion(values: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """Return a quaternion scaled to length one.

    Raises
    ------
    SpotmillError
        When it is not finite or its length differs from 1 by more than 0.001.
    """
    length = float(np.linalg.norm(values))
    if not abs(length - 1.0) <= 1e-3:
        raise SpotmillError(f"{where}: quaternion has length {length:.4g}; give unit quaternions")
    return np.asarray(values / length)


def rotation_matrix(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the usual rotation matrix R(w, x, y, z), [3, 3], that acts on column vectors.

    Raises
    ------
    SpotmillError
        When the quaternion's length is not 1 within 0.002, as that of Euler angles is not.
    """
    if not abs(float(np.linalg.norm(quaternion)) - 1.0) < 2e-3:
        raise SpotmillError(f"quaternion: {quaternion} has not length 1; give unit quaternions")
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def turn_axes(axes: NDArray[np.float64], quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows of `axes` [3, 3] turned by a quaternion, in the sense stated above."""
    # Row vectors: (R^T v)^T = v^T R.
    return np.asarray(axes @ rotation_matrix(quaternion))
