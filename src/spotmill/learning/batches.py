"""Which frames make a batch, in which order, and which process gets which of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.streams import as_it_is

Expect = Callable[[Sequence[int]], None]


class InOrder(Sampler[int]):
    """Some rows, as they stand."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows: Sequence[int] = rows.tolist()

    def order(self) -> Sequence[int]:
        """Return the rows in the order in which they come."""
        return self._rows

    def __iter__(self) -> Iterator[int]:
        """Yield the rows."""
        return iter(self.order())

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


class ShuffledOn(Shuffled):
    """The numbers below a count in the orders that one generator draws, epoch after epoch."""

    def __init__(self, count: int, seed: int) -> None:
        super().__init__(np.arange(count), seed)
        self._drawn = -1
        self._order: Sequence[int] = []

    def order(self) -> Sequence[int]:
        """Return the numbers, shuffled; after a resume earlier orders are drawn again."""
        if self._drawn > self._epoch or self._drawn < 0:
            self._rng, self._drawn = np.random.default_rng([self._seed, 3]), -1
        while self._drawn < self._epoch:
            self._order = self._rng.permutation(len(self)).tolist()
            self._drawn += 1
        return self._order


class Batches(Sampler[list[int]]):
    """Rows in batches, shared out among the processes that train together.

    Of every batch process r of n takes the places r, r + n, …, so that together they take the
    steps that one process would take, and none takes a row twice. Where a batch has less rows
    than processes, its first row stands in for those that have none: it counts for nothing.

    Parameters
    ----------
    even
        Whether batches differ by one row at most; else all but the last have `size`.
    expect
        Who is told this process's rows in their order whenever they are about to be yielded.
    """

    def __init__(
        self, rows: InOrder, size: int, even: bool = False, expect: Expect | None = None
    ) -> None:
        # Lightning tells the epoch to what is called sampler.
        self.sampler = rows
        self._size, self._even, self._expect = size, even, expect

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.sampler) // self._size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's rows of every batch."""
        # Not before the first is asked for: only then does a resumed run know its epoch.
        parts = self.parts(*among())
        if self._expect is not None:
            self._expect([row for part in parts for row in part])
        yield from parts

    def parts(self, process: int, processes: int) -> list[list[int]]:
        """Return the rows that a process gets of every batch."""
        order, parts, at = self.sampler.order(), [], 0
        for number in range(len(self)):
            batch = order[at : at + self.whole(number)]
            at += len(batch)
            parts.append(list(batch[process::processes]) or [batch[0]])
        return parts

    def whole(self, number: int) -> int:
        """Return how many rows a batch has in all processes together."""
        count, batches = len(self.sampler), len(self)
        if self._even:
            return count // batches + (number < count % batches)
        return min(self._size, count - number * self._size)

    def counts(self, number: int) -> bool:
        """Return whether this process has rows of its own in a batch."""
        return among()[0] < self.whole(number)


def among() -> tuple[int, int]:
    """Return the number of this process, and of how many that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class Samples(Dataset[dict[str, Tensor]]):
    """Samples that lie in memory: tensors with one row a sample, by name."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self._tensors.values())))

    def __getitems__(self, numbers: list[int]) -> dict[str, Tensor]:
        """Return a batch."""
        return {name: values[numbers] for name, values in self._tensors.items()}


def loader(
    frames: EncodedFrames, rows: InOrder, batch_size: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return batches of rows; they come from `EncodedFrames` whole, so nothing is collated.

    The frames learn beforehand in which order they will be asked for, so that their workers
    can read ahead.
    """
    return loaded(frames, Batches(rows, batch_size, expect=frames.expect))


def loaded(source: Dataset[Any], batches: Batches) -> DataLoader[Any]:
    """Return batches of whatever gives a whole batch at once."""
    return DataLoader(source, batch_sampler=batches, collate_fn=as_it_is)
