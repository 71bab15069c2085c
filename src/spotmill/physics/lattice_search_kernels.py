"""Compiled loops of the search for a lattice (`physics/lattice_search`)."""

import math
from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def window_sums(values: Any, mask: Any) -> Any:
    """Return the sums over the live ones of the 3 x 3 pixels around each live pixel."""
    n_ss, n_fs = values.shape
    sums = np.zeros_like(values)
    for ss in range(n_ss):
        for fs in range(n_fs):
            if values[ss, fs] == 0 or not mask[ss, fs]:
                continue
            for a in range(max(ss - 1, 0), min(ss + 2, n_ss)):
                for b in range(max(fs - 1, 0), min(fs + 2, n_fs)):
                    if mask[a, b]:
                        sums[a, b] += values[ss, fs]
    return sums


@njit(cache=True)
def seeds(image: Any, mask: Any, counts: Any) -> Any:
    """Return ss, fs of lit pixels whose window holds two photons and is the fullest nearby."""
    n_ss, n_fs = image.shape
    rows = np.empty((image.size // 9 + 1, 2), np.int64)
    found = 0
    for ss in range(n_ss):
        for fs in range(n_fs):
            if image[ss, fs] == 0 or not mask[ss, fs] or counts[ss, fs] < 2:
                continue
            best = True
            for a in range(max(ss - 1, 0), min(ss + 2, n_ss)):
                for b in range(max(fs - 1, 0), min(fs + 2, n_fs)):
                    before = a < ss or (a == ss and b < fs)
                    more = counts[a, b] > counts[ss, fs]
                    if image[a, b] > 0 and (more or (before and counts[a, b] == counts[ss, fs])):
                        best = False
            if best:
                rows[found, 0], rows[found, 1] = ss, fs
                found += 1
    return rows[:found]


@njit(cache=True)
def best_pairs(
    low: Any, high: Any, counts: Any, window: Any, factor: Any, length: Any, photons: Any, most: int
) -> tuple[Any, Any, Any]:
    """Return score, seed and reflection of the likeliest pairs, at most `most`."""
    room = 1 << 20
    score = np.empty(room)
    which = np.empty(room, np.int64)
    row = np.empty(room, np.int64)
    found, least = 0, 0.0
    for i in range(low.size):
        first = np.searchsorted(length, low[i])
        last = np.searchsorted(length, high[i])
        for j in range(first, last):
            mean = photons[j] * factor[i]
            value = counts[i] * math.log1p(mean / window[i]) - mean
            if value <= least:
                continue
            if found == room:
                order = np.argsort(-score)[:most]
                score[: len(order)] = score[order]
                which[: len(order)] = which[order]
                row[: len(order)] = row[order]
                found = len(order)
                least = score[found - 1]
            score[found], which[found], row[found] = value, i, j
            found += 1
    order = np.argsort(-score[:found], kind="mergesort")[:most]
    return score[order], which[order], row[order]


@njit(cache=True)
def _frame(v: Any) -> Any:
    """Return rows v, e1, e2: a right-handed frame, e1 in the plane of v and z."""
    rows = np.empty((3, 3))
    rows[0] = v
    other = np.array([0.0, 0.0, 1.0]) if abs(v[2]) < 0.999 else np.array([1.0, 0.0, 0.0])
    e1 = other - (other @ v) * v
    rows[1] = e1 / np.sqrt(e1 @ e1)
    rows[2] = np.cross(v, rows[1])
    return rows


@njit(cache=True)
def turn(direction: Any, vector: Any, angle: float) -> Any:
    """Return the rotation [3, 3] that brings `vector` onto `direction`, turned by `angle`."""
    lab = _frame(direction)
    own = _frame(vector / np.sqrt(vector @ vector))
    c, s = math.cos(angle), math.sin(angle)
    about = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    return lab.T @ about @ own


@njit(cache=True)
def _gain(
    x: float,
    y: float,
    z: float,
    wavenumber: float,
    photons: float,
    polarisation: float,
    plane: Any,
    counts: Any,
    log_window: Any,
) -> float:
    """Return what the window where a turned reflection falls says for it."""
    dx, dy, dz = x / wavenumber, y / wavenumber, z / wavenumber + 1.0
    if dz <= 0.0:
        return 0.0
    column = math.floor((dx / dz - plane.x) / plane.step)
    line = math.floor((dy / dz - plane.y) / plane.step)
    if not (0 <= line < plane.pixel.shape[0] and 0 <= column < plane.pixel.shape[1]):
        return 0.0
    pixel = plane.pixel[line, column]
    if pixel < 0:
        return 0.0
    mean = photons
    if polarisation >= 0.0:
        mean *= polarisation * (1 - dx * dx) + (1 - polarisation) * (1 - dy * dy)
    n = counts[pixel]
    if n == 0:
        return -mean
    return n * math.log1p(mean * math.exp(-log_window[pixel])) - mean


@njit(cache=True)
def spin(
    directions: Any,
    reflections: Any,
    vectors: Any,
    photons: Any,
    low: float,
    high: float,
    polarisation: float,
    plane: Any,
    counts: Any,
    log_window: Any,
    step: float,
) -> tuple[Any, Any]:
    """Turn each pair about its vector; return the best sum of gains and its angle."""
    bins = math.ceil(2 * math.pi / step)
    step = 2 * math.pi / bins
    flat, logs = counts.ravel(), log_window.ravel()
    best, angle = np.empty(len(directions)), np.empty(len(directions))
    total = np.empty(bins)
    for i in range(len(directions)):
        total[:] = 0.0
        lab = _frame(directions[i])
        own = vectors[reflections[i]]
        own = _frame(own / np.sqrt(own @ own))
        for j in range(len(vectors)):
            v = vectors[j]
            a = own[0, 0] * v[0] + own[0, 1] * v[1] + own[0, 2] * v[2]
            b = own[1, 0] * v[0] + own[1, 1] * v[1] + own[1, 2] * v[2]
            c = own[2, 0] * v[0] + own[2, 1] * v[1] + own[2, 2] * v[2]
            across = math.sqrt(b * b + c * c)
            half = 0.5 * (a * a + across * across)
            lever = across * lab[1, 2]
            if lever <= 1e-9:
                continue
            near = (-half / low - a * lab[0, 2]) / lever
            far = (-half / high - a * lab[0, 2]) / lever
            if near >= 1.0 or far <= -1.0:
                continue
            start = math.acos(min(far, 1.0))
            stop = math.acos(max(near, -1.0))
            own_angle = math.atan2(c, b)
            for side in range(2):
                first = (start if side == 0 else -stop) - own_angle
                last = (stop if side == 0 else -start) - own_angle
                for k in range(math.floor(first / step), math.floor(last / step) + 1):
                    u = (k + 0.5) * step + own_angle
                    p, q = across * math.cos(u), across * math.sin(u)
                    z = a * lab[0, 2] + p * lab[1, 2]
                    wavenumber = min(max(-half / min(z, -1e-9), low), high)
                    x = a * lab[0, 0] + p * lab[1, 0] + q * lab[2, 0]
                    y = a * lab[0, 1] + p * lab[1, 1] + q * lab[2, 1]
                    total[k % bins] += _gain(
                        x, y, z, wavenumber, photons[j], polarisation, plane, flat, logs
                    )
        k = int(np.argmax(total))
        best[i], angle[i] = total[k], (k + 0.5) * step
    return best, angle


@njit(cache=True)
def small_turn(v: Any) -> Any:
    """Return the rotation [3, 3] by a small vector (rad; Rodrigues)."""
    size = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    if size < 1e-15:
        return np.eye(3)
    x, y, z = v[0] / size, v[1] / size, v[2] / size
    c, s = math.cos(size), math.sin(size)
    d = 1.0 - c
    return np.array(
        [
            [c + x * x * d, x * y * d - z * s, x * z * d + y * s],
            [y * x * d + z * s, c + y * y * d, y * z * d - x * s],
            [z * x * d - y * s, z * y * d + x * s, c + z * z * d],
        ]
    )


@njit(cache=True)
def _sum_of_gains(
    turn: Any,
    vectors: Any,
    photons: Any,
    low: float,
    high: float,
    polarisation: float,
    plane: Any,
    counts: Any,
    logs: Any,
) -> float:
    """Return the sum of gains of one orientation."""
    total = 0.0
    for j in range(len(vectors)):
        v = vectors[j]
        z = turn[2, 0] * v[0] + turn[2, 1] * v[1] + turn[2, 2] * v[2]
        if z >= 0.0:
            continue
        wavenumber = -0.5 * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) / z
        if wavenumber < low or wavenumber >= high:
            continue
        x = turn[0, 0] * v[0] + turn[0, 1] * v[1] + turn[0, 2] * v[2]
        y = turn[1, 0] * v[0] + turn[1, 1] * v[1] + turn[1, 2] * v[2]
        total += _gain(x, y, z, wavenumber, photons[j], polarisation, plane, counts, logs)
    return total


@njit(cache=True)
def climb(
    turn: Any,
    steps: Any,
    reach: float,
    vectors: Any,
    photons: Any,
    low: float,
    high: float,
    polarisation: float,
    plane: Any,
    counts: Any,
    log_window: Any,
) -> tuple[float, Any]:
    """Try small turns that shrink, keep what is better; return the score and the rotation."""
    flat, logs = counts.ravel(), log_window.ravel()
    best = _sum_of_gains(turn, vectors, photons, low, high, polarisation, plane, flat, logs)
    for i in range(len(steps)):
        tried = small_turn(reach * steps[i]) @ turn
        value = _sum_of_gains(tried, vectors, photons, low, high, polarisation, plane, flat, logs)
        if value > best:
            best, turn = value, tried
        reach *= 0.96
    return best, turn


@njit(cache=True)
def ratio(image: Any, pixel: Any, signal: Any, background: Any) -> float:
    """Return the sum over deposits, as if each pixel had one, of n log(1 + s/b) - s."""
    total = 0.0
    for i in range(pixel.size):
        total -= signal[i]
        if image[pixel[i]] > 0:
            total += image[pixel[i]] * math.log1p(signal[i] / background[pixel[i]])
    return total
