"""What is true of a dataset: counts, spots, photons and resolution, from its own files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import binomtest

from spotmill.errors import SpotmillError
from spotmill.formats.digests import file_digest, fingerprint, read_digests
from spotmill.formats.frames import Header, Shard
from spotmill.formats.geom import parse_geometry
from spotmill.formats.tables import MANIFEST, SPOTS, read_table
from spotmill.overlays.opener import open_overlay
from spotmill.physics.geometry import Detector, max_scattering, scattering_magnitude
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.report.inputs import read_frames
from spotmill.report.radial import Profile, radial_profile

FILES = ("overlay", "peaks", "labels", "truth")
EMPTIES_READ = 50


@dataclass(frozen=True)
class Facts:
    """A dataset, read and counted.

    Attributes
    ----------
    name
        Of the dataset.
    manifest : one row a frame
    overlay, background
        Header of its first shard of patterns (or of empties, where there are none), of its water.
    detector : Detector at the dataset's camera length
    water, mask : [ss, fs]
        Expected photons (or the mean of the measured frames), True where a pixel is live.
    profile
        The empties against the water.
    photons, resolution : [spot]
        Photons and d (Å) of every spot that counts.
    files
        SHA-256 by name of file, relative to the project.
    manifest_file
        The name of the manifest among them.
    """

    name: str
    manifest: pd.DataFrame
    overlay: Header
    background: Header
    detector: Detector
    water: NDArray[np.float64]
    mask: NDArray[np.bool_]
    profile: Profile
    photons: NDArray[np.float64]
    resolution: NDArray[np.float64]
    files: Mapping[str, str]
    manifest_file: str

    @property
    def patterns(self) -> pd.DataFrame:
        """The frames with a crystal."""
        return self.manifest[self.manifest["kind"] == "crystal"]

    @property
    def empties(self) -> pd.DataFrame:
        """The frames without."""
        return self.manifest[self.manifest["kind"] == "empty"]

    @property
    def hits(self) -> int:
        """How many patterns are hits."""
        return int(self.patterns["is_hit"].sum())

    @property
    def hit_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the share of hits among patterns.

        E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
        """
        if self.patterns.empty:
            return 0.0, 1.0
        interval = binomtest(self.hits, len(self.patterns)).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def d_edge(self) -> float:
        """The finest resolution that any pixel sees, Å."""
        wavelength = wavelength_from_photon_energy(self.overlay.photon_energy)
        return 1.0 / max_scattering(self.detector, wavelength)

    @property
    def fingerprint(self) -> str:
        """One digest of all files."""
        return fingerprint(self.files.values())


def read_facts(manifest: Path, water: Path, geometry: Path, checked: Path | None = None) -> Facts:
    """Read and count a dataset.

    Parameters
    ----------
    manifest
        Of one dataset.
    water, geometry
        Its expected background and CrystFEL geometry.
    checked
        What `spotmill check` wrote; digests in it are taken as they are.

    Raises
    ------
    SpotmillError
        When a file is missing or broken, or the files are of several datasets.
    """
    rows = read_table(manifest, MANIFEST).to_pandas()
    names = sorted(set(rows["dataset"]))
    if len(names) != 1:
        raise SpotmillError(f"{manifest}: holds {len(names)} datasets; give the manifest of one")
    rows = rows.sort_values(["kind", "index"], ignore_index=True)
    with open_overlay(rows["overlay"].iloc[0]) as shard:
        overlay = shard.header
    with Shard(water) as shard:
        if shard.header.dataset != names[0]:
            raise SpotmillError(
                f"{water}: is of dataset {shard.header.dataset}, not {names[0]}; give its own"
            )
        background, mask = shard.header, shard.mask
        frames = [shard.read(position) for position in range(len(shard))]
    image = np.stack(frames).mean(axis=0, dtype=np.float64)
    parsed = parse_geometry(background.parameters["detector"], f"{water} (its detector)")
    detector = parsed.detector(clen=background.clen, photon_energy=background.photon_energy)
    empties = rows[rows["kind"] == "empty"]
    s = scattering_magnitude(detector, wavelength_from_photon_energy(background.photon_energy))
    profile = radial_profile(read_frames(empties.head(EMPTIES_READ)), image, mask, s)
    made = overlay.parameters.get("peaks", {})
    photons, resolution = read_spots(rows["truth"], made.get("min_photons", 1))
    files = sorted({name for column in FILES for name in rows[column]} - {""})
    files += [name for table in sorted(set(rows["truth"]) - {""}) for name in _beside(table)]
    known = read_digests(checked) if checked else {}
    files += [path.as_posix() for path in (manifest, water, geometry)]
    digests = {name: known.get(name) or file_digest(name) for name in files}
    return Facts(
        name=names[0],
        manifest=rows,
        overlay=overlay,
        background=background,
        detector=detector,
        water=image,
        mask=mask,
        profile=profile,
        photons=photons,
        resolution=resolution,
        files=digests,
        manifest_file=manifest.as_posix(),
    )


def _beside(table: str) -> list[str]:
    """Return the table of frames beside a table of spots, where there is one."""
    frames = Path(table).with_suffix(".frames.parquet")
    return [frames.as_posix()] if frames.is_file() else []


def read_spots(
    tables: Sequence[str], min_photons: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return photons and resolution (Å) of the spots that count, of all tables of spots."""
    photons, resolution = [np.empty(0)], [np.empty(0)]
    for name in sorted(set(tables) - {""}):
        if not Path(name).is_file():
            raise SpotmillError(f"{name}: no such table; remake it (name it to snakemake)")
        table = read_table(name, SPOTS).select(["photons", "d"])
        table = table.filter(pc.greater_equal(table["photons"], min_photons))
        photons.append(table["photons"].to_numpy())
        resolution.append(table["d"].to_numpy())
    return np.concatenate(photons), np.concatenate(resolution)
