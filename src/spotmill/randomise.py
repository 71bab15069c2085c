"""What differs from frame to frame besides orientation and noise."""

from pydantic import Field, field_validator

from spotmill.distributions import Distribution, Drawn
from spotmill.model import Model

NONE = Distribution(constant=0.0)
SAME = Distribution(constant=1.0)


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

    @property
    def masks_panels(self) -> bool:
        """True where frames have masks of their own."""
        return self.dead_modules.bounds != (0.0, 0.0)

    @property
    def scales_background(self) -> bool:
        """True where the background is brighter in one frame than in another."""
        return any(getattr(self, name) != SAME for name in ("flux", "background"))

    @property
    def moves_geometry(self) -> bool:
        """True where photon energy or geometry differ from frame to frame."""
        names = ("photon_energy", "clen", "beam_x", "beam_y", "tilt_x", "tilt_y")
        return any(getattr(self, name).bounds != (0.0, 0.0) for name in names)
