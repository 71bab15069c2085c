"""Trained models on frames of any source: hits, peaks, photon energy and camera length."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spotmill.inference.pipeline import Found, Pipeline, Prediction

__all__ = ["Found", "Pipeline", "Prediction"]


def __getattr__(name: str) -> Any:
    """Return what the package offers, imported when it is asked for: reading frames is quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from spotmill.inference import pipeline

    return getattr(pipeline, name)
