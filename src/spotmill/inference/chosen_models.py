"""Which models of a folder tell what: by their cards, before torch is loaded."""

from collections.abc import Sequence
from pathlib import Path

from spotmill.errors import SpotmillError
from spotmill.learning.card_file import CARD, WEIGHTS, load_card
from spotmill.nearest import instead

TARGETS = ("hit", "peaks", "photon_energy", "camera_length")
# Of the tasks of a folder that tell one thing, the first of these is taken.
PREFERRED = {
    "hit": ("hit",),
    "peaks": ("peaks",),
    "photon_energy": ("photon_energy_values", "photon_energy"),
    "camera_length": ("camera_length_values", "camera_length"),
}


def choose(folder: Path, tasks: Sequence[str] | None) -> dict[str, str]:
    """Return the name of the model to use for each target.

    Raises
    ------
    SpotmillError
        When there is none of hits, one that is asked for is missing, or it is not clear which.
    """
    if not folder.is_dir():
        raise SpotmillError(f"{folder}: is no folder of models; give results/models of a run")
    if (folder / CARD).is_file():
        raise SpotmillError(
            f"{folder}: is one model, not the folder of them; give --models {folder.parent} "
            f"(and --tasks {folder.name}, if it is to be this one)"
        )
    there = sorted(place.parent.name for place in folder.glob(f"*/{CARD}") if place.is_file())
    for name in tasks or ():
        if not (folder / name).is_dir():
            raise SpotmillError(f"{folder}: holds no model {name!r}{instead(name, there)}")
    names = list(tasks or ()) or there
    if not tasks:
        for place in sorted(folder.glob(f"*/{WEIGHTS}")):
            if place.parent.name not in names:
                raise SpotmillError(
                    f"{place.parent}: has weights but no {CARD}; train the model again, or name "
                    "those to use with --tasks"
                )
    by_target: dict[str, list[str]] = {}
    for name in names:
        target = str(load_card(folder / name)["target"])
        by_target.setdefault(target, []).append(name)
    chosen = {}
    for target, found in by_target.items():
        best = [name for name in PREFERRED.get(target, ()) if name in found]
        if (not best and len(found) > 1) or (tasks and len(found) > 1):
            raise SpotmillError(
                f"{folder}: holds several models of {target} ({', '.join(found)}); "
                "name those to use with --tasks"
            )
        chosen[target] = (best or found)[0]
    if "hit" not in chosen:
        raise SpotmillError(
            f"{folder}: holds no model of hits; train a task of target hit "
            f"(it holds {', '.join(names) or 'none'})"
        )
    return {target: chosen[target] for target in TARGETS if target in chosen}
