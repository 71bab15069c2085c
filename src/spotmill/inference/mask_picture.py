"""A picture of the mean frame with the pixels that a mask calls bad."""

from pathlib import Path

import numpy as np

from spotmill.formats.atomic import atomic
from spotmill.formats.pixel_mask import BITS
from spotmill.inference.pixel_mask import Found
from spotmill.report import style
from spotmill.report.style import new_figure, styled, to_png

WIDEST = 900  # blocks across the picture
MARKS = {"hot": ("o", style.ORANGE), "noisy": ("s", style.GREEN), "dead": ("x", style.BLUE)}


def draw_mask(path: Path, found: Found) -> None:
    """Write the picture (PNG): logarithm of the mean, bad pixels marked by their kind."""
    known = (found.mask & (1 << BITS["known"])) != 0
    step = max(1, -(-max(found.mask.shape) // WIDEST))
    mean = np.ma.MaskedArray(np.log10(np.maximum(found.mean, 1e-4)), mask=known)[::step, ::step]
    # Dead pixels do not stretch the scale.
    low, high = np.percentile(mean.compressed(), [0.5, 99.9]) if mean.count() else (0.0, 1.0)
    n_ss, n_fs = found.mask.shape
    with styled():
        figure = new_figure(9.0, 9.2)
        axes = figure.subplots()
        picture = axes.imshow(mean, cmap="Greys", extent=(0, n_fs, n_ss, 0), vmin=low, vmax=high)
        for kind, (marker, colour) in MARKS.items():
            ss, fs = np.nonzero(found.mask & (1 << BITS[kind]))
            label = f"{kind} ({len(ss)})"
            axes.plot(
                fs + 0.5, ss + 0.5, marker, mec=colour, mfc="none", ms=5, mew=0.9, label=label
            )
        axes.set_xlabel("fs (pixel)")
        axes.set_ylabel("ss (pixel)")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(MARKS))
        figure.colorbar(
            picture,
            ax=axes,
            shrink=min(0.8, 0.8 * n_ss / n_fs),
            label="photons a frame, logarithm to base 10",
        )
        raw = to_png(figure)
    with atomic(path) as temporary:
        temporary.write_bytes(raw)
