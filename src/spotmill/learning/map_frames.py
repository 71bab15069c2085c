"""The frames of a map: which are taken, and their features."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.formats.tables import MANIFEST, read_table
from spotmill.model import read_text
from spotmill.overlays.opener import open_overlay
from spotmill.physics.frame_features import NAMES, Ground, ground, measure, resolution
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.progress import Progress

OUTERMOST = NAMES.index("peak_outermost")


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest that lists at least one frame."""
    manifest = read_table(path, MANIFEST).to_pandas()
    if manifest.empty:
        raise SpotmillError(f"{path}: lists no frame; remake it")
    return manifest


def choose(manifest: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the rows of at most so many frames: those whose identity has the smallest hash.

    So a frame stays in while fewer than `most` have smaller hashes, however the others come
    and go. The hash (BLAKE2b, 64 bits) is another than that of the split.
    """
    if len(manifest) > most:
        names = zip(manifest["dataset"], manifest["index"], strict=True)
        texts = [f"map {dataset}/{index}" for dataset, index in names]
        hashes = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
        places = sorted(range(len(hashes)), key=hashes.__getitem__)[:most]
        manifest = manifest.iloc[places]
    return manifest.sort_values(["dataset", "index"]).reset_index(drop=True)


def read_features(
    rows: pd.DataFrame, geometries: Mapping[str, Path]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the features [frame, feature] of manifest rows, and the resolution they reach.

    The resolution, in Å, is that of the outermost peaks, infinite without a peak.

    Raises
    ------
    SpotmillError
        When a dataset has no geometry, or a shard does not hold what the manifest says.
    """
    for name in dict.fromkeys(rows["dataset"]):
        if name not in geometries:
            raise SpotmillError(
                f"--geometry: dataset {name!r} has none; give {name}.geom, as `spotmill geometry` "
                "wrote it"
            )
    features = np.empty((len(rows), len(NAMES)))
    outermost = np.empty(len(rows))
    place: Ground | None = None
    known: tuple[str, NDArray[np.bool_]] | None = None
    with Progress("map", len(rows)) as step:
        for (dataset, path), part in rows.groupby(["dataset", "overlay"], sort=False):
            with open_overlay(str(path)) as shard:
                key = read_text(geometries[str(dataset)])
                if place is None or known is None or not same(known, key, shard.mask):
                    place, known = ground_of(geometries[str(dataset)], shard), (key, shard.mask)
                own = replace(place, saturation=shard.header.saturation)
                numbers = part.index.to_numpy()
                for number, (_, row) in zip(numbers.tolist(), part.iterrows(), strict=True):
                    features[number] = measure(read(shard, row), own)
                    step()
                outermost[numbers] = resolution(
                    features[numbers, OUTERMOST],
                    shard.header.pixel_size,
                    shard.header.clen,
                    wavelength_from_photon_energy(shard.header.photon_energy),
                )
    return features, outermost


def same(known: tuple[str, NDArray[np.bool_]], text: str, mask: NDArray[np.bool_]) -> bool:
    """Return whether geometry and mask are those of before, but for what does not matter here."""
    lines = [
        [line for line in words.splitlines() if not line.startswith(("clen", "photon_energy"))]
        for words in (known[0], text)
    ]
    return lines[0] == lines[1] and np.array_equal(known[1], mask)


def ground_of(geometry: Path, shard: Shard) -> Ground:
    """Return what a geometry file and a shard's mask say of the pixels."""
    detector = read_geometry(geometry).detector(
        clen=shard.header.clen, photon_energy=shard.header.photon_energy
    )
    if detector.shape != shard.mask.shape:
        raise SpotmillError(
            f"{geometry}: describes frames of {detector.shape} pixels, {shard.path} holds "
            f"{shard.mask.shape}; give the geometry that made it"
        )
    return ground(detector, shard.mask)


def read(shard: Shard, row: pd.Series) -> NDArray[np.integer]:
    """Return the image of a manifest row."""
    position = int(row["position"])
    if (
        shard.header.dataset != row["dataset"]
        or not 0 <= position < len(shard)
        or shard.indices[position] != row["index"]
    ):
        raise SpotmillError(
            f"{shard.path}: frame {row['index']} of dataset {row['dataset']} is not at position "
            f"{position}; remake the manifest"
        )
    return shard.read(position)
