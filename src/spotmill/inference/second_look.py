"""Spots wider and brighter than any of the training, found by looking at the frame from afar.

A model of peaks knows the widths and brightnesses of the spots that it was trained on. What an
image plate or a long exposure shows is often neither, and is refused however plain it is. Where a
frame has such spots, it is looked at again, dimmed and with pixels summed, until they look as
those of the training do. To dim a frame lessens its noise by more than its light, as counted
photons have it, so that what stands out of a dimmed frame stands out of the frame the more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.inference.plausible import outstanding, surroundings
from spotmill.physics.peak_finding import Peaks, deviance
from spotmill.physics.peak_scoring import pairs_within

if TYPE_CHECKING:
    from spotmill.learning.applied import Applied
    from spotmill.learning.marked import Marked

# (edge of the squares that are summed, factor by which the frame is dimmed), in order.
LOOKS = ((1, 4), (1, 16), (2, 1), (2, 4), (2, 16), (4, 16))
# Refused spots from which on it is worth it.
FEWEST = 3
# A plain spot: standard deviations of its 5 x 5 pixels, and photons beyond 3 x 3 over those within.
LEAST_DEVIANCE, LEAST_WIDTH = 8.0, 0.25
# Rows and columns of the ring around a spot whose middle is its background.
INNER, OUTER, FEWEST_AROUND = 7, 9, 32
# Pixels between peaks that are one.
SAME = 3.0
LARGEST = 2**31 - 1


def peaks_of(
    model: Applied,
    image: NDArray[np.int32],
    mask: NDArray[np.bool_],
    marked: Marked | None = None,
    radius: NDArray[np.floating] | None = None,
    centre: tuple[float, float] | None = None,
) -> tuple[Peaks, Peaks]:
    """Return all peaks of a frame, and those that stand out of their surroundings.

    `marked` is the same frame with its dead pixels marked, where it is at hand; `radius`
    [ss, fs] is in pixels from the beam, where that is known, and `centre` (fs, ss) its place on one
    flat panel.
    """
    seen = model.candidates(image, mask, marked)
    every = model.accepted(seen)
    known = radius if len(every.score) >= FEWEST else None
    kept = outstanding(every, image, mask, known, centre)
    refused = seen.place[model.refused(seen)]
    plain = refused[_is_plain(refused, image, mask)]
    for edge, dimmed in LOOKS:
        plain = plain[~_beside(plain, kept.place)]
        if len(plain) < FEWEST:
            break
        photons, live = _from_afar(image, mask, edge, dimmed)
        found = outstanding(model.peaks(photons, live), photons, live)
        new = Peaks(found.place * edge, found.intensity * dimmed, found.score)
        take = ~_beside(new.place, kept.place) & _beside(new.place, plain)
        new = outstanding(new.rows(take), image, mask, radius)
        every, kept = _joined(every, new), _joined(kept, new)
    return every, kept


def _joined(first: Peaks, second: Peaks) -> Peaks:
    return Peaks(*(np.concatenate(columns) for columns in zip(first, second, strict=True)))


def _beside(place: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which places [n, 2] have one of others near by."""
    near = np.zeros(len(place), dtype=bool)
    near[pairs_within(place, others, SAME)[0]] = True
    return near


def _is_plain(
    place: NDArray[np.float64], image: NDArray[np.int32], mask: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which places are spots beyond doubt, and wide ones."""
    at = np.floor(place).astype(np.int64)
    return np.asarray(_plain(image, mask, at[:, 1], at[:, 0], LEAST_DEVIANCE, LEAST_WIDTH))


def _from_afar(
    image: NDArray[np.int32], mask: NDArray[np.bool_], edge: int, dimmed: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return a frame summed and dimmed; squares with a dead pixel are dead."""
    if edge == 1:
        return np.asarray((image + dimmed // 2) // dimmed, dtype=np.int32), mask
    return _squares(image, mask, edge, dimmed, LARGEST)


@njit(cache=True, nogil=True)
def _squares(image: Any, mask: Any, edge: int, dimmed: int, largest: int) -> Any:
    """Return the photons of each square over a number, and which squares are live as a whole.

    What squares at the end of a row or column lack is dead.
    """
    n_ss, n_fs = image.shape
    shape = ((n_ss + edge - 1) // edge, (n_fs + edge - 1) // edge)
    photons, live = np.zeros(shape, np.int32), np.zeros(shape, np.bool_)
    total, pixels = np.empty(n_fs, np.int64), np.empty(n_fs, np.int64)
    for i in range(shape[0]):
        total[:] = 0
        pixels[:] = 0
        for row in range(i * edge, min((i + 1) * edge, n_ss)):
            counts, alive = image[row], mask[row]
            for k in range(n_fs):
                total[k] += counts[k]
                pixels[k] += alive[k]
        for j in range(shape[1]):
            light, whole = 0, 0
            for k in range(j * edge, min((j + 1) * edge, n_fs)):
                light += total[k]
                whole += pixels[k]
            photons[i, j] = min((light + dimmed // 2) // dimmed, largest)
            live[i, j] = whole == edge * edge
    return photons, live


@njit(cache=True, nogil=True)
def _plain(image: Any, mask: Any, rows: Any, columns: Any, least: float, width: float) -> Any:
    """Return which places stand out so much of the ring around, by 5 x 5 pixels, and are so wide.

    The least by which they must stand out is in standard deviations.
    """
    found = np.zeros(len(rows), np.bool_)
    ring = np.empty((4, (2 * OUTER + 1) ** 2))
    for k in range(len(rows)):
        near, wide, near_live, wide_live = 0.0, 0.0, 0, 0
        for i in range(max(rows[k] - 2, 0), min(rows[k] + 3, image.shape[0])):
            for j in range(max(columns[k] - 2, 0), min(columns[k] + 3, image.shape[1])):
                if not mask[i, j]:
                    continue
                if max(abs(i - rows[k]), abs(j - columns[k])) <= 1:
                    near += image[i, j]
                    near_live += 1
                else:
                    wide += image[i, j]
                    wide_live += 1
        pixels = near_live + wide_live
        if _is_among_brighter(image, mask, rows[k], columns[k], near + wide, pixels, least):
            continue
        around = surroundings(image, mask, rows[k], columns[k], INNER, OUTER, ring)
        if len(around) < FEWEST_AROUND:
            continue
        level = np.median(around) + 0.05
        within = near - level * near_live
        if within > 0 and deviance(near + wide, level * pixels) >= least:
            found[k] = (wide - level * wide_live) / within >= width
    return found


@njit(cache=True, nogil=True)
def _is_among_brighter(
    image: Any, mask: Any, row: int, column: int, photons: float, pixels: int, least: float
) -> bool:
    """Return whether more than half of the ring, all of it live, is too bright for such a place.

    Then so is the median of the ring, or that of its brightest quarter: no medians are needed for
    most places. False says nothing.
    """
    n_ss, n_fs = image.shape
    if row < OUTER or column < OUTER or row >= n_ss - OUTER or column >= n_fs - OUTER:
        return False
    # A background from which on the place does not stand out, by roots of counts.
    dark = (photons - least * np.sqrt(photons) + 0.375 * least * least) / max(pixels, 1)
    if dark <= 0.05 or deviance(photons, dark * pixels) >= 0.999 * least:
        return False
    limit = dark - 0.05
    brighter, live = np.int64(0), np.int64(0)
    for i in range(row - OUTER, row + OUTER + 1):
        for j in range(column - OUTER, column + OUTER + 1):
            if max(abs(i - row), abs(j - column)) >= INNER:
                live += np.int64(mask[i, j])
                brighter += np.int64(image[i, j] > limit)
    whole = (2 * OUTER + 1) ** 2 - (2 * INNER - 1) ** 2
    return bool(live == whole and brighter > whole // 2)
