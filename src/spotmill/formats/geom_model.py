"""What a CrystFEL geometry file says, value for value.

Defaults of the file are filled in for every panel; numbers, units and locations stay as
written. `spotmill.formats.geom_detector` computes with them.
"""

from dataclasses import dataclass, field
from typing import Literal

from spotmill.errors import SpotmillError
from spotmill.formats.geom_detector import build_detector
from spotmill.formats.geom_values import Quantity
from spotmill.physics.geometry import Detector
from spotmill.physics.units import photon_energy_from_wavelength


@dataclass(frozen=True)
class Mask:
    """One of up to eight masks of bad pixels in the data files.

    A pixel is bad unless all `goodbits` are set, and where any of `badbits` is.
    """

    number: int
    data: str
    file: str | None = None
    goodbits: int = 0
    badbits: int = 0


@dataclass(frozen=True)
class Flag:
    """Values that mark a pixel as bad: below, above or equal to `value`."""

    kind: Literal["lessthan", "morethan", "equal"]
    value: float


@dataclass(frozen=True)
class GeomPanel:
    """A panel as the file describes it.

    The corner is in pixels, `fs` and `ss` (x, y, z) in pixels a pixel, `res` in pixels a
    metre, `coffset` in m; `min_…` and `max_…` are inclusive.
    """

    name: str
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int
    corner_x: float
    corner_y: float
    fs: tuple[float, float, float]
    ss: tuple[float, float, float]
    res: float
    coffset: float = 0.0
    data: str = "/data/data"
    dims: tuple[str | int, ...] = ("ss", "fs")
    adu_per_photon: float | None = None
    adu_per_eV: float | None = None
    max_adu: float | None = None
    no_index: bool = False
    mask_edge_pixels: int = 0
    flags: tuple[Flag, ...] = ()
    masks: tuple[Mask, ...] = ()
    saturation_map: str | None = None
    saturation_map_file: str | None = None

    def overlaps(self, other: "GeomPanel") -> bool:
        """Return whether a pixel of the data belongs to both panels."""
        return (
            (self.data, self.dims) == (other.data, other.dims)
            and self.min_fs <= other.max_fs
            and other.min_fs <= self.max_fs
            and self.min_ss <= other.max_ss
            and other.min_ss <= self.max_ss
        )


@dataclass(frozen=True)
class BadRegion:
    """A rectangle of bad pixels.

    Attributes
    ----------
    name : str
        Begins with `bad`.
    axes : ("fs", "ss") or ("x", "y")
        In the data array (inclusive) or in the laboratory (pixels, limits excluded).
    low, high
        Limits along the two axes.
    panel : str or None
        The panel of a region in fs and ss; None means the only one.
    """

    name: str
    axes: tuple[str, str]
    low: tuple[float, float]
    high: tuple[float, float]
    panel: str | None = None


@dataclass(frozen=True)
class Group:
    """A named set of panels, or of groups."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Geometry:
    """A whole geometry file.

    Attributes
    ----------
    radiation : Quantity or None
        The photon energy, wavelength or electron voltage, as written.
    bandwidth : float or None
        Fraction of the wavelength.
    source : str
        The file, for messages.
    """

    panels: tuple[GeomPanel, ...]
    clen: Quantity
    radiation: Quantity | None = None
    bandwidth: float | None = None
    bad_regions: tuple[BadRegion, ...] = ()
    detector_shift_x: Quantity | None = None
    detector_shift_y: Quantity | None = None
    peak_list: str | None = None
    peak_list_type: str | None = None
    groups: tuple[Group, ...] = ()
    rigid_groups: tuple[Group, ...] = ()
    rigid_group_collections: tuple[Group, ...] = ()
    source: str = field(default="geometry", compare=False)

    @property
    def photon_energy(self) -> float | None:
        """Photon energy in eV; None where the file names none, or a place in the data.

        Raises SpotmillError for electrons and for energies that no X-ray experiment has.
        """
        if self.radiation is None:
            return None
        if self.radiation.directive == "electron_voltage":
            raise SpotmillError(
                f"{self.source}: electron_voltage: describes electrons; give photon_energy"
            )
        number = self.radiation.number
        if number is None:
            return None
        if self.radiation.directive == "wavelength":
            return photon_energy_from_wavelength(number)
        return number

    def detector(self, clen: float | None = None, photon_energy: float | None = None) -> Detector:
        """Return the detector in space.

        Parameters
        ----------
        clen : float, optional
            Camera length in m; overrides the file's. Each panel's `coffset` is added to it.
        photon_energy : float, optional
            eV; needed only where the file gives adu_per_eV and no photon energy.

        Raises
        ------
        SpotmillError
            When a value that is needed stands in the data files, or the panels do not lie in
            one two-dimensional array.
        """
        return build_detector(self, clen, photon_energy)
