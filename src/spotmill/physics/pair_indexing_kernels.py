"""Compiled loops of `physics/pair_indexing`."""

import math
from typing import Any

import numpy as np
from numba import njit

# An orientation that fewer of the first peaks fit than this is not scored by the others.
FIRST, FEWEST = 20, 3
# Pairs whose directions are nearer than this (sine) fix the turn badly.
LEAST_SINE = 0.15


def allowed_table(code: int) -> Any:
    """Return whether a centring (number in PABCIFRH) allows h, k, l modulo 6, [6, 6, 6]."""
    h, k, m = np.indices((6, 6, 6))
    rules = (
        np.ones((6, 6, 6), bool),
        (k + m) % 2 == 0,
        (h + m) % 2 == 0,
        (h + k) % 2 == 0,
        (h + k + m) % 2 == 0,
        ((h + k) % 2 == 0) & ((h + m) % 2 == 0),
        np.ones((6, 6, 6), bool),
        (-h + k + m) % 3 == 0,
    )
    return np.ascontiguousarray(rules[code])


def allowed(hkl: Any, table: Any) -> Any:
    """Return which reflections [n] a centring allows."""
    return table[tuple(np.asarray(hkl).T % 6)]


@njit(cache=True)
def _place(
    turn: Any, v: Any, basis: Any, direct: Any, table: Any, tolerance: float, band: float
) -> tuple[bool, int, int, int]:
    """Return whether a vector lies at a reflection of a turned lattice, and at which."""
    x = turn[0, 0] * v[0] + turn[1, 0] * v[1] + turn[2, 0] * v[2]
    y = turn[0, 1] * v[0] + turn[1, 1] * v[1] + turn[2, 1] * v[2]
    z = turn[0, 2] * v[0] + turn[1, 2] * v[1] + turn[2, 2] * v[2]
    h = round(direct[0, 0] * x + direct[0, 1] * y + direct[0, 2] * z)
    k = round(direct[1, 0] * x + direct[1, 1] * y + direct[1, 2] * z)
    m = round(direct[2, 0] * x + direct[2, 1] * y + direct[2, 2] * z)
    if (h == 0 and k == 0 and m == 0) or not table[h % 6, k % 6, m % 6]:
        return False, h, k, m
    a = h * basis[0, 0] + k * basis[1, 0] + m * basis[2, 0]
    b = h * basis[0, 1] + k * basis[1, 1] + m * basis[2, 1]
    c = h * basis[0, 2] + k * basis[1, 2] + m * basis[2, 2]
    square = x * x + y * y + z * z
    along = (a * x + b * y + c * z) / square
    across = a * a + b * b + c * c - along * along * square
    if across > tolerance * tolerance:
        return False, h, k, m
    return abs(along - 1.0) <= band + tolerance / math.sqrt(square), h, k, m


@njit(cache=True)
def fits(
    turn: Any, vectors: Any, basis: Any, direct: Any, table: Any, tolerance: float, band: float
) -> tuple[Any, Any]:
    """Return which vectors [n] lie at reflections of a turned lattice, and these [n, 3]."""
    found = np.zeros(len(vectors), np.bool_)
    hkl = np.zeros((len(vectors), 3), np.int64)
    for i in range(len(vectors)):
        found[i], hkl[i, 0], hkl[i, 1], hkl[i, 2] = _place(
            turn, vectors[i], basis, direct, table, tolerance, band
        )
    return found, hkl


@njit(cache=True)
def _frame(a: Any, b: Any, frame: Any) -> bool:
    """Fill in a right-handed frame [3, 3] (columns) between two vectors; False if parallel."""
    length_a = math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])
    length_b = math.sqrt(b[0] * b[0] + b[1] * b[1] + b[2] * b[2])
    for i in range(3):
        frame[i, 0] = a[i] / length_a + b[i] / length_b
        frame[i, 1] = a[i] / length_a - b[i] / length_b
    first = math.sqrt(frame[0, 0] ** 2 + frame[1, 0] ** 2 + frame[2, 0] ** 2)
    second = math.sqrt(frame[0, 1] ** 2 + frame[1, 1] ** 2 + frame[2, 1] ** 2)
    if min(first, second) < LEAST_SINE:
        return False
    for i in range(3):
        frame[i, 0] /= first
        frame[i, 1] /= second
    frame[0, 2] = frame[1, 0] * frame[2, 1] - frame[2, 0] * frame[1, 1]
    frame[1, 2] = frame[2, 0] * frame[0, 1] - frame[0, 0] * frame[2, 1]
    frame[2, 2] = frame[0, 0] * frame[1, 1] - frame[1, 0] * frame[0, 1]
    return True


@njit(cache=True)
def propose(
    chosen: Any,
    scored: Any,
    gain: Any,
    vectors: Any,
    lengths: Any,
    firsts: Any,
    basis: Any,
    direct: Any,
    table: Any,
    tolerance: float,
    band: float,
) -> tuple[Any, Any]:
    """Return, for each pair [m, 2] of peaks, the best score [m] and its turn [m, 3, 3]."""
    best, turns = np.zeros(len(chosen)), np.zeros((len(chosen), 3, 3))
    lab, own, turn = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    first_lengths = lengths[firsts]
    for pair in range(len(chosen)):
        one, two = scored[chosen[pair, 0]], scored[chosen[pair, 1]]
        if not _frame(one, two, lab):
            continue
        long_1, long_2 = math.sqrt((one * one).sum()), math.sqrt((two * two).sum())
        reach_1, reach_2 = band * long_1 + tolerance, band * long_2 + tolerance
        start = np.searchsorted(first_lengths, long_1 - reach_1)
        stop = np.searchsorted(first_lengths, long_1 + reach_1)
        low = np.searchsorted(lengths, long_2 - reach_2)
        high = np.searchsorted(lengths, long_2 + reach_2)
        angle = math.acos(min(max((one * two).sum() / long_1 / long_2, -1.0), 1.0))
        slack = tolerance / long_1 + tolerance / long_2
        least, most = math.cos(min(angle + slack, math.pi)), math.cos(max(angle - slack, 0.0))
        for p in range(start, stop):
            a = vectors[firsts[p]]
            for q in range(low, high):
                b = vectors[q]
                cosine = (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / (first_lengths[p] * lengths[q])
                if cosine < least or cosine > most or not _frame(a, b, own):
                    continue
                for m in range(3):
                    for n in range(3):
                        turn[m, n] = (
                            lab[m, 0] * own[n, 0] + lab[m, 1] * own[n, 1] + lab[m, 2] * own[n, 2]
                        )
                score, fitting = 0.0, 0
                for k in range(len(scored)):
                    if k == FIRST and fitting < FEWEST:
                        break
                    if _place(turn, scored[k], basis, direct, table, tolerance, band)[0]:
                        score += gain[k]
                        fitting += 1
                if score > best[pair]:
                    best[pair] = score
                    turns[pair] = turn
    return best, turns
