"""What differs from frame to frame besides orientation and noise."""

from pydantic import Field, field_validator

from spotmill.distributions import Distribution, Drawn
from spotmill.model import Model

NONE = Distribution(constant=0.0)
SAME = Distribution(constant=1.0)

# Light that is neither of the crystal nor of the solvent.
STRAY = ("halo", "ice", "slope")


class Randomise(Model):
    """A distribution for each condition; left out, a condition is the dataset's in all frames."""

    photon_energy: Drawn = Field(NONE, description="shift, eV")
    clen: Drawn = Field(NONE, description="shift, m")
    beam_x: Drawn = Field(NONE, description="shift of the beam's centre along x, m")
    beam_y: Drawn = Field(NONE, description="shift of the beam's centre along y, m")
    tilt_x: Drawn = Field(NONE, description="turn of the detector about x, degrees")
    tilt_y: Drawn = Field(NONE, description="turn of the detector about y, degrees")
    flux: Drawn = Field(SAME, description="factor on all photons")
    signal: Drawn = Field(SAME, description="factor on the Bragg photons")
    background: Drawn = Field(SAME, description="factor on the background (thickness of water)")

    dead_modules: Drawn = Field(
        NONE,
        description="number of panels that count nothing in a frame, rounded; which ones is "
        "drawn too",
    )

    halo: Drawn = Field(
        NONE,
        description="stray light around the beam, or the edge of its beamstop: photons a pixel "
        "where it is brightest; its lobes, streaks and reach are drawn too",
    )
    ice: Drawn = Field(
        NONE,
        description="rings of hexagonal ice: photons a pixel where they are brightest; their "
        "strengths and width are drawn too",
    )
    slope: Drawn = Field(
        NONE,
        description="light that rises across the detector, from none to so many photons a pixel; "
        "its direction is drawn too",
    )

    @field_validator("dead_modules")
    @classmethod
    def _modules_are_counted(cls, number: Distribution) -> Distribution:
        if number.bounds[0] < 0:
            raise ValueError("a number must not fall below 0 (a normal law reaches 6 deviations)")
        return number

    @field_validator("flux", "signal", "background")
    @classmethod
    def _factors_are_positive(cls, factor: Distribution) -> Distribution:
        if factor.bounds[0] < 0:
            raise ValueError("a factor must not fall below 0 (a normal law reaches 6 deviations)")
        return factor

    @field_validator(*STRAY)
    @classmethod
    def _light_is_light(cls, photons: Distribution) -> Distribution:
        if photons.bounds[0] < 0:
            raise ValueError("photons must not fall below 0 (a normal law reaches 6 deviations)")
        return photons

    @property
    def strays(self) -> bool:
        """True where frames may have stray light."""
        return any(getattr(self, name).bounds != (0.0, 0.0) for name in STRAY)

    @property
    def masks_panels(self) -> bool:
        """True where frames have masks of their own."""
        return self.dead_modules.bounds != (0.0, 0.0)

    @property
    def scales_background(self) -> bool:
        """True where the background is brighter in one frame than in another."""
        return any(getattr(self, name) != SAME for name in ("flux", "background"))

    @property
    def own(self) -> tuple[str, ...]:
        """Names of what a geometry file states and each frame has its own of."""
        names = ("photon_energy", "clen")
        return tuple(name for name in names if getattr(self, name).bounds != (0.0, 0.0))

    @property
    def moves_geometry(self) -> bool:
        """True where photon energy or geometry differ from frame to frame."""
        names = ("photon_energy", "clen", "beam_x", "beam_y", "tilt_x", "tilt_y")
        return any(getattr(self, name).bounds != (0.0, 0.0) for name in names)
