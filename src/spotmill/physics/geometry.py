"""Where pixels are: panels in space, projection of rays onto them, scattering vectors.

Laboratory frame of CrystFEL: z along the beam, y up, x completing a right-handed set,
the interaction point at the origin. Lengths in m. Positions called fs and ss are
coordinates of the data array, in which pixel n covers [n, n + 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spotmill.errors import SpotmillError
from spotmill.physics.units import check_wavelength

# Panels whose pixels differ by less are those of one detector, refined by least squares.
PIXEL_SIZE_TOLERANCE = 0.01

# Beyond these a length in mm or µm was taken for m.
LARGEST_PIXEL = 0.02  # m
FARTHEST_CORNER = 200.0  # m

# Rows evaluated at once, so that a 16-megapixel panel needs tens of MB and not hundreds.
ROWS = 256


@dataclass(frozen=True, eq=False)
class Panel:
    """A flat rectangle of pixels.

    Attributes
    ----------
    name : str
    min_fs, max_fs, min_ss, max_ss : int
        First and last pixel in the data array, both inclusive.
    corner : [3] m
        Outer corner of the first pixel, from the interaction point.
    fs, ss : [3] m
        Steps from one pixel to the next along fast and slow scan.
    """

    name: str
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int
    corner: NDArray[np.float64]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("corner", "fs", "ss"):
            vector = np.array(getattr(self, name), dtype=np.float64)
            if vector.shape != (3,) or not np.isfinite(vector).all():
                raise SpotmillError(f"panel {self.name}: {name}: needs three finite numbers")
            vector.setflags(write=False)
            object.__setattr__(self, name, vector)
        if not (0 <= self.min_fs <= self.max_fs and 0 <= self.min_ss <= self.max_ss):
            raise SpotmillError(f"panel {self.name}: its last pixel comes before its first, or < 0")
        largest = max(np.linalg.norm(self.fs), np.linalg.norm(self.ss))
        if largest > LARGEST_PIXEL or np.linalg.norm(self.corner) > FARTHEST_CORNER:
            raise SpotmillError(
                f"panel {self.name}: pixels of {largest:g} m at a corner {self.corner.tolist()} m "
                "are no detector's; give metres"
            )
        area = np.linalg.norm(self.normal)
        if not area > 1e-3 * np.linalg.norm(self.fs) * np.linalg.norm(self.ss):
            raise SpotmillError(f"panel {self.name}: fs and ss must not be parallel or zero")

    @property
    def n_fs(self) -> int:
        """Number of pixels along fast scan."""
        return self.max_fs - self.min_fs + 1

    @property
    def n_ss(self) -> int:
        """Number of pixels along slow scan."""
        return self.max_ss - self.min_ss + 1

    @property
    def pixel_size(self) -> float:
        """Edge of a pixel in m (mean of its two edges)."""
        return float(np.linalg.norm(self.fs) + np.linalg.norm(self.ss)) / 2

    @property
    def normal(self) -> NDArray[np.float64]:
        """Vector product of fs and ss, [3] m²: along the normal, as long as a pixel is large."""
        return np.cross(self.fs, self.ss)

    @property
    def slab(self) -> tuple[slice, slice]:
        """Slices (ss, fs) of the panel in the data array."""
        return (
            slice(self.min_ss, self.max_ss + 1),
            slice(self.min_fs, self.max_fs + 1),
        )


class FlatArrays(NamedTuple):
    """Panels as arrays, for compiled kernels."""

    corners: NDArray[np.float64]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    bounds: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Detector:
    """All panels of a detector at one camera length, in one two-dimensional data array.

    Attributes
    ----------
    panels : tuple of Panel
    shape : (n_ss, n_fs)
        Of the data array.
    mask : [ss, fs] bool
        True where a pixel is live; False in gaps and bad regions.
    clen : float
        Camera length, m.
    max_adu : float or None
        Largest value a pixel can report (the lowest of the panels), if there is a limit.
    adu_per_photon : float
    """

    panels: tuple[Panel, ...]
    shape: tuple[int, int]
    mask: NDArray[np.bool_]
    clen: float
    max_adu: float | None
    adu_per_photon: float

    def __post_init__(self) -> None:
        if not self.panels:
            raise SpotmillError("detector: has no panels; describe at least one")
        if self.mask.shape != self.shape or self.mask.dtype != np.bool_:
            raise SpotmillError(f"detector: its mask must be boolean, of shape {self.shape}")
        for panel in self.panels:
            if panel.max_ss >= self.shape[0] or panel.max_fs >= self.shape[1]:
                raise SpotmillError(f"panel {panel.name}: leaves the data array {self.shape}")
        self.mask.setflags(write=False)

    @property
    def pixel_size(self) -> float:
        """Edge of a pixel in m; raises SpotmillError where panels differ by more than 1 %."""
        sizes = [panel.pixel_size for panel in self.panels]
        if max(sizes) > (1 + PIXEL_SIZE_TOLERANCE) * min(sizes):
            raise SpotmillError(
                f"detector: pixels of {min(sizes):g} and {max(sizes):g} m in one detector; "
                "give all panels the same `res`"
            )
        return float(np.median(sizes))

    @property
    def saturation(self) -> int | None:
        """Photons at which a pixel saturates; None where the geometry states no limit."""
        if self.max_adu is None:
            return None
        return int(self.max_adu / self.adu_per_photon)

    def flat_arrays(self) -> FlatArrays:
        """Return corners, fs, ss [panel, 3] in m and bounds [panel, 4].

        The bounds are min_fs, max_fs, min_ss, max_ss, inclusive.
        """
        return FlatArrays(
            corners=np.stack([panel.corner for panel in self.panels]),
            fs=np.stack([panel.fs for panel in self.panels]),
            ss=np.stack([panel.ss for panel in self.panels]),
            bounds=np.array(
                [[p.min_fs, p.max_fs, p.min_ss, p.max_ss] for p in self.panels], dtype=np.int64
            ),
        )


def positions(panel: Panel, fs: ArrayLike, ss: ArrayLike) -> NDArray[np.float64]:
    """Return the points [..., 3] in m at data-array coordinates fs and ss of a panel."""
    a = np.asarray(fs, dtype=np.float64) - panel.min_fs
    b = np.asarray(ss, dtype=np.float64) - panel.min_ss
    return panel.corner + a[..., np.newaxis] * panel.fs + b[..., np.newaxis] * panel.ss


def pixel_positions(panel: Panel) -> NDArray[np.float64]:
    """Return the centres of all pixels of a panel, [n_ss, n_fs, 3] in m."""
    ss, fs = np.ogrid[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1]
    return positions(panel, fs + 0.5, ss + 0.5)


def intersect(
    panel: Panel, directions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return where rays from the interaction point meet the infinite plane of a panel.

    Parameters
    ----------
    panel : Panel
    directions : [n, 3]
        Of any length.

    Returns
    -------
    fs, ss : [n]
        Data-array coordinates; they may lie outside the panel.
    distance : [n]
        In units of the direction's length; nan (as fs and ss) where the ray is parallel to
        the plane or leaves it behind.
    """
    normal = panel.normal
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (panel.corner @ normal) / (directions @ normal)
    distance = np.where(np.isfinite(distance) & (distance > 0), distance, np.nan)
    offset = distance[:, np.newaxis] * directions - panel.corner
    # The reciprocal basis of (fs, ss) within the plane: its products with the offset are
    # the pixel coordinates, for skewed axes too.
    area = normal @ normal
    fs = offset @ np.cross(panel.ss, normal) / area
    ss = offset @ np.cross(normal, panel.fs) / area
    return panel.min_fs + fs, panel.min_ss + ss, distance


def project(
    detector: Detector, directions: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Project rays from the interaction point onto the panels.

    Parameters
    ----------
    detector : Detector
    directions : [n, 3]
        Of any length.

    Returns
    -------
    panel : [n] int64
        Number of the panel that the ray strikes first, live there or not; -1 where none.
    fs, ss : [n]
        Data-array coordinates; -1 where the ray strikes none.
    """
    rays = np.asarray(directions, dtype=np.float64).reshape(-1, 3)
    struck = np.full(len(rays), -1, dtype=np.int64)
    fs, ss = np.full(len(rays), -1.0), np.full(len(rays), -1.0)
    nearest = np.full(len(rays), np.inf)
    for number, panel in enumerate(detector.panels):
        a, b, distance = intersect(panel, rays)
        # Comparisons with nan are False: rays that miss the plane fall out here.
        inside = (a >= panel.min_fs) & (a < panel.max_fs + 1)
        inside &= (b >= panel.min_ss) & (b < panel.max_ss + 1)
        inside &= distance < nearest
        struck[inside] = number
        fs[inside], ss[inside], nearest[inside] = a[inside], b[inside], distance[inside]
    return struck, fs, ss


def beam_centre(detector: Detector) -> tuple[float, float]:
    """Return (fs, ss) of the direct beam, in the data-array coordinates of one panel.

    The panel is the one nearest to the beam; where the beam passes beside it, its
    coordinates are extrapolated.

    Raises
    ------
    SpotmillError
        When the beam meets the plane of no panel.
    """
    beam = np.array([[0.0, 0.0, 1.0]])
    best: tuple[float, float, float] | None = None
    for panel in detector.panels:
        fs, ss, distance = (float(value[0]) for value in intersect(panel, beam))
        if np.isnan(distance):
            continue
        miss_fs = max(panel.min_fs - fs, 0.0, fs - (panel.max_fs + 1))
        miss_ss = max(panel.min_ss - ss, 0.0, ss - (panel.max_ss + 1))
        miss = float(np.linalg.norm(miss_fs * panel.fs + miss_ss * panel.ss))
        if best is None or miss < best[0]:
            best = (miss, fs, ss)
    if best is None:
        raise SpotmillError("detector: the direct beam meets the plane of no panel; check clen")
    return best[1], best[2]


def magnitude(points: NDArray[np.float64], wavelength: float) -> NDArray[np.float64]:
    """Return |s| = 2 sin(theta) / wavelength in 1/Å of points [..., 3], wavelength in Å."""
    check_wavelength(wavelength)
    x, y, z = np.moveaxis(points, -1, 0)
    # atan2 stays exact near the beam, where 1 - cos(2 theta) cancels.
    return 2 * np.sin(np.arctan2(np.hypot(x, y), z) / 2) / wavelength


def scattering_magnitude(detector: Detector, wavelength: float) -> NDArray[np.float64]:
    """Return |s| in 1/Å at the centre of every pixel.

    Parameters
    ----------
    detector : Detector
    wavelength : float
        Å.

    Returns
    -------
    [ss, fs]
        nan where there is no panel.
    """
    result = np.full(detector.shape, np.nan)
    for panel in detector.panels:
        fs = np.arange(panel.min_fs, panel.max_fs + 1) + 0.5
        for rows in _blocks(panel):
            ss = (rows + 0.5)[:, np.newaxis]
            points = positions(panel, fs, ss)
            result[rows[0] : rows[-1] + 1, panel.slab[1]] = magnitude(points, wavelength)
    return result


def max_scattering(detector: Detector, wavelength: float) -> float:
    """Return the largest |s| = 1/d in 1/Å that the corner of a live pixel reaches.

    Raises
    ------
    SpotmillError
        When no pixel is live.
    """
    largest = -np.inf
    for panel in detector.panels:
        fs = np.arange(panel.min_fs, panel.max_fs + 2)
        for rows in _blocks(panel):
            live = detector.mask[rows[0] : rows[-1] + 1, panel.slab[1]]
            touched = _corners(live)
            if touched.any():
                ss = np.arange(rows[0], rows[-1] + 2)[:, np.newaxis]
                points = positions(panel, fs, ss)[touched]
                largest = max(largest, float(magnitude(points, wavelength).max()))
    if not np.isfinite(largest):
        raise SpotmillError("detector: has no live pixel; check its bad regions")
    return largest


def _blocks(panel: Panel) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of a panel, a block at a time."""
    for first in range(panel.min_ss, panel.max_ss + 1, ROWS):
        yield np.arange(first, min(first + ROWS, panel.max_ss + 1))


def _corners(live: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which corners [ss + 1, fs + 1] belong to a live pixel."""
    corners = np.zeros((live.shape[0] + 1, live.shape[1] + 1), dtype=bool)
    for ss in (0, 1):
        for fs in (0, 1):
            corners[ss : ss + live.shape[0], fs : fs + live.shape[1]] |= live
    return corners
