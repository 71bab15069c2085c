"""What was probably meant by a word that is not known."""

from collections.abc import Collection
from difflib import get_close_matches

FEW = 12  # words that are read at a glance
MANY = 40
# Below this share of common letters two words are not alike.
ALIKE = 0.6

# What others call the same.
SYNONYMS = {
    "camera_length": "clen",
    "camera_distance": "clen",
    "detector_distance": "clen",
    "distance": "clen",
    "energy": "photon_energy",
    "wavelength": "photon_energy",
    "frames": "n_patterns",
    "n_frames": "n_patterns",
    "patterns": "n_patterns",
    "name": "dataset",
    "flux": "nphotons",
    "photons": "nphotons",
    "focus": "beam_radius",
    "geometry": "detector",
    "background": "solvent",
    "water": "solvent",
    "resolution": "d_min",
    "pdb": "structure",
    "lr": "learning_rate",
    "license": "licence",
}


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return the known word that is most like another, or means the same; None without one."""
    plain = word.strip().lower().replace("-", "_").replace(" ", "_")
    folded = {one.lower().replace("-", "_"): one for one in known}
    if plain in folded:
        return folded[plain]
    if SYNONYMS.get(plain) in known:
        return SYNONYMS[plain]
    alike = get_close_matches(plain, folded, n=1, cutoff=ALIKE)
    return folded[alike[0]] if alike else None


def instead(word: str, known: Collection[str]) -> str:
    """Return the end of a message: known words, where they are few, and the likely one."""
    near = nearest(word, known)
    told = ""
    if near is None or len(known) <= FEW:
        names = list(known)
        cut = names if len(names) <= MANY else [*names[:FEW], f"... ({len(names)} in all)"]
        told = f"; known here: {', '.join(cut)}" if names else "; none is known here"
    return f"{told}; did you mean {near}?" if near else told
