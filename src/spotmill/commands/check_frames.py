"""What `spotmill check` proves of the frames of one shard."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard, check_paired
from spotmill.formats.tables import SPOTS, read_table
from spotmill.overlays.opener import open_overlay


def wrong(path: Path | str, what: str) -> SpotmillError:
    """Return the error of a file that must be remade."""
    return SpotmillError(f"{path}: {what}; delete it and run snakemake again to remake it")


def check_shard(path: Path, frames: pd.DataFrame, min_spots: int, min_photons: int) -> None:
    """Check the frames that one shard holds against the manifest at `path`."""
    row = frames.iloc[0]
    with open_overlay(row["overlay"]) as overlay:
        if len(overlay) != len(frames):
            raise wrong(overlay.path, f"holds {len(overlay)} frames, {path} lists {len(frames)}")
        for name in ("dataset", "kind", "photon_energy", "clen"):
            said, found = row[name], getattr(overlay.header, name)
            if said != found:
                raise wrong(overlay.path, f"{name} is {found!r}, {path} says {said!r}")
        if not frames["position"].between(0, len(overlay) - 1).all():
            raise wrong(path, f"names frames beyond the end of {overlay.path}")
        if not np.array_equal(overlay.indices[frames["position"]], frames["index"]):
            raise wrong(overlay.path, f"holds other frames than {path} says")
        if row["kind"] == "empty":
            check_empty(overlay, frames)
            return
        truth = read_table(row["truth"], SPOTS).to_pandas()
        with Shard(row["peaks"]) as peaks, Shard(row["labels"]) as labels:
            check_paired(overlay, peaks)
            check_paired(overlay, labels)
            check_contents(labels, peaks, overlay)
            for _, frame in frames.iterrows():
                check_images(frame, overlay, peaks, labels)
                check_truth(frame, truth[truth["index"] == frame["index"]], min_spots, min_photons)


def check_contents(labels: Shard, peaks: Shard, overlay: Shard) -> None:
    """Raise SpotmillError where a shard is of another content, or made from another one."""
    for shard, content in ((labels, "labels"), (peaks, "peaks"), (overlay, "overlay")):
        if shard.header.content != content:
            raise wrong(shard.path, f"holds {shard.header.content}, not {content}")
    made = dict(peaks.header.parameters)
    for shard in (labels, overlay):
        if shard.parameter("peaks") != made:
            raise wrong(shard.path, f"was made from other peaks than {peaks.path}")


def check_empty(overlay: Shard, frames: pd.DataFrame) -> None:
    """Check empties: no crystal in truth, no photon in a gap."""
    if frames["is_hit"].any() or frames["photons"].any():
        raise wrong(overlay.path, "is empty, but its manifest names Bragg photons")
    for position in range(len(overlay)):
        check_background(overlay, position, overlay.read(position), 0)


def check_background(overlay: Shard, position: int, image: NDArray[Any], bragg: int) -> None:
    """Check that a frame holds its water, artefacts and Bragg photons, and none in a gap."""
    if image[~overlay.mask].any():
        raise wrong(overlay.path, f"frame {position} has photons in a gap")
    saturation = overlay.header.saturation
    saturated = saturation is not None and int(image.max()) >= saturation
    background, stray = (
        overlay.column(name)[position] for name in ("background_photons", "artefacts")
    )
    photons = int(background) + int(stray) + bragg
    if int(image.sum(dtype=np.int64)) != photons and not saturated:
        raise wrong(overlay.path, f"frame {position} has not the {photons} photons drawn for it")


def check_images(frame: Any, overlay: Shard, peaks: Shard, labels: Shard) -> None:
    """Check the images of one frame against each other."""
    position = int(frame["position"])
    whole, signal, label = (shard.read(position) for shard in (overlay, peaks, labels))
    threshold = labels.parameter("threshold")
    bragg = int(signal.sum(dtype=np.int64))
    if bragg != frame["photons"] and not peaks.column("n_saturated")[position]:
        raise wrong(peaks.path, f"frame {position} has not the photons listed")
    # A measured background may lack pixels that the peaks have.
    seen = np.where(overlay.mask, signal, 0)
    check_background(overlay, position, whole, int(seen.sum(dtype=np.int64)))
    if (whole < seen).any():
        raise wrong(overlay.path, f"frame {position} lacks photons of its peaks ({peaks.path})")
    if not np.array_equal(label, signal >= threshold):
        raise wrong(labels.path, f"frame {position} is not the label of its peaks")


def check_truth(frame: Any, spots: pd.DataFrame, min_spots: int, min_photons: int) -> None:
    """Check one frame's row of the manifest against its spots."""
    path, index = frame["truth"], frame["index"]
    if int(spots["photons"].sum()) != frame["photons"]:
        raise wrong(path, f"frame {index} has spots of other photons than the manifest")
    n_spots = int((spots["photons"] >= min_photons).sum())
    if n_spots != frame["n_spots"] or (n_spots >= min_spots) != frame["is_hit"]:
        raise wrong(path, f"frame {index} has {n_spots} spots, the manifest {frame['n_spots']}")
