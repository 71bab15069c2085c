"""Ours for hits at low flux: how often photons stand together, against their background.

With few photons no spot stands out; but a crystal's photons stand together more often than
the background's. The encoder counts windows by photons and background
(`spotmill.learning.windows`); the network weighs every count by the log-likelihood ratio of
a window of a hit against one of background,

    w(photons; background) = log(1 + sum_j rho_j (P(photons; background + mu_j) / P(photons;
    background) - 1)),

with learnt shares rho_j of windows that hold mu_j photons of a spot, for some hypotheses of
the flux at once, and mixes the hypotheses. The same weights serve every photon energy and
camera length, as they depend on the background alone.
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
from spotmill.learning.windows import EDGES, Blocks, blocks_of, count_windows, poisson_columns
from spotmill.model import Model
from spotmill.tasks import Input

# Bounds of the zones: photons a pixel, in steps of a factor exp(1/4).
LOWEST, HIGHEST, STEP = 1e-3, 10.0, 0.25

# Photons of a spot in a window, and the fluxes of the hypotheses, where training starts.
LIT = np.geomspace(0.03, 300.0, 9)
FLUXES = np.geomspace(1e-4, 1.0, 9)

# Of one window, in logarithms: beyond, nothing is in doubt.
MOST_TOLD = 15.0

# Start: spots a pixel, and the law of their photons at full flux (median, deviation of the log).
SPOTS, MEDIAN, SPREAD = 4e-5, 100.0, 1.6


class Settings(Model):
    """Of the windows."""

    block: int = Field(32, ge=8, le=1024, description="pixels; blocks of the local background")
    most: int = Field(12, ge=4, le=64, description="windows of this many photons and more are one")


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Count windows."""
    return WindowEncoder(settings)


def zone_edges() -> NDArray[np.float64]:
    """Return the backgrounds that part the zones, photons a pixel."""
    return np.exp(np.arange(np.log(LOWEST), np.log(HIGHEST) + STEP, STEP))


class WindowEncoder:
    """Turns a frame into counted and expected windows, [2, window, zone, photons]."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._edges = zone_edges()
        self._blocks: Blocks | None = None
        self.shape = (2, len(EDGES), len(self._edges) + 1, settings.most + 1)

    def encode(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Encoded:
        """Return counted and expected windows."""
        chosen = self._settings
        if self._blocks is None or not np.array_equal(self._blocks.mask, mask):
            self._blocks = blocks_of(mask, chosen.block)
        windows = count_windows(image, self._blocks, self._edges, chosen.most)
        return (np.stack([windows.counted, windows.expected]).astype(np.float32),)

    def batch(self, encoded: Sequence[Encoded]) -> Tensor:
        """Return windows [n, 2, window, zone, photons]."""
        return stack(encoded)


class Network(nn.Module):
    """Log-likelihood ratios of windows under hypotheses of the flux, mixed."""

    ratio: Tensor
    bias: Tensor

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        edges = zone_edges()
        middle = np.exp(np.concatenate([[np.log(edges[0]) - STEP / 2], np.log(edges) + STEP / 2]))
        area = np.array(EDGES)[:, None] ** 2 * middle
        dark = poisson_columns(area, np.zeros_like(area), settings.most)
        lit = area[..., None] + LIT
        bright = poisson_columns(lit, np.zeros_like(lit), settings.most)
        ratio = bright / np.maximum(dark, 1e-300)[:, :, None, :] - 1.0
        self.register_buffer("ratio", torch.from_numpy(np.minimum(ratio, 1e30)))
        self.register_buffer("bias", torch.zeros(dark.shape, dtype=torch.float64))
        law = np.exp(-0.5 * ((np.log(LIT / MEDIAN) - np.log(FLUXES)[:, None]) / SPREAD) ** 2)
        share = np.log(SPOTS * law + 1e-9)
        windows = len(EDGES)
        self.share = nn.Parameter(torch.from_numpy(share).repeat(windows, 1, 1))
        self.scale = nn.Parameter(torch.full((windows, len(FLUXES)), -1.0, dtype=torch.float64))
        self.offset = nn.Parameter(torch.full((len(FLUXES),), 2.0, dtype=torch.float64))

    def prepare(self, inputs: Tensor, truth: Tensor, condition: Tensor) -> None:
        """Learn from the training frames without a hit by how much the expectation is off."""
        counted, expected = inputs[truth == 0].to(torch.float64).sum(0)
        # Weighed against a thousand windows of no error.
        self.bias.copy_((counted - expected) / (expected + 1000.0))

    def weights(self) -> Tensor:
        """Return log-likelihood ratios [hypothesis, window, zone, photons]."""
        share = torch.exp(self.share.clamp(max=-3.0))
        excess = torch.einsum("wkj,wzjn->kwzn", share, self.ratio)
        weight = torch.log1p(excess.clamp(min=-0.9)) * torch.exp(self.scale).T[:, :, None, None]
        return weight.clamp(max=MOST_TOLD)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits [batch, 1] of windows [batch, 2, window, zone, photons].

        The log-likelihood ratio of Poisson counts n of means m and m exp(w) is the sum of
        n w - m (exp(w) - 1). Windows overlap, so counts are not independent: a learnt scale
        makes less of w.
        """
        expected = windows[:, 1].to(torch.float64) * (1.0 + self.bias)
        excess = windows[:, 0].to(torch.float64) - expected
        weight = self.weights()
        told = torch.einsum("bwzn,kwzn->bk", excess, weight)
        told = told - torch.einsum("bwzn,kwzn->bk", expected, torch.expm1(weight) - weight)
        return torch.logsumexp(told - self.offset, dim=1, keepdim=True)
