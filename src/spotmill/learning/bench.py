"""Training one task many times under other settings: frames are opened and read once.

Nothing of the test side is there: its rows are dropped where the split is read, so that no
image, truth or table of a test frame can be asked for.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.learning.callbacks import watched
from spotmill.learning.encoders import EncodedFrames, Encoder
from spotmill.learning.frames import Images
from spotmill.learning.registry import model_module
from spotmill.tasks import Task

SIDES = ("train", "validation")
# Kinds of encoded frames kept at once, and bytes of images.
ENCODINGS = 4
ROOM = 2_000_000_000


class Pruned(Exception):
    """A training was ended, as it does worse than others did."""


class Diverged(Exception):
    """A training was ended, as its loss is not finite."""


@dataclass(frozen=True)
class Outcome:
    """What a training came to, on validation: the lower the value the better.

    `value` is the lowest loss, or for peaks 1 - F1 at the best threshold.
    """

    value: float
    best_epoch: int
    epochs: int


class KeptImages:
    """Images that are read once: of each the pixels that are not 0 stay in memory."""

    def __init__(self, images: Images, room: int = ROOM) -> None:
        self._images, self._room = images, room
        self._kept: dict[int, tuple[Any, ...]] = {}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def read(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return image [ss, fs] and mask of a row."""
        if number in self._kept:
            shape, kind, pixels, photons, mask = self._kept[number]
            image = np.zeros(shape, kind)
            image.ravel()[pixels] = photons
            return image, mask
        image, mask = self._images.read(number)
        pixels = np.flatnonzero(image).astype(np.int32)
        photons = image.ravel()[pixels]
        size = pixels.nbytes + photons.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[number] = (image.shape, image.dtype, pixels, photons, mask)
        return image, mask


class Bench:
    """Trains a task under other settings, on the same frames.

    Attributes
    ----------
    n
        Frames of each side.
    """

    def __init__(self, task: Task, split: Path, geometry: Path, source: str) -> None:
        from spotmill.learning.peaks import open_peaks
        from spotmill.learning.setup import open_task

        self._source = source
        self._encoded: OrderedDict[tuple[str, str], tuple[EncodedFrames, Encoder]] = OrderedDict()
        self._families: dict[int, Any] = {}
        opened = open_peaks if task.target == "peaks" else open_task
        setup: Any = opened(task, split, geometry, source, SIDES)
        self._setup = replace(setup, images=KeptImages(setup.images))
        self._rows = tuple(setup.frames.rows(side) for side in SIDES)
        self.n = {side: len(rows) for side, rows in zip(SIDES, self._rows, strict=True)}

    def train(self, task: Task, watch: Callable[[dict[str, float]], None]) -> Outcome:
        """Train the task as it is given here; `watch` is told every epoch's row.

        Raises
        ------
        Diverged
            When a loss is not finite.
        SpotmillError
            When frames cannot be read, or the network cannot be built.
        """

        def look(row: dict[str, float]) -> None:
            if not all(math.isfinite(value) for value in row.values()):
                raise Diverged
            watch(row)

        with watched(look):
            if task.target == "peaks":
                return self._train_peaks(task)
            return self._train(task)

    def _train(self, task: Task) -> Outcome:
        from spotmill.learning.candidate_truth import candidate_truth
        from spotmill.learning.regression import fit_values
        from spotmill.learning.training import fit
        from spotmill.learning.values import Quantity, family_of, values_of

        setup = self._setup
        frames, train = setup.frames, self._rows[0]
        encoded, encoder = self._encodings(task)
        dimensions = replace(setup.dimensions, shape=encoder.shape)
        if task.scale == "values":
            bins = encoder.shape[-1]
            if bins not in self._families:
                own = replace(setup, task=task, encoder=encoder)
                self._families[bins] = family_of(own, train, self._source)
            trained = fit_values(
                task,
                encoded,
                self._rows,
                values_of(frames),
                Quantity(task.target).column,
                self._families[bins],
                dimensions,
                self._source,
            )
        else:
            trained = fit(
                task,
                encoded,
                self._rows,
                frames.truth,
                setup.condition,
                dimensions,
                self._source,
                candidates=candidate_truth(
                    task, replace(setup, dimensions=dimensions), encoded, self._source
                ),
            )
        value = trained.history[trained.best_epoch]["validation_loss"]
        return Outcome(value, trained.best_epoch, len(trained.history))

    def _encodings(self, task: Task) -> tuple[EncodedFrames, Encoder]:
        """Return the frames as a task's encoder gives them, made anew only where it differs."""
        module = model_module(task.model)
        settings = module.Settings.parse(task.settings, f"{self._source}: settings")
        names = getattr(module, "ENCODED", tuple(type(settings).model_fields))
        key = (task.input.model_dump_json(), settings.model_dump_json(include=set(names)))
        if key not in self._encoded:
            if len(self._encoded) == ENCODINGS:
                self._encoded.popitem(last=False)
            encoder = module.encoder(settings, task.input, self._setup.view)
            frames = EncodedFrames(self._setup.images, encoder, self._setup.frames.truth)
            self._encoded[key] = (frames, encoder)
        self._encoded.move_to_end(key)
        return self._encoded[key]

    def _train_peaks(self, task: Task) -> Outcome:
        from spotmill.learning.peak_results import Finder, counted, threshold_of
        from spotmill.learning.peak_training import fit_peaks
        from spotmill.physics.peak_scoring import f1_of

        setup = replace(self._setup, task=task)
        trained = fit_peaks(setup, self._source)
        network: Any = trained.network
        rows = self._rows[1].tolist()
        truth = {row: setup.strong(row) for row in rows}
        finder = Finder(task.model, "model", "", network.find)
        for row in rows:
            finder.found[row] = network.find(*setup.images.read(row))
        counts = counted(finder, threshold_of(finder, truth, rows), truth, rows)
        value = 1 - f1_of(*(float(part.sum()) for part in counts))
        return Outcome(value, trained.best_epoch, len(trained.history))
