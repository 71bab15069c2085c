"""Ours for photon energy and camera length as values: what a frame's radial profile leaves likely.

The expected profile of the background is a smooth function of photon energy and camera
length. It starts from the physics of water (`physics.profile_family`), is bent by what the
training frames' mean profiles say differently (Bragg photons too few to be left out, for
one), and with the brightness that training frames have it gives a frame's Poisson likelihood
at every pair in the range. The answer is the mean and the standard deviation of one of the
two over that likelihood, the other and the brightness integrated out. Training by gradient
then sets three numbers: how far the likelihood can be trusted, and scale and offset of the
answer. Bragg spots are left out of the profile, with their pixels.
"""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from spotmill.learning.encoders import Encoder, View
from spotmill.learning.models import radial_profile
from spotmill.learning.models.dimensions import Dimensions
from spotmill.model import Model
from spotmill.physics.profile_family import TERMS, ProfileFamily
from spotmill.physics.profile_limits import Brightness, Points, points
from spotmill.tasks import Input

# Prior deviation of the correction's coefficients, of the logarithm of the rate.
CORRECTION_SPREAD = 0.1
NEWTON_STEPS = 8

# The settings that the encoder depends on.
ENCODED = ("bins", "spot_photons", "spot_reach")


class Settings(Model):
    """Of the profile, of its correction, and of the points of the likelihood."""

    bins: int = Field(96, ge=4, le=4096, description="radial bins")
    spot_photons: int = Field(4, ge=2, description="photons in a pixel that make it a Bragg spot")
    spot_reach: int = Field(2, ge=0, description="pixels around it that are left out, too")
    correction: int = Field(
        6, ge=1, le=32, description="Legendre polynomials in the radius that may bend the profile"
    )
    spacing: float = Field(
        1.5, gt=0, le=4, description="of the points, in standard errors of a frame"
    )


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Read the radial profile."""
    same = radial_profile.Settings(
        bins=settings.bins,
        terms=1,
        spot_photons=settings.spot_photons,
        spot_reach=settings.spot_reach,
    )
    return radial_profile.encoder(same, task_input, view)


class Network(nn.Module):
    """From profiles [batch, 2, bins] to mean and standard deviation [batch, 2] of one value."""

    coefficients: Tensor
    physics: Tensor
    ranges: Tensor
    brightness: Tensor
    pixels: Tensor
    radius: Tensor
    column: Tensor

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        double = torch.float64
        # Placeholders until `start`, so that the weights of a file find their shapes.
        shape = (*TERMS, settings.bins)
        self.register_buffer("physics", torch.zeros(shape, dtype=double))
        self.register_buffer("coefficients", torch.zeros(shape, dtype=double))
        self.register_buffer("ranges", torch.tensor([[1.0, 2.0], [1.0, 2.0]], dtype=double))
        self.register_buffer("brightness", torch.tensor([0.0, 1.0], dtype=double))
        self.register_buffer("pixels", torch.ones(settings.bins, dtype=double))
        self.register_buffer("radius", torch.linspace(0, 1, settings.bins, dtype=double))
        self.register_buffer("column", torch.zeros((), dtype=torch.int64))
        self.log_trust = nn.Parameter(torch.zeros((), dtype=double))
        self.log_scale = nn.Parameter(torch.zeros((), dtype=double))
        self.offset = nn.Parameter(torch.zeros((), dtype=double))
        self._settings = settings
        self._table: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def start(
        self,
        family: ProfileFamily,
        column: int,
        profiles: NDArray[np.float64],
        values: NDArray[np.float64],
    ) -> None:
        """Take the physics over, and fit correction and brightness to training frames.

        Parameters
        ----------
        column
            0 for the photon energy, 1 for the camera length.
        profiles, values
            [n, 2, bins] photons and live pixels; [n, 2] photon energy and camera length.
        """
        photons, pixels = profiles[:, 0], profiles[:, 1]
        bent, level = correct(family, photons, pixels, values, self._settings.correction)
        spread = float(level.std(ddof=1)) if len(level) > 2 else 1.0
        # What counting adds to the spread of the brightness is no property of the beam.
        noise = float(np.mean(1 / np.maximum(photons.sum(1), 1)))
        spread = float(np.sqrt(max(spread**2 - noise, 1e-6)))
        for name, value in {
            "physics": family.coefficients,
            "coefficients": bent.coefficients,
            "ranges": np.array([family.energies, family.clens]),
            "brightness": np.array([level.mean(), spread]),
            "pixels": pixels.mean(0),
            "radius": family.radius,
            "column": np.array(column),
        }.items():
            getattr(self, name).copy_(torch.from_numpy(np.asarray(value)))
        self._table = None

    def family(self, corrected: bool = True) -> ProfileFamily:
        """Return the expected profiles, as trained or as the physics alone has them."""
        ranges = self.ranges.numpy()
        return ProfileFamily(
            energies=(float(ranges[0, 0]), float(ranges[0, 1])),
            clens=(float(ranges[1, 0]), float(ranges[1, 1])),
            radius=self.radius.numpy(),
            coefficients=(self.coefficients if corrected else self.physics).numpy(),
        )

    def law(self) -> Brightness:
        """Return what training frames say of the brightness."""
        mean, spread = self.brightness.tolist()
        return Brightness(mean, spread)

    def where(self) -> Points:
        """Return the points of the likelihood."""
        return points(self.family(), self.pixels.numpy(), self._settings.spacing)

    def _tables(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if self._table is None:
            family, where = self.family(), self.where()
            log_rate = family.log_rate(where.energy, where.clen)
            middle = log_rate.mean(0)
            asked = where.energy if int(self.column) == 0 else where.clen
            parts = (log_rate - middle, np.exp(log_rate), where.log_weight, asked)
            relative, rate, weight, value = (torch.from_numpy(part) for part in parts)
            self._table = (relative, rate, weight, value)
        return self._table

    def forward(self, profiles: Tensor) -> Tensor:
        """Return mean and standard deviation [batch, 2], eV or m."""
        relative, rate, weight, value = self._tables()
        photons, pixels = profiles[:, 0].to(torch.float64), profiles[:, 1].to(torch.float64)
        total = photons.sum(1, keepdim=True).clamp_min(1.0)
        expected = pixels @ rate.T
        level = torch.log(total / expected)
        trust = self.log_trust.exp()
        likelihood = photons @ relative.T + total * level
        variance = self.brightness[1] ** 2 + 1 / (total * trust)
        prior = -0.5 * (level - self.brightness[0]) ** 2 / variance + weight
        share = torch.softmax(likelihood * trust + prior, dim=1)
        mean = share @ value
        # As the spread about the mean, which keeps digits.
        spread = (share * (value - mean[:, None]) ** 2).sum(1).clamp_min(1e-300).sqrt()
        width = (self.ranges[self.column, 1] - self.ranges[self.column, 0]) / 100
        return torch.stack([mean + self.offset * width, spread * self.log_scale.exp()], dim=1)


def correct(
    family: ProfileFamily,
    photons: NDArray[np.float64],
    pixels: NDArray[np.float64],
    values: NDArray[np.float64],
    terms: int,
) -> tuple[ProfileFamily, NDArray[np.float64]]:
    """Bend a family to frames of known values by Poisson likelihood; return log a [n], too.

    What bends is the logarithm of the rate: Legendre polynomials of degree 1 to terms - 1 in
    the radius, each constant, linear in log photon_energy and linear in log clen. Every frame
    has a brightness of its own.
    """
    bins = photons.shape[1]
    grid = np.linspace(-1, 1, bins)
    radial = np.polynomial.legendre.legvander(grid, terms - 1)[:, 1:]
    scaled = [
        (2 * np.log(values[:, k]) - np.log(limits).sum()) / np.diff(np.log(limits))
        for k, limits in enumerate((family.energies, family.clens))
    ]
    with_value = np.column_stack([np.ones(len(values)), *scaled])
    shape = np.einsum("rk,nj->nrkj", radial, with_value).reshape(len(values), bins, -1)
    base = family.log_rate(values[:, 0], values[:, 1])
    found = np.zeros(shape.shape[2])
    level = np.zeros(len(values))
    for _ in range(NEWTON_STEPS if found.size else 1):
        rate = pixels * np.exp(base + shape @ found)
        total = np.maximum(photons.sum(1), 1)
        level = np.log(total / rate.sum(1))
        mean = rate * np.exp(level)[:, None]
        if not found.size:
            break
        centred = np.einsum("nrk,nr->nk", shape, mean)
        gradient = np.einsum("nrk,nr->k", shape, photons - mean) - found / CORRECTION_SPREAD**2
        weighted = (shape * np.sqrt(mean)[:, :, None]).reshape(-1, found.size)
        curvature = weighted.T @ weighted - (centred / total[:, None]).T @ centred
        curvature += np.eye(found.size) / CORRECTION_SPREAD**2
        step = np.linalg.solve(curvature, gradient)
        found = found + step / max(1.0, float(abs(step).max()) / CORRECTION_SPREAD)
    bent = family.coefficients.copy()
    by_value = (radial @ found.reshape(terms - 1, 3)).T if found.size else np.zeros((3, bins))
    bent[0, 0] += by_value[0]
    bent[1, 0] += by_value[1]
    bent[0, 1] += by_value[2]
    return ProfileFamily(family.energies, family.clens, family.radius, bent), cast(
        "NDArray[np.float64]", level
    )
