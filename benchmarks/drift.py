"""False alarms and delays of the watch for drift (`spotmill.inference.drift`), by simulation.

    python benchmarks/drift.py --runs 100

Prints tables as docs/watch.md has them. Frames: 30 % hits; background log-normal, 10 % wide;
photon energy and camera length with the standard deviations that single frames have (300 eV,
15 mm, docs/energy-and-length.md), told in two of three frames; strangeness gamma-distributed.
"""

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np

from spotmill.inference.drift import BLOCK, FALSE_ALARMS, QUANTITIES, Charts

Stream = dict[str, np.ndarray]


def quiet(rng: np.random.Generator, n: int, hit_rate: float = 0.3) -> Stream:
    """Return frames without any change."""
    told = rng.uniform(size=n) < 2 / 3
    return {
        "is_hit": (rng.uniform(size=n) < hit_rate).astype(float),
        "background": 0.03 * np.exp(rng.normal(0, 0.1, n)),
        "photon_energy": np.where(told, rng.normal(7000, 300, n), np.nan),
        "clen": np.where(told, rng.normal(0.15, 0.015, n), np.nan),
        "out_of_distribution": rng.gamma(9, 0.08, n),
    }


def flicker(rng: np.random.Generator, n: int, frames: float, share: float) -> np.ndarray:
    """Return a normal sequence of which a share of the variance is correlated over frames."""
    keep = np.exp(-1 / frames)
    slow = np.empty(n)
    value = rng.normal()
    for at, step in enumerate(rng.normal(0, np.sqrt(1 - keep**2), n)):
        value = keep * value + step
        slow[at] = value
    return np.sqrt(share) * slow + np.sqrt(1 - share) * rng.normal(size=n)


def flickering(rng: np.random.Generator, n: int, frames: float, share: float) -> Stream:
    """Return frames of a jet that flickers: background and hit rate are correlated in time."""
    stream = quiet(rng, n)
    stream["background"] = 0.03 * np.exp(0.1 * flicker(rng, n, frames, share))
    rate = 0.3 * np.exp(0.3 * flicker(rng, n, frames, 1.0))
    stream["is_hit"] = (rng.uniform(size=n) < np.minimum(rate, 1)).astype(float)
    return stream


def alarms(stream: Stream, block: int, wanted: float) -> list:
    n = len(stream["is_hit"])
    charts = Charts(block, wanted)
    return charts.add(stream, np.arange(n), np.arange(n) / 100.0)


def rate(make: Callable[[np.random.Generator, int], Stream], args, n: int, block: int) -> str:
    """Return alarms per 10 000 frames, in all and by quantity."""
    counts: Counter[str] = Counter()
    for run in range(args.runs):
        found = alarms(make(np.random.default_rng((args.seed, run)), n), block, args.false_alarms)
        counts.update(one.quantity for one in found)
    per = 10_000 / (n * args.runs)
    by = ", ".join(f"{q.words} {counts[q.name] * per:.3f}" for q in QUANTITIES)
    return f"{counts.total() * per:.3f} ({counts.total()} in {n * args.runs} frames; {by})"


CHANGES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "background by 1 σ (10 %)": ("background", lambda x: x * np.exp(0.1)),
    "background by ½ σ (5 %)": ("background", lambda x: x * np.exp(0.05)),
    "hit rate 30 % to 10 %": ("is_hit", lambda x: x),
    "photon energy by 200 eV": ("photon_energy", lambda x: x + 200),
    "camera length by 10 mm": ("clen", lambda x: x + 0.010),
    "camera length by 5 mm": ("clen", lambda x: x + 0.005),
    "strangeness by 1 σ (0.24)": ("out_of_distribution", lambda x: x + 0.24),
}


def delay(name: str, args, before: int, block: int, after: int = 5000) -> str:
    """Return frames from a change to its alarm: median, 95 %; and how exactly since when."""
    column, change = CHANGES[name]
    delays, offs, missed = [], [], 0
    for run in range(args.runs):
        rng = np.random.default_rng((args.seed, 7, run))
        stream = quiet(rng, before + after)
        stream[column][before:] = change(stream[column][before:])
        if column == "is_hit":
            stream[column][before:] = rng.uniform(size=after) < 0.1
        found = [
            one
            for one in alarms(stream, block, args.false_alarms)
            if one.quantity == column and one.told >= before
        ]
        if found:
            delays.append(found[0].told - before)
            offs.append(abs(found[0].since - before))
        else:
            missed += 1
    if not delays:
        return f"none in {after}"
    words = f"{np.median(delays):.0f} ({np.quantile(delays, 0.95):.0f})"
    words += f", since within {np.median(offs):.0f}"
    return words + (f", missed {missed} of {args.runs}" if missed else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--blocks", type=int, nargs="+", default=[BLOCK])
    parser.add_argument("--false-alarms", type=float, default=FALSE_ALARMS)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for block in args.blocks:
        print(f"blocks of {block} frames; wanted: {args.false_alarms} alarms per 10 000 frames")
        print("no change:", rate(quiet, args, args.frames, block))
        print("2 % hits:", rate(lambda r, n: quiet(r, n, 0.02), args, args.frames, block))
        for frames, share in ((5, 0.5), (50, 0.5), (500, 0.5)):
            jet = rate(
                lambda r, n, f=frames, s=share: flickering(r, n, f, s), args, args.frames, block
            )
            print(f"a jet that flickers over {frames} frames:", jet)
        for before in (500, 2000, 20_000):
            for name in CHANGES:
                print(f"after {before}: {name}:", delay(name, args, before, block))


if __name__ == "__main__":
    main()
