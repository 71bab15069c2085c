"""Pages of Spotmill in a real browser."""
