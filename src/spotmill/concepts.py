"""Beam, crystal, solvent and detector response: the concepts, one file each.

Importing this module is cheap (no NumPy, no torch): the Snakefile does so at every parse.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from spotmill.distributions import Distribution, Drawn
from spotmill.model import Model, fit_name

# Of a measured background, for another flux; beyond it the number is a slip of the pen.
LARGEST_SCALE = 1e6

# Of a Gaussian, over its standard deviation.
FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Beam(Model):
    """One pulse of the beam, but for its photon energy, which a dataset sets."""

    nphotons: PositiveFloat = Field(
        le=1e18, description="photons in one pulse (not joules, nor photons a second)"
    )
    beam_radius: PositiveFloat = Field(
        lt=0.1, description="radius of a flat round beam, or 1/e^2 radius of a Gaussian one, m"
    )
    profile: Literal["bathed", "flat", "gaussian"] = Field(
        "bathed",
        description="bathed: the whole crystal sees the fluence nphotons / (pi beam_radius^2), "
        "as in pattern_sim; flat or gaussian: the overlap of beam and crystal is computed",
    )
    offset: tuple[float, float] = Field(
        (0.0, 0.0), description="x and y of the beam from the crystal's centre, m (not if bathed)"
    )
    spectrum: Literal["tophat", "gaussian", "sase", "twocolour", "file"] = Field(
        "tophat", description="shape of the spectrum"
    )
    bandwidth: PositiveFloat = Field(
        le=0.2,
        description="relative width, a fraction, 0.5 % is 0.005: full width (tophat, sase), full "
        "width at half maximum (gaussian, each line of twocolour); for a file what CrystFEL is "
        "told",
    )
    n_spikes: int | None = Field(None, ge=1, le=1000, description="number of spikes (sase only)")
    spike_width: PositiveFloat | None = Field(
        None, le=0.1, description="relative full width at half maximum of a spike (sase only)"
    )
    separation: PositiveFloat | None = Field(
        None, le=1e6, description="of the two lines, eV (twocolour only)"
    )
    spectrum_file: str | None = Field(
        None,
        min_length=1,
        description="two columns, eV (or keV under CrystFEL's header) and density (file only)",
    )
    divergence: float = Field(0.0, ge=0, lt=0.1, description="standard deviation on each axis, rad")
    polarisation: Fraction | None = Field(
        1.0,
        description="fraction polarised along x (horizontal); 0.5 is unpolarised; "
        "null leaves the polarisation factor out",
    )

    _names_fit = field_validator("spectrum_file")(fit_name)

    @field_validator("nphotons")
    @classmethod
    def _photons_are_whole(cls, nphotons: float) -> float:
        if nphotons < 1:
            raise ValueError("must be 1 or more; give photons in one pulse, not joules")
        return nphotons

    @model_validator(mode="after")
    def _keys_belong_to_spectrum(self) -> Self:
        needed = {
            "sase": ("n_spikes", "spike_width"),
            "twocolour": ("separation",),
            "file": ("spectrum_file",),
        }
        for shape, keys in needed.items():
            for key in keys:
                given = getattr(self, key) is not None
                if given and shape != self.spectrum:
                    raise ValueError(f"{key} is not for spectrum {self.spectrum}; remove it")
                if not given and shape == self.spectrum:
                    raise ValueError(f"{key} is required by spectrum {self.spectrum}; add it")
        if max(map(abs, self.offset)) >= 0.1:
            raise ValueError("offset must stay below 0.1 m; give it in metres (2 µm is 2e-6)")
        if self.profile == "bathed" and self.offset != (0.0, 0.0):
            raise ValueError("offset does not belong to profile bathed; remove it")
        return self

    def spread(self, photon_energy: float) -> float:
        """Return the standard deviation of the spectrum over its mean, around eV.

        Of many pulses, where each has spikes of its own; of a file, `bandwidth` itself.
        """
        if self.spectrum == "file":
            return self.bandwidth
        line = self.bandwidth / FWHM
        if self.spectrum == "gaussian":
            return line
        if self.spectrum == "twocolour":
            return math.hypot(line, 0.5 * (self.separation or 0.0) / photon_energy)
        return math.hypot(self.bandwidth / math.sqrt(12), (self.spike_width or 0.0) / FWHM)


class Crystal(Model):
    """A crystal: where its reflections come from, and its size."""

    name: str = Field(min_length=1, description="what to call it in reports")
    structure: str = Field(
        min_length=1,
        description="its reflections or structure: a .mtz, .hkl (with `cell_file`), .pdb, .ent, "
        ".cif or .mmcif file, `pdb:1IC6` to fetch an entry, or a file's http(s) address",
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        examples=["the 64 digits that sha256sum prints"],
        description="SHA-256 of the structure's file, checked before it is used; required with "
        "an http(s) address",
    )
    cell_file: str | None = Field(None, description="CrystFEL .cell file that goes with a .hkl")
    cell: tuple[float, float, float, float, float, float] | None = Field(
        None, description="a, b, c in Å and alpha, beta, gamma in degrees, checked against the file"
    )
    space_group: str | None = Field(
        None, description="Hermann-Mauguin name, checked against the file"
    )
    shape: Literal["box", "sphere", "gaussian"] = Field(
        "box", description="cube, sphere, or cloud with a Gaussian density"
    )
    size: Drawn = Field(
        description="edge of the cube, diameter of the sphere, or full width at half maximum, m; "
        "a number or a distribution"
    )
    mosaicity: Drawn = Field(
        Distribution(constant=0.0),
        description="standard deviation of the blocks' orientations, degrees; a number or a "
        "distribution",
    )
    per_frame: tuple[Fraction, ...] = Field(
        (0.0, 1.0),
        min_length=1,
        max_length=21,
        description="probabilities of 0, 1, 2 ... crystals in a frame",
    )
    d_min: float = Field(1.6, ge=0.5, le=50, description="resolution of the reflections, Å")

    @model_validator(mode="after")
    def _what_is_fetched_is_checked(self) -> Self:
        if self.is_remote and not self.sha256:
            raise ValueError(
                "an http(s) address needs `sha256`, the digest of its file (sha256sum states it)"
            )
        if self.sha256 and self.structure.lower().startswith("pdb:"):
            raise ValueError("`sha256` does not go with an entry of the PDB; leave it out")
        return self

    @property
    def is_remote(self) -> bool:
        """Whether the structure is an http(s) address."""
        return self.structure.lower().startswith(("http://", "https://"))

    _names_fit = field_validator("structure", "cell_file")(fit_name)

    @field_validator("cell")
    @classmethod
    def _cell_is_a_cell(cls, cell: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if cell and (min(cell[:3]) <= 0 or not all(0 < angle < 180 for angle in cell[3:])):
            raise ValueError("needs three lengths above 0 (Å) and three angles of 0 to 180 degrees")
        return cell

    @field_validator("size")
    @classmethod
    def _size_in_metres(cls, size: Distribution) -> Distribution:
        low, high = size.bounds
        if low <= 0 or high >= 1e-2:
            raise ValueError("must stay above 0 and below 0.01 m; give metres")
        return size

    @field_validator("mosaicity")
    @classmethod
    def _mosaicity_in_degrees(cls, mosaicity: Distribution) -> Distribution:
        low, high = mosaicity.bounds
        if low < 0 or high > 10:
            raise ValueError("must stay between 0 and 10 degrees")
        return mosaicity

    @field_validator("per_frame")
    @classmethod
    def _probabilities_add_up(cls, per_frame: tuple[float, ...]) -> tuple[float, ...]:
        if not math.isclose(sum(per_frame), 1.0, abs_tol=1e-9):
            raise ValueError("the probabilities of 0, 1, 2 ... crystals must add up to 1")
        return per_frame


class Solvent(Model):
    """What scatters diffusely around the crystal: water and air, or frames measured without it."""

    shape: Literal["sheet", "jet", "droplet", "measured"] = Field(
        "sheet",
        description="form of the water: sheet, jet (axis vertical) or droplet; or measured: "
        "blank frames in place of a model",
    )
    thickness: PositiveFloat | None = Field(
        None, lt=0.1, description="of the sheet, along its normal, m (sheet only)"
    )
    radius: PositiveFloat | None = Field(
        None, lt=0.1, description="of the jet or droplet, m (jet and droplet only)"
    )
    tilt: float | None = Field(
        None,
        gt=-90,
        lt=90,
        description="of the sheet's normal from the beam, about the vertical, degrees (sheet only; "
        "0 if left out)",
    )
    temperature: float = Field(25.0, ge=1, le=77, description="of the water, °C (not if measured)")
    absorption: bool = Field(
        False, description="attenuate beam and scattering in the water (not if measured)"
    )
    compton: bool = Field(False, description="add inelastic (Compton) scattering (not if measured)")
    air_upstream: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="beam in air before the crystal that the detector sees, m (not if measured)",
    )
    air_downstream: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="beam in air from the crystal to the beamstop, m (not if measured)",
    )
    frames: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="files, folders or .lst lists of blank frames (measured only)",
    )
    use: Literal["mean", "frames"] = Field(
        "mean",
        description="draw photons from the frames' mean, or give one of them to every frame "
        "(measured only)",
    )
    scale: PositiveFloat = Field(
        1.0,
        le=LARGEST_SCALE,
        description="factor on the mean, for another flux (measured only)",
    )
    keep_all: bool = Field(
        False, description="reject no zingers, for noisy detectors (measured only)"
    )
    ignore_header: bool = Field(
        False,
        description="do not compare the frames' energy, distance and pixel size with the "
        "dataset's (measured only)",
    )
    data: str | None = Field(
        None,
        min_length=1,
        description="place of the frames in HDF5 files, if unusual (measured only)",
    )

    _names_fit = field_validator("frames")(fit_name)

    @model_validator(mode="after")
    def _keys_belong_to_shape(self) -> Self:
        measured = ("frames", "use", "scale", "keep_all", "ignore_header", "data")
        water = ("temperature", "absorption", "compton", "air_upstream", "air_downstream")
        own = {
            "sheet": ("thickness", "tilt", *water),
            "jet": ("radius", *water),
            "droplet": ("radius", *water),
            "measured": measured,
        }[self.shape]
        for key in sorted(self.model_fields_set - {"shape", *own}):
            # A null says no more than a key left out.
            if getattr(self, key) is not None:
                raise ValueError(f"{key} does not belong to shape {self.shape}; remove it")
        if getattr(self, own[0]) is None:
            remedy = "name blank frames" if self.shape == "measured" else "add it, in m"
            raise ValueError(f"{own[0]} is required by shape {self.shape}; {remedy}")
        if self.use == "frames" and self.scale != 1:
            raise ValueError("scale does not belong to use frames, whose photons are counted")
        return self


class Beamstop(Model):
    """An absorber before the detector, and the arm that holds it; both shade the detector."""

    radius: PositiveFloat = Field(
        lt=1, description="of its round shadow, at the detector and around the direct beam, m"
    )
    transmission: Fraction = Field(0.0, description="of beamstop and arm")
    arm_width: float = Field(0.0, ge=0, lt=1, description="of the arm's shadow, m; 0: no arm")
    arm_angle: float = Field(
        0.0,
        ge=-360,
        le=360,
        description="from the beam, where the arm goes, degrees; 0: along +x, 90: along +y",
    )
    masked: bool = Field(False, description="leave the shaded pixels out of the mask of live ones")


class Response(Model):
    """What the detector makes of the photons that reach it; left out, it is ideal."""

    point_spread: float = Field(
        3.0e-5, ge=0, lt=0.01, description="standard deviation of the Gaussian point spread, m"
    )
    charge_sharing: Fraction = Field(
        0.0, description="share of the photons that a second, wider Gaussian spreads"
    )
    charge_sharing_spread: PositiveFloat | None = Field(
        None, lt=0.01, description="standard deviation of the wider Gaussian, m"
    )
    sensor: Literal["silicon", "cadmium_telluride"] | None = Field(
        None, description="material that absorbs the photons; null: all are counted"
    )
    sensor_thickness: PositiveFloat | None = Field(
        None, lt=0.05, description="of the sensor, along its normal, m"
    )
    specimen: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="number of the device: decides which of its pixels are dead, hot and noisy",
    )
    dead_pixels: Fraction = Field(0.0, description="share of pixels that count nothing (masked)")
    hot_pixels: Fraction = Field(0.0, description="share of pixels that count too much (unmasked)")
    hot_rate: float = Field(
        0.0, ge=0, le=1e6, description="counts that a hot pixel adds to a frame, mean (Poisson)"
    )
    noisy_pixels: Fraction = Field(
        0.0, description="share of pixels that now and then count without light (unmasked)"
    )
    noisy_rate: float = Field(
        0.0, ge=0, le=1e6, description="counts that a noisy pixel adds to a frame, mean (Poisson)"
    )
    zingers: float = Field(
        0.0, ge=0, le=1e4, description="stray particles that strike the panels in a frame, mean"
    )
    zinger_photons: float | None = Field(
        None, ge=1, le=1e6, description="counts of one stray particle, mean (geometric law)"
    )
    zinger_length: float = Field(
        0.0, ge=0, lt=0.1, description="length of its straight track, mean (exponential law), m"
    )
    beamstop: Beamstop | None = Field(None, description="absorber before the detector")

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> Self:
        for first, second in (
            ("charge_sharing", "charge_sharing_spread"),
            ("sensor", "sensor_thickness"),
            ("hot_pixels", "hot_rate"),
            ("noisy_pixels", "noisy_rate"),
            ("zingers", "zinger_photons"),
        ):
            if bool(getattr(self, first)) != bool(getattr(self, second)):
                raise ValueError(f"{first} and {second} belong together; give both or neither")
        if self.zinger_length and not self.zingers:
            raise ValueError("zinger_length without zingers; give zingers too, or remove it")
        return self

    @model_validator(mode="after")
    def _values_fit_each_other(self) -> Self:
        if self.charge_sharing_spread and self.charge_sharing_spread <= self.point_spread:
            raise ValueError("charge_sharing_spread must exceed point_spread; it is the wider one")
        if self.dead_pixels + self.hot_pixels + self.noisy_pixels > 1:
            raise ValueError("dead_pixels, hot_pixels and noisy_pixels together must not exceed 1")
        return self
