"""Trained models on frames of any source: hits, peaks, photon energy and camera length."""

from spotmill.inference.pipeline import Found, Pipeline, Prediction

__all__ = ["Found", "Pipeline", "Prediction"]
