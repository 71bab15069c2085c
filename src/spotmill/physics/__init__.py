"""The physics: NumPy and compiled kernels; no paths, no torch."""
