"""Which frames make a batch, in which order."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.streams import as_it_is


class InOrder(Sampler[int]):
    """Some rows, as they stand."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows: Sequence[int] = rows.tolist()
        self._expect: Callable[[Sequence[int]], None] | None = None

    def tell(self, expect: Callable[[Sequence[int]], None]) -> None:
        """Name who is told all rows in their order whenever they are about to be yielded."""
        self._expect = expect

    def order(self) -> Sequence[int]:
        """Return the rows in the order in which they come."""
        return self._rows

    def __iter__(self) -> Iterator[int]:
        """Yield the rows."""
        order = self.order()
        if self._expect is not None:
            self._expect(order)
        return iter(order)

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

    def order(self) -> Sequence[int]:
        """Return the rows, shuffled over all shards."""
        rng = np.random.default_rng([self._seed, self._epoch])
        return [self._rows[place] for place in rng.permutation(len(self._rows))]


def loader(
    frames: EncodedFrames, rows: InOrder, batch_size: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return batches of rows; they come from `EncodedFrames` whole, so nothing is collated.

    The frames learn beforehand in which order they will be asked for, so that their workers
    can read ahead.
    """
    rows.tell(frames.expect)
    return DataLoader(frames, batch_size=batch_size, sampler=rows, collate_fn=as_it_is)
