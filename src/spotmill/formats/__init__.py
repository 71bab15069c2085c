"""File layouts, each in one place."""
