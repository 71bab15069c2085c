"""Arguments that several commands share, with one meaning everywhere."""

import argparse
from pathlib import Path


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add the scanned scalars of a dataset."""
    parser.add_argument("--dataset", required=True, help="name of the dataset")
    parser.add_argument("--photon-energy", type=float, required=True, help="eV")
    parser.add_argument("--clen", type=float, required=True, help="camera length, m")


def add_frames(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the range of frames and the seed."""
    parser.add_argument("--first", type=int, required=required, help="index of the first frame")
    parser.add_argument("--count", type=int, required=required, help="number of frames")
    parser.add_argument("--seed", type=int, required=True, help="seed of everything drawn")


def add_randomise(parser: argparse.ArgumentParser) -> None:
    """Add `--randomise`."""
    parser.add_argument(
        "--randomise", type=Path, help="what differs from frame to frame (default: nothing)"
    )


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--output`."""
    parser.add_argument("--output", type=Path, required=True, help=what)
