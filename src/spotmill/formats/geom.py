"""CrystFEL geometry files (.geom): the one entry to reading, writing and deriving them."""

from collections.abc import Collection
from dataclasses import replace

from spotmill.formats.geom_model import (
    BadRegion,
    Flag,
    Geometry,
    GeomPanel,
    Group,
    Mask,
)
from spotmill.formats.geom_reader import parse_geometry, read_geometry
from spotmill.formats.geom_values import Quantity
from spotmill.formats.geom_writer import format_geometry, write_geometry
from spotmill.physics.units import check_clen, check_photon_energy

__all__ = [
    "BadRegion",
    "Flag",
    "GeomPanel",
    "Geometry",
    "Group",
    "Mask",
    "Quantity",
    "dataset_geometry",
    "format_geometry",
    "parse_geometry",
    "read_geometry",
    "write_geometry",
]


def dataset_geometry(
    geometry: Geometry,
    clen: float,
    photon_energy: float,
    bandwidth: float,
    data: str = "/entry/data/data",
    mask: str = "/entry/instrument/detector/pixel_mask",
    own: Collection[str] = (),
) -> Geometry:
    """Return the geometry to lie beside the shards of a dataset.

    The panels stay where they are; the data are photons in `data` [frame, ss, fs], the
    mask is the shards' own (bit 0 set: not live), and what described the files of the
    original detector (peak lists, saturation maps, flags, limits in its units) goes.

    Parameters
    ----------
    geometry : Geometry
    clen : float
        m.
    photon_energy : float
        eV.
    bandwidth : float
        Standard deviation of the spectrum, a fraction of the wavelength: CrystFEL takes it for
        that of a Gaussian when it predicts reflections.
    data, mask : str
        Places in the shards.
    own
        Which of `photon_energy` and `clen` each frame has its own of: the geometry names their
        place in the shards, where CrystFEL reads the number of the event.
    """
    places = {name: f"/entry/frames/{name}" for name in own}
    panels = tuple(
        replace(
            panel,
            data=data,
            dims=("%", "ss", "fs"),
            masks=(Mask(number=0, data=mask, goodbits=0, badbits=1),),
            adu_per_photon=1.0,
            adu_per_eV=None,
            max_adu=None,
            flags=(),
            saturation_map=None,
            saturation_map_file=None,
        )
        for panel in geometry.panels
    )
    return replace(
        geometry,
        panels=panels,
        clen=Quantity("clen", places.get("clen", check_clen(clen)), "m"),
        radiation=Quantity(
            "photon_energy", places.get("photon_energy", check_photon_energy(photon_energy)), "eV"
        ),
        bandwidth=bandwidth,
        peak_list=None,
        peak_list_type=None,
    )
