"""Arguments that several commands share, with one meaning everywhere."""

import argparse
from collections.abc import Callable
from pathlib import Path

from spotmill.config import FIRST_EMPTY, NAME
from spotmill.errors import SpotmillError

LARGEST_SEED = 2**63 - 1


def whole(flag: str, low: int, high: int) -> Callable[[str], int]:
    """Return the type of a flag that takes a whole number from low to high, both included."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise SpotmillError(
                f"{flag}: {text[:40]!r} is not a whole number; give one from {low} to {high}"
            ) from error
        if not low <= value <= high:
            raise SpotmillError(f"{flag}: {text[:40]} is not between {low} and {high}; correct it")
        return value

    return number


def dataset_name(text: str) -> str:
    """Return the name of a dataset, or raise SpotmillError where it cannot name a folder."""
    if not NAME.fullmatch(text):
        raise SpotmillError(
            f"--dataset: {text!r} must be letters, digits, - and _ only; choose another name"
        )
    return text


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add the scanned scalars of a dataset."""
    parser.add_argument("--dataset", type=dataset_name, required=True, help="name of the dataset")
    parser.add_argument("--photon-energy", type=float, required=True, help="eV")
    parser.add_argument("--clen", type=float, required=True, help="camera length, m")


def add_frames(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the range of frames and the seed."""
    first, count = whole("--first", 0, 2 * FIRST_EMPTY), whole("--count", 1, FIRST_EMPTY)
    parser.add_argument("--first", type=first, required=required, help="index of the first frame")
    parser.add_argument("--count", type=count, required=required, help="number of frames")
    seed = whole("--seed", 0, LARGEST_SEED)
    parser.add_argument("--seed", type=seed, required=True, help="seed of everything drawn")


def add_hit(parser: argparse.ArgumentParser) -> None:
    """Add what counts as a hit."""
    parser.add_argument(
        "--min-spots",
        type=whole("--min-spots", 1, 10**9),
        default=3,
        help="spots that make a hit (3)",
    )
    parser.add_argument(
        "--min-photons",
        type=whole("--min-photons", 1, 10**9),
        default=5,
        help="photons in each of them (5)",
    )


def add_randomise(parser: argparse.ArgumentParser) -> None:
    """Add `--randomise`."""
    parser.add_argument(
        "--randomise", type=Path, help="what differs from frame to frame (default: nothing)"
    )


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--output`."""
    parser.add_argument("--output", type=Path, required=True, help=what)
