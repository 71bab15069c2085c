"""Data, models, training and metrics: the only place that imports torch."""
