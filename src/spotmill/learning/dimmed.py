"""The frames of a task at several fluxes: the crystal's photons thinned, the background kept.

A frame at flux f is its overlay without its peaks and with them again after each of their
photons was kept with probability f. Binomial thinning of Poisson counts gives Poisson counts
of f times the mean, so this is exact where no pixel saturates. What is kept depends on seed,
dataset, index and flux alone.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.learning.frames import OPEN_SHARDS, FrameFiles, Frames, read_split
from spotmill.physics.photons import stream
from spotmill.splits import SIDES


@dataclass(frozen=True)
class DimmedFrames(Frames):
    """The frames of a task, one row a frame and flux; frames without a crystal stand once.

    Attributes
    ----------
    flux : [n] share of the full flux on the crystal; 1 for frames without one
    peaks : [n] str, shard of the drawn peaks; "" for frames without a crystal
    """

    flux: NDArray[np.float64] | None = None
    peaks: NDArray[np.str_] | None = None

    def at(self, flux: float) -> NDArray[np.bool_]:
        """Return which rows [n] belong to a flux: its own, and all without a crystal."""
        assert self.flux is not None and self.peaks is not None
        return np.asarray((self.flux == flux) | (self.peaks == ""))


def dim(
    frames: Frames, split: str | Path, flux: tuple[float, ...], sides: tuple[str, ...] = SIDES
) -> tuple[DimmedFrames, "DimmedFiles"]:
    """Return frames at all fluxes, and who reads them."""
    peaks = np.asarray(read_split(split, sides)["peaks"].to_pylist(), dtype=np.str_)
    own = np.flatnonzero(peaks != "")
    row = np.concatenate([np.flatnonzero(peaks == ""), np.repeat(own, len(flux))])
    share = np.concatenate([np.ones(len(peaks) - len(own)), np.tile(flux, len(own))])
    shown = DimmedFrames(
        dataset=frames.dataset[row],
        index=frames.index[row],
        side=frames.side[row],
        truth=frames.truth[row],
        overlay=frames.overlay[row],
        position=frames.position[row],
        classes=frames.classes,
        n_spots=None if frames.n_spots is None else frames.n_spots[row],
        flux=share,
        peaks=peaks[row],
    )
    return shown, DimmedFiles(shown)


def without_signal(frames: DimmedFrames) -> DimmedFrames:
    """Return the same frames with the photons of all crystals left out."""
    assert frames.peaks is not None
    return replace(frames, flux=np.where(frames.peaks == "", 1.0, 0.0))


class DimmedFiles(FrameFiles):
    """Reads frames at the flux of their row."""

    def __init__(self, frames: DimmedFrames) -> None:
        super().__init__(frames)
        self._dimmed = frames
        self._peaks: OrderedDict[str, Shard] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files out."""
        return super().__getstate__() | {"_dimmed": self._dimmed, "_peaks": OrderedDict()}

    def read(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return image and mask of the frame in row `number` at its flux.

        Raises
        ------
        SpotmillError
            When overlay or peaks do not hold that frame at that position.
        """
        image, mask = super().read(number)
        frames = self._dimmed
        assert frames.flux is not None and frames.peaks is not None
        flux, path = float(frames.flux[number]), str(frames.peaks[number])
        if flux == 1.0:
            return image, mask
        dataset, index = str(frames.dataset[number]), int(frames.index[number])
        position = int(frames.position[number])
        shard = self._peaks_shard(path)
        header = shard.header
        known = header.dataset == dataset and header.content == "peaks" and shard.dtype.kind == "u"
        if not known or position >= len(shard) or shard.indices[position] != index:
            raise SpotmillError(
                f"{path}: does not hold the drawn peaks of frame {index} of dataset {dataset} at "
                f"position {position}; remake the manifest"
            )
        drawn = shard.read(position)
        return dimmed(
            image, drawn, flux, stream(header.seed, dataset, index, f"flux {flux:g}")
        ), mask

    def _peaks_shard(self, path: str) -> Shard:
        if path not in self._peaks:
            self._peaks[path] = Shard(path)
            if len(self._peaks) > OPEN_SHARDS:
                self._peaks.popitem(last=False)[1].close()
        self._peaks.move_to_end(path)
        return self._peaks[path]

    def close(self) -> None:
        """Close all shards."""
        super().close()
        while self._peaks:
            self._peaks.popitem()[1].close()


def dimmed(
    image: NDArray[np.unsignedinteger],
    peaks: NDArray[np.unsignedinteger],
    flux: float,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Return a copy of an overlay with each photon of its peaks kept with probability `flux`.

    Where the overlay holds less than the peaks (a panel dead in this frame, a pixel that
    saturates), nothing is known of the background, and none is left.
    """
    shown = image.copy()
    pixel = np.flatnonzero(peaks)
    drawn = peaks.ravel()[pixel].astype(np.int64)
    held = image.ravel()[pixel].astype(np.int64)
    kept = rng.binomial(drawn, flux)
    shown.ravel()[pixel] = np.where(held >= drawn, held - drawn + kept, 0).astype(image.dtype)
    return shown
