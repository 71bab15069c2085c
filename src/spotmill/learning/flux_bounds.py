"""What counting statistics allow on the frames of a task: the blind and the oracle bound."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.reflections import read_reflections
from spotmill.learning.dimmed import DimmedFrames
from spotmill.physics.conditions import Conditions, draw_conditions
from spotmill.physics.detection import (
    count_photons,
    gather_signals,
    oracle_score,
    zones_of,
)
from spotmill.physics.pattern import Scene, make_pattern
from spotmill.physics.reflections import Reflections
from spotmill.provenance.scene import scene_of
from spotmill.randomise import Randomise

# Zones of the blind test, photons that it tells apart, patterns that it learns signals from.
ZONES, MOST, PATTERNS = 16, 12, 100


class Lit(NamedTuple):
    """Flat numbers of the pixels with signal and their expected photons at full flux."""

    pixel: NDArray[np.int64]
    photons: NDArray[np.float64]


class Dataset(NamedTuple):
    """What the bounds know of a dataset; `number` numbers the live pixels, -1 for others."""

    background: NDArray[np.float64]
    number: NDArray[np.int64]
    zone: NDArray[np.int64]
    weights: list[NDArray[np.float64]]  # of the blind test, at each flux


class Bounds:
    """Scores rows of frames as the blind and the oracle test do.

    Parameters
    ----------
    frames
        All rows of the task.
    water, reflections
        Shards of expected background, one a dataset; reflections of all crystals (.mtz).
    flux
        Of the task.
    seed
        Chooses the hit whose spots the oracle looks for in a frame without one.

    Raises
    ------
    SpotmillError
        When a dataset lacks a file, or its expected signal is not known.
    """

    def __init__(
        self,
        frames: DimmedFrames,
        water: Sequence[Path],
        reflections: Sequence[Path],
        flux: tuple[float, ...],
        seed: int,
    ) -> None:
        self._frames, self._flux, self._seed = frames, flux, seed
        self._known = {str(path): read_reflections(path) for path in reflections}
        self._scenes: dict[str, tuple[Scene, Conditions, int]] = {}
        self._lit: dict[tuple[str, int], Lit] = {}
        shards = {}
        for path in water:
            with Shard(path) as shard:
                if shard.header.content != "water":
                    raise SpotmillError(
                        f"{path}: holds {shard.header.content}; the bounds need expected water"
                    )
                background = np.where(shard.mask, shard.read(0), 0).astype(np.float64).ravel()
                shards[shard.header.dataset] = (background, shard.mask.ravel())
        self._hits: dict[str, list[int]] = {}
        self._of: dict[str, Dataset] = {}
        for name in np.unique(frames.dataset[frames.side == "test"]).tolist():
            if name not in shards:
                raise SpotmillError(f"--water: dataset {name} has none; name all for the bounds")
            self._of[name] = self._dataset(name, *shards[name])

    def _dataset(
        self, name: str, background: NDArray[np.float64], mask: NDArray[np.bool_]
    ) -> Dataset:
        frames = self._frames
        own = (frames.dataset == name) & (frames.truth == 1)
        self._hits[name] = np.flatnonzero(own & (frames.side == "test")).tolist()
        # A dataset that is held out has no training frames; a bound may know its test frames.
        trained = ((frames.dataset == name) & (frames.side == "train")).any()
        train = np.flatnonzero(own & (frames.side == ("train" if trained else "test")))
        chosen = train[np.unique(frames.index[train], return_index=True)[1]][:PATTERNS].tolist()
        live = mask & (background > 0)
        number = np.full(live.size, -1, dtype=np.int64)
        number[live] = np.arange(np.count_nonzero(live))
        zone = zones_of(background[live], ZONES)
        lit: list[tuple[NDArray[np.int64], NDArray[np.floating]]] = []
        for row in chosen:
            found = self.lit(row)
            keep = live[found.pixel]
            lit.append((number[found.pixel[keep]], found.photons[keep]))
        if not lit:
            raise SpotmillError(f"dataset {name}: has no training frame with a hit; add patterns")
        signals = gather_signals(background[live], zone, lit)
        weights = [signals.weights(flux, MOST) for flux in self._flux]
        return Dataset(background, number, zone, weights)

    def lit(self, row: int) -> Lit:
        """Return the expected signal of the frame of a row."""
        frames = self._frames
        assert frames.peaks is not None
        identity = (str(frames.dataset[row]), int(frames.index[row]))
        if identity not in self._lit:
            scene, conditions, seed = self._scene(str(frames.peaks[row]))
            image = make_pattern(scene, conditions, (seed, *identity)).image.ravel()
            pixel = np.flatnonzero(image)
            self._lit[identity] = Lit(pixel, image[pixel].astype(np.float64))
        return self._lit[identity]

    def _scene(self, path: str) -> tuple[Scene, Conditions, int]:
        if path not in self._scenes:
            with Shard(path) as peaks:
                name, reflections = self._fitting(peaks)
                scene, randomise = scene_of(peaks, reflections, name)
                if randomise != Randomise():
                    raise SpotmillError(
                        f"{path}: conditions differ from frame to frame; bounds need them alike"
                    )
                header = peaks.header
                conditions = draw_conditions(
                    randomise, header.photon_energy, header.clen, header.seed, header.dataset, 0
                )
                self._scenes[path] = (scene, conditions, header.seed)
        return self._scenes[path]

    def _fitting(self, peaks: Shard) -> tuple[str, Reflections]:
        cell, group = tuple(peaks.parameter("cell")), peaks.parameter("space_group")
        limit = peaks.parameter("reflections_d_min")
        fitting = [
            (name, found)
            for name, found in self._known.items()
            if (found.cell, found.space_group, found.d_min) == (cell, group, limit)
        ]
        if len(fitting) != 1:
            raise SpotmillError(
                f"{peaks.path}: {len(fitting)} of the --reflections are those of its crystal; "
                "name the one it was made with"
            )
        return fitting[0]

    def score(self, row: int, image: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
        """Return the scores of both tests at each flux of the task, given the image [ss, fs].

        A row with a crystal has scores at its own flux alone, NaN elsewhere.
        """
        frames = self._frames
        assert frames.peaks is not None and frames.flux is not None
        known = self._of[str(frames.dataset[row])]
        flat = image.ravel()
        live = known.number >= 0
        counted = count_photons(flat[live], known.zone, ZONES, MOST)
        looked = row
        if frames.truth[row] == 0:
            hits = self._hits[str(frames.dataset[row])]
            rng = np.random.default_rng([self._seed, int(frames.index[row])])
            looked = int(rng.choice(hits)) if hits else -1
        blind, oracle = np.full((2, len(self._flux)), np.nan)
        for column, flux in enumerate(self._flux):
            if frames.peaks[row] != "" and frames.flux[row] != flux:
                continue
            blind[column] = (counted * known.weights[column]).sum()
            if looked >= 0:
                lit = self.lit(looked)
                keep = live[lit.pixel]
                pixel = lit.pixel[keep]
                signal = flux * lit.photons[keep]
                oracle[column] = oracle_score(flat[pixel], signal, known.background[pixel])
        return {"blind": blind, "oracle": oracle}
