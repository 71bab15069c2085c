"""Overlays: frames of background and peaks, drawn into files or when they are read."""
