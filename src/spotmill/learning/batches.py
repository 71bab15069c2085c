"""Which frames make a batch, in which order."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from spotmill.learning.encoders import EncodedFrames


class InOrder(Sampler[int]):
    """Some rows, as they stand."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows: Sequence[int] = rows.tolist()

    def __iter__(self) -> Iterator[int]:
        """Yield the rows."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return their number."""
        return len(self._rows)


class Shuffled(InOrder):
    """Some rows in an order that depends on seed and epoch alone, so a resume repeats it."""

    def __init__(self, rows: NDArray[np.int64], seed: int) -> None:
        super().__init__(rows)
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch; Lightning calls it."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield the rows, shuffled."""
        rng = np.random.default_rng([self._seed, self._epoch])
        return iter([self._rows[place] for place in rng.permutation(len(self._rows))])


def loader(
    frames: EncodedFrames, rows: InOrder, batch_size: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return batches of rows; they come from `EncodedFrames` whole, so nothing is collated."""
    return DataLoader(frames, batch_size=batch_size, sampler=rows, collate_fn=as_it_is)


def as_it_is(batch: Any) -> Any:
    """Return what it is given."""
    return batch
