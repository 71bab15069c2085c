"""One shard made in a process of its own; a small module, as each process imports it."""

import os

from conftest import simulate_words

from spotmill.cli import main


def make_shard(folder: str, first: int) -> None:
    """Make three frames of the tiny configuration in a folder."""
    os.chdir(folder)
    assert main(simulate_words(f"p{first}", first, 3)) == 0
