"""Which side of the split a frame is on: a hash of its identity, so that growing moves none."""

import hashlib
from collections.abc import Collection

from spotmill.config import Split

SIDES = ("train", "validation", "test")


def position(dataset: str, index: int) -> float:
    """Return a number in [0, 1) that depends on a frame's identity alone (BLAKE2b, 64 bits)."""
    digest = hashlib.blake2b(f"{dataset}/{index}".encode(), digest_size=8).digest()
    # 53 bits, so that the quotient is exact in double precision and never rounds up to 1.
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


def side(dataset: str, index: int, shares: Split) -> str:
    """Return `train`, `validation` or `test` for a frame."""
    place = position(dataset, index)
    if place < shares.train:
        return "train"
    return "validation" if place < shares.train + shares.validation else "test"


def side_in_task(
    dataset: str, index: int, shares: Split, hold_out: Collection[str] = ()
) -> str | None:
    """Return the side of a frame in a task that holds datasets out; None leaves the frame out.

    All frames of held-out datasets are test frames. Test frames of the others are left out and
    not trained on: whatever is trained, a frame that is for testing elsewhere stays unseen.
    """
    if dataset in hold_out:
        return "test"
    own = side(dataset, index, shares)
    return None if hold_out and own == "test" else own
