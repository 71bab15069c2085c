"""The `lattice` engine: the lattice sum of a finite crystal in every pixel.

    photons = fluence r_e^2 P dOmega <|F(q)|^2 prod_j sin^2(pi N_j x_j) / sin^2(pi x_j)>,

x = (a.q, b.q, c.q), q = (s - z)/lambda, for a parallelepiped of Na x Nb x Nc cells with
faces on (100), (010) and (001) (kinematic theory; Warren, X-ray Diffraction, 1969, ch. 3).
The mean is over sub-pixel samples, centred, and over wavelengths. Fringes and partial
spots come out as they are; what no sample comes near is missed, so it is for crystals of a
few hundred nm at most (`resolved_size`). The interference
function is exact to 4e-10, and |F|^2 is held in single precision (6e-8).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.physics import lattice_kernels as kernels
from spotmill.physics.geometry import Detector, max_scattering
from spotmill.physics.units import CLASSICAL_ELECTRON_RADIUS

Gradients = Literal["mosaic", "interpolate", "phased"]
Fringes = Literal["full", "none", "flat"]

# Rotations of a point group that holds the identity and its Friedel mate alone.
FRIEDEL = np.stack([np.eye(3, dtype=np.int64), -np.eye(3, dtype=np.int64)])

# A table beyond this would hold more than 2 GB.
LARGEST_TABLE = 500_000_000

# Turning an axis changes its length in the last digits; a crystal of just n cells keeps n.
LENIENT = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class Transform:
    """The molecular transform at all lattice points within a box.

    Attributes
    ----------
    half : (int, int, int)
        Largest |h|, |k|, |l| of the box. Beyond it the outermost layer goes on: zero for a list.
    parts : [1 or 2, n] float32
        Intensity |F|^2 in electrons squared; or real and imaginary part of F.
    """

    half: tuple[int, int, int]
    parts: NDArray[np.float32]

    def at(self, hkl: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return |F|^2 at indices [n, 3]."""
        half = np.array(self.half)
        clipped = np.clip(hkl, -half, half)
        values = self.parts[:, _flat(clipped, self.half)].astype(np.float64)
        return values[0] if len(values) == 1 else np.asarray((values**2).sum(axis=0))


def expand(
    hkl: NDArray[np.integer], values: NDArray[np.floating], rotations: NDArray[np.integer]
) -> Transform:
    """Give every equivalent of a reflection its reflection's values.

    Parameters
    ----------
    hkl : [n, 3]
        One reflection of each set of equivalents.
    values : [parts, n]
        Intensities |F|^2 in electrons squared (one part), or whatever the parts stand for.
    rotations : [m, 3, 3]
        Integer matrices R of the point group, the identity among them: h' = h R.

    Raises
    ------
    SpotmillError
        When two reflections of the list are equivalent, or a value is not finite.
    """
    if not np.isfinite(values).all():
        raise SpotmillError("reflections: an intensity is not finite; mend or remove it")
    half = _box(hkl, rotations)
    owner = _owners(hkl, rotations, half)
    table = np.zeros((len(values), owner.size), dtype=np.float32)
    table[:, owner >= 0] = np.asarray(values)[:, owner[owner >= 0]]
    return Transform(half, table)


def intensity_transform(
    hkl: NDArray[np.integer], intensity: NDArray[np.floating], rotations: NDArray[np.integer]
) -> Transform:
    """Expand a list of intensities |F|^2 by the rotations of a point group; see `expand`."""
    return expand(hkl, np.asarray(intensity)[np.newaxis], rotations)


def uniform_transform(intensity: float) -> Transform:
    """Return a transform of one intensity everywhere, electrons squared."""
    # Indices beyond the box are clipped to its outermost layer, which is not zero here.
    return Transform((1, 1, 1), np.full((1, 27), intensity, dtype=np.float32))


def amplitude_transform(
    hkl: NDArray[np.integer],
    intensity: NDArray[np.floating],
    phase: NDArray[np.floating] | None,
    rotations: NDArray[np.integer],
    translations: NDArray[np.floating],
    friedel: bool = True,
) -> Transform:
    """Expand amplitudes sqrt(I) exp(i phase) by the operations of a space group.

    A density unchanged by x -> R x + t has F(h R) = F(h) exp(-2 pi i h.t) (International
    Tables B, 1.4.2); Friedel mates are complex conjugates.

    Parameters
    ----------
    hkl, intensity
        As for `intensity_transform`.
    phase : [n]
        Radians, of F = sum f exp(+2 pi i h.x).
    rotations, translations : [m, 3, 3], [m, 3]
        R and t, which act on fractional coordinates.
    friedel : bool
        Add Friedel mates (no anomalous scattering).

    Raises
    ------
    SpotmillError
        When there are no phases, or two reflections of the list are equivalent.
    """
    if phase is None or not np.isfinite(phase).all():
        raise SpotmillError(
            "gradients: 'phased' needs a phase for every reflection; give a list with phases or "
            "use 'interpolate'"
        )
    if (np.asarray(intensity) < 0).any():
        raise SpotmillError("gradients: 'phased' needs intensities of 0 or more")
    both = np.concatenate([rotations, -rotations]) if friedel else rotations
    half = _box(hkl, both)
    owner = _owners(hkl, both, half)
    amplitude = np.sqrt(intensity) * np.exp(1j * np.asarray(phase))
    table = np.zeros(owner.size, dtype=np.complex128)
    for rotation, translation in zip(rotations, translations, strict=True):
        moved = amplitude * np.exp(-2j * np.pi * (hkl @ translation))
        turned = hkl @ rotation
        table[_flat(turned, half)] = moved
        if friedel:
            table[_flat(-turned, half)] = moved.conj()
    return Transform(half, np.stack([table.real, table.imag]).astype(np.float32))


def _box(hkl: NDArray[np.integer], rotations: NDArray[np.integer]) -> tuple[int, int, int]:
    """Return the largest indices over all equivalents, and one more for the empty layer."""
    if len(hkl) == 0:
        raise SpotmillError("reflections: the list is empty; give at least one")
    largest = np.max([np.abs(hkl @ rotation).max(axis=0) for rotation in rotations], axis=0) + 1
    if np.prod(2.0 * largest + 1) > LARGEST_TABLE:
        raise SpotmillError(
            f"reflections: indices up to {largest.tolist()} need too large a table; raise d_min"
        )
    return int(largest[0]), int(largest[1]), int(largest[2])


def _flat(hkl: NDArray[np.integer], half: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return positions of indices [n, 3] in the flat table."""
    h, k, m = (np.asarray(hkl, dtype=np.int64) + np.array(half)).T
    return np.asarray((h * (2 * half[1] + 1) + k) * (2 * half[2] + 1) + m)


def _owners(
    hkl: NDArray[np.integer], rotations: NDArray[np.integer], half: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Return the number of the reflection that each table entry descends from, -1 where none."""
    owner = np.full(math.prod(2 * n + 1 for n in half), -1, dtype=np.int64)
    numbers = np.arange(len(hkl))
    for rotation in rotations:
        at = _flat(hkl @ rotation, half)
        taken = owner[at]
        clash = np.flatnonzero((taken >= 0) & (taken != numbers))
        if clash.size:
            first, second = hkl[taken[clash[0]]].tolist(), hkl[clash[0]].tolist()
            raise SpotmillError(
                f"reflections: {first} and {second} are symmetry equivalents; merge the list or "
                "choose the point group that it has"
            )
        owner[at] = numbers
    return owner


def whole_cells(
    axes: NDArray[np.float64], size: float | tuple[float, float, float]
) -> tuple[int, int, int]:
    """Return how many whole cells fit along each axis.

    Parameters
    ----------
    axes : [3, 3]
        Rows a, b, c, Å.
    size
        Edge (or three edges) of the crystal, m.

    Raises
    ------
    SpotmillError
        When no whole cell fits, as with a size in µm for one in m.
    """
    edges = np.broadcast_to(np.asarray(size, dtype=np.float64), 3) * 1e10
    lengths = np.linalg.norm(axes, axis=1)
    cells = np.floor(edges / lengths * LENIENT)
    if not (np.isfinite(cells).all() and (cells >= 1).all() and (cells < 1e7).all()):
        raise SpotmillError(
            f"size: {np.array(size).tolist()} m holds {cells.tolist()} cells of "
            f"{lengths.round(2).tolist()} Å; "
            "give metres, at least one cell along each axis"
        )
    return int(cells[0]), int(cells[1]), int(cells[2])


def resolved_size(
    detector: Detector, wavenumbers: NDArray[np.float64], width: float, samples: int
) -> float:
    """Return the largest crystal, m, whose fringes the samples resolve everywhere.

    |L|^2 has no fringe narrower than 1/size in q. From sub-pixel sample to sample q moves
    by k pixel / (samples distance), from wavenumber to wavenumber by |s| dk / k. Smaller
    crystals are integrated exactly, spot by spot; of larger ones the samples hit some
    spots near their maximum and miss the others.

    Parameters
    ----------
    wavenumbers : [n]
        Samples, ascending, 1/Å.
    width : float
        Of the whole spectrum, 1/Å; stands for the gap where there is one sample.
    """
    k = float(wavenumbers[-1])
    nearest = min(
        abs(float(p.corner @ p.normal)) / np.linalg.norm(p.normal) for p in detector.panels
    )
    across = float(k * detector.pixel_size / (samples * nearest))
    gap = float(np.diff(wavenumbers).max(initial=0.0)) if len(wavenumbers) > 1 else width
    along = max_scattering(detector, 1 / k) * gap / k
    return 1e-10 / max(across, along)


def lattice_image(
    detector: Detector,
    axes: NDArray[np.float64],
    cells: tuple[int, int, int],
    transform: Transform,
    wavenumbers: NDArray[np.float64],
    weights: NDArray[np.float64],
    fluence: float,
    *,
    polarisation: float | None = 1.0,
    samples: int = 4,
    gradients: Gradients = "mosaic",
    fringes: Fringes = "full",
) -> NDArray[np.float32]:
    """Compute the photons that a finite crystal is expected to scatter into every pixel.

    Parameters
    ----------
    detector : Detector
        Masked pixels are computed like all others.
    axes : [3, 3]
        Rows a, b, c as turned, Å.
    cells : (int, int, int)
        Cells along each axis.
    transform : Transform
        Of `intensity_transform`; of `amplitude_transform` for gradients "phased".
    wavenumbers, weights : [n]
        1/Å, and the share of the photons at each.
    fluence : float
        Photons per m^2.
    polarisation : float or None
        Fraction polarised along x; None leaves the factor out.
    samples : int
        Sub-pixel samples along each edge of a pixel.
    gradients
        |F|^2 between lattice points: of the nearest ("mosaic"), trilinear in |F|^2
        ("interpolate") or trilinear in F ("phased").
    fringes
        "full"; "none" is zero beyond the first minimum; "flat" is N^2 up to it.

    Returns
    -------
    [ss, fs] float32
        0 where there is no panel.

    Raises
    ------
    SpotmillError
        When an argument is out of range or in the wrong unit.
    """
    _check(axes, cells, wavenumbers, weights, fluence, polarisation, samples)
    if gradients not in get_args(Gradients) or fringes not in get_args(Fringes):
        raise SpotmillError(
            f"gradients, fringes: {gradients!r}, {fringes!r}; known are "
            f"{', '.join(get_args(Gradients))} and {', '.join(get_args(Fringes))}"
        )
    if (gradients == "phased") != (len(transform.parts) == 2):
        raise SpotmillError("gradients: 'phased', and only that, goes with amplitudes and phases")
    image = np.zeros(detector.shape, dtype=np.float32)
    for panel in detector.panels:
        kernels.add_panel(
            panel.corner,
            panel.fs,
            panel.ss,
            np.ascontiguousarray(axes, dtype=np.float64),
            tuple(float(n) for n in cells),
            transform.half,
            transform.parts,
            get_args(Gradients).index(gradients),
            get_args(Fringes).index(fringes),
            np.asarray(wavenumbers, dtype=np.float64),
            np.asarray(weights, dtype=np.float64),
            samples,
            -1.0 if polarisation is None else float(polarisation),
            fluence * CLASSICAL_ELECTRON_RADIUS**2,
            image[panel.slab],
        )
    return image


def _check(
    axes: NDArray[np.float64],
    cells: tuple[int, int, int],
    wavenumbers: NDArray[np.float64],
    weights: NDArray[np.float64],
    fluence: float,
    polarisation: float | None,
    samples: int,
) -> None:
    """Raise SpotmillError where an argument cannot be what it is called."""
    lengths = np.linalg.norm(axes, axis=1)
    if axes.shape != (3, 3) or not ((lengths > 1) & (lengths < 1e4)).all():
        raise SpotmillError(f"axes: lengths {lengths.tolist()} are not those of a cell in Å")
    if len(cells) != 3 or min(cells) < 1:
        raise SpotmillError(f"cells: {cells} are not three numbers of 1 or more")
    # 100 eV to 1 MeV.
    if wavenumbers.shape != weights.shape or not ((wavenumbers > 8e-3) & (wavenumbers < 81)).all():
        raise SpotmillError("wavenumbers: are not between 0.008 and 81 1/Å, a weight to each")
    if not (weights >= 0).all() or not math.isclose(weights.sum(), 1.0, abs_tol=1e-6):
        raise SpotmillError("weights: must be 0 or more and add up to 1")
    if not (math.isfinite(fluence) and fluence >= 0):
        raise SpotmillError(f"fluence: {fluence!r} is not a number of photons per m^2")
    if polarisation is not None and not 0 <= polarisation <= 1:
        raise SpotmillError(f"polarisation: {polarisation!r} is not between 0 and 1")
    if not 1 <= samples <= 64:
        raise SpotmillError(f"samples: {samples!r} is not between 1 and 64 along an edge")
