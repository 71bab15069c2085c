"""What to call frames and datasets."""

from typing import TYPE_CHECKING

from spotmill.config import FIRST_EMPTY

if TYPE_CHECKING:
    from spotmill.report.inputs import Inputs


def frame_name(index: int) -> str:
    """Return what to call a frame: empties are counted from 0 like patterns."""
    return f"empty {index - FIRST_EMPTY}" if index >= FIRST_EMPTY else f"frame {index}"


def conditions(inputs: "Inputs", dataset: str) -> str:
    """Return photon energy and camera length of a dataset in a few characters."""
    row = inputs.datasets[dataset]
    return f"{row.photon_energy / 1000:g} keV, {row.clen:g} m"
