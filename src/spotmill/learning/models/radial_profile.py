"""Ours for photon energy and camera length: the likelihood of the frame's radial profile.

Each condition (dataset) has an expected profile, exp of a polynomial in the radius, which a
frame's brightness (flux, thickness of the water) multiplies; it is as uncertain beforehand as
it differs between training frames of one condition. A frame's log-likelihoods under all
conditions, Poisson in every bin, are mixed into classes.
It starts from the maximum-likelihood profiles of the training frames and is then trained
to tell the classes apart. Bragg spots are left out of the profile, with their pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from spotmill.learning.encoders import Encoded, Encoder, View, stack
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.profiles import radial_bins, radial_profile
from spotmill.model import Model
from spotmill.tasks import Input

# Newton's steps for the starting profiles; the problem is convex and far fewer suffice.
NEWTON_STEPS = 50
# And for a frame's brightness, which starts close to its solution.
BRIGHTNESS_STEPS = 4
# Least variance of the logarithm of the brightness: none.
LEAST_VARIANCE = 1e-10

# The settings that the encoder depends on.
ENCODED = ("bins", "spot_photons", "spot_reach")


class Settings(Model):
    """Of the profile and of the curves through it."""

    bins: int = Field(96, ge=4, le=4096, description="radial bins")
    terms: int = Field(8, ge=1, le=64, description="Legendre polynomials in the radius")
    spot_photons: int = Field(4, ge=2, description="photons in a pixel that make it a Bragg spot")
    spot_reach: int = Field(2, ge=0, description="pixels around it that are left out, too")


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Read the radial profile."""
    return ProfileEncoder(settings, view)


class ProfileEncoder:
    """Turns a frame into photons and live pixels by radius, [2, bins]."""

    def __init__(self, settings: Settings, view: View) -> None:
        self.settings = settings
        self.bin_of_pixel = radial_bins(view.radius, settings.bins)
        self.shape = (2, settings.bins)

    def encode(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Encoded:
        """Return the profile."""
        chosen = self.settings
        profile = radial_profile(
            image,
            mask,
            self.bin_of_pixel,
            chosen.bins,
            chosen.spot_photons,
            chosen.spot_reach,
        )
        return (np.stack(profile).astype(np.float32),)

    def batch(self, encoded: Sequence[Encoded]) -> Tensor:
        """Return profiles [n, 2, bins]."""
        return stack(encoded)


class Network(nn.Module):
    """Poisson likelihoods under one smooth profile a condition, mixed into classes."""

    basis: Tensor
    start: Tensor
    step: Tensor
    variance: Tensor

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        size = (dimensions.conditions, settings.terms)
        grid = torch.linspace(-1, 1, settings.bins, dtype=torch.float64)
        self.register_buffer("basis", legendre(grid, settings.terms))
        self.register_buffer("start", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("step", torch.ones(dimensions.conditions, 1, dtype=torch.float64))
        # Of the logarithm of a frame's brightness.
        self.register_buffer("variance", torch.tensor(LEAST_VARIANCE, dtype=torch.float64))
        # Steps are in units of a frame's own statistical error, so one learning rate serves.
        self.shift = nn.Parameter(torch.zeros(size, dtype=torch.float64))
        classes = max(dimensions.outputs, 2)
        self.mixture = nn.Parameter(
            torch.zeros(classes, dimensions.conditions, dtype=torch.float64)
        )
        self._outputs = dimensions.outputs

    def prepare(self, inputs: Tensor, truth: Tensor, condition: Tensor) -> None:
        """Fit each condition's profile and the classes' shares in it, by maximum likelihood."""
        spread, noise = 0.0, 0.0
        for number in range(len(self.start)):
            rows = inputs[condition == number].to(torch.float64)
            photons, pixels = rows[:, 0].sum(0), rows[:, 1].sum(0)
            self.start[number] = fit_profile(photons, pixels, self.basis)
            self.step[number] = (photons.sum() / len(rows)).clamp_min(1.0).rsqrt()
            total = rows[:, 0].sum(1).clamp_min(1.0)
            level = torch.log(total / (rows[:, 1] @ (self.start[number] @ self.basis).exp()))
            spread += float((level - level.mean()).square().sum()) / len(truth)
            noise += float((1 / total).sum()) / len(truth)
            shares = torch.bincount(truth[condition == number], minlength=len(self.mixture))
            # One frame more in each class: what was not seen is rare, not impossible.
            self.mixture.data[:, number] = torch.log(shares + 1.0) - np.log(len(truth))
        # What counting alone spreads is in the likelihood already. Where no more is seen, the
        # brightness is taken as known: its own error is a share of sqrt(2 / frames).
        excess = spread - noise
        clear = excess > 3 * noise * (2 / len(truth)) ** 0.5
        self.variance.fill_(max(excess, LEAST_VARIANCE) if clear else LEAST_VARIANCE)

    def forward(self, profiles: Tensor) -> Tensor:
        """Return logits [batch, outputs] of profiles [batch, 2, bins]."""
        photons, pixels = profiles[:, 0].to(torch.float64), profiles[:, 1].to(torch.float64)
        log_rate = (self.start + self.shift * self.step) @ self.basis
        # Against their mean: the large part that all conditions share would cost digits.
        middle = log_rate.mean(0, keepdim=True)
        likelihood = photons @ (log_rate - middle).T
        likelihood = likelihood + self.brightest(photons.sum(1, keepdim=True), pixels, log_rate)
        likelihood = likelihood + pixels @ middle.exp().T
        logits = torch.logsumexp(likelihood.unsqueeze(1) + self.mixture, dim=2)
        return logits if self._outputs > 1 else logits[:, 1:] - logits[:, :1]

    def brightest(self, total: Tensor, pixels: Tensor, log_rate: Tensor) -> Tensor:
        """Return N log a - a M - (log a)²/2s² at the best brightness a, [batch, condition].

        N photons are counted and M expected; s² is the variance of log a beforehand.
        """
        expected = pixels @ log_rate.exp().T
        with torch.no_grad():
            precision = 1 / self.variance
            level = torch.log(total.clamp_min(1.0) / expected.clamp_min(1e-12))
            level = level * total / (total + precision)
            for _ in range(BRIGHTNESS_STEPS):
                mean = expected * level.exp()
                level = level + (total - mean - level * precision) / (mean + precision)
        # At the best a the slope in a is 0: a may be held while the profile learns.
        return total * level - expected * level.exp() - 0.5 * level**2 * precision


def legendre(grid: Tensor, terms: int) -> Tensor:
    """Return the first Legendre polynomials on a grid, [terms, grid] (Bonnet's recursion)."""
    rows = [torch.ones_like(grid), grid]
    for n in range(1, terms - 1):
        rows.append(((2 * n + 1) * grid * rows[n] - n * rows[n - 1]) / (n + 1))
    return torch.stack(rows[:terms])


def fit_profile(photons: Tensor, pixels: Tensor, basis: Tensor) -> Tensor:
    """Return the coefficients of log(photons a pixel) of largest Poisson likelihood.

    Parameters
    ----------
    photons, pixels
        [bins] in all frames of a condition.
    basis
        [terms, bins].
    """
    coefficients = torch.zeros(len(basis), dtype=torch.float64)
    coefficients[0] = torch.log((photons.sum() + 1) / pixels.sum().clamp_min(1))
    ridge = 1e-6 * torch.eye(len(basis), dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        mean = pixels * torch.exp(coefficients @ basis)
        gradient = basis @ (photons - mean)
        curvature = (basis * mean) @ basis.T + ridge * mean.sum().clamp_min(1)
        change = torch.linalg.solve(curvature, gradient)
        # A full step may overshoot far from the solution, where the curvature is not its own.
        coefficients += change * min(1.0, 1.0 / float(change.abs().max().clamp_min(1e-12)))
    return coefficients
