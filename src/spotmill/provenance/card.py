"""The card of a dataset: what it is, for readers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from spotmill import __version__
from spotmill.concepts import Crystal
from spotmill.config import Publication
from spotmill.model import parse_yaml
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.provenance import words
from spotmill.provenance.croissant import MEANINGS
from spotmill.provenance.facts import Facts
from spotmill.provenance.publication import citation, licence_words
from spotmill.provenance.story import recipes
from spotmill.randomise import Randomise

PICTURES = {"frames": "frames.png", "water": "water.png", "spots": "spots.png"}
LIMITS = (
    "Nothing here was measured. A model trained on it alone has seen no real detector, jet or "
    "crystal; test it on real frames before you trust it.",
    "One crystal structure, with ideal order but for what is stated above: no radiation damage, "
    "twinning, diffuse scattering, ice or salt rings.",
    "Orientations are drawn evenly: no preferred orientation, as plates and needles in a jet have.",
    "No absorption edges: Friedel's law holds (no anomalous signal).",
)
ENGINE_LIMITS = {
    "integrated": "Spots are in closed form: right while a peak is narrow against the bandwidth; "
    "no fringes between spots of very small crystals (`docs/physics.md`).",
    "lattice": "Crystals are perfect boxes in a parallel beam; the spectrum is a few samples "
    "(`docs/engines.md`).",
    "crystfel": "Spots are those of CrystFEL's pattern_sim, with its limits "
    "(`docs/from-pattern-sim.md`).",
}


def made_of(facts: Facts) -> Mapping[str, Any]:
    """Return what made the peaks of a dataset; empty for one without patterns."""
    return facts.overlay.parameters.get("peaks") or {}


def crystal_name(facts: Facts) -> str:
    """Return what the dataset's crystal is called."""
    made = made_of(facts)
    if not made:
        return "no crystal"
    source = facts.manifest_file
    return Crystal.parse(parse_yaml(made["crystal"], source), source).name


def title(facts: Facts) -> str:
    """Return a dataset in a few words."""
    header = facts.overlay
    return (
        f"{crystal_name(facts)} at {header.photon_energy / 1000:g} keV, camera length "
        f"{words.metres(header.clen)}"
    )


def summary(facts: Facts) -> str:
    """Return a dataset in two sentences."""
    ss, fs = facts.water.shape
    return (
        f"{len(facts.manifest)} simulated frames of serial crystallography, {ss} x {fs} pixels "
        f"each: {len(facts.patterns)} patterns of {crystal_name(facts)} and {len(facts.empties)} "
        "frames without a crystal, every one with its true spots and its labels. "
        f"{facts.hits} of the patterns are hits."
    )


def render(facts: Facts, publication: Publication, folder: Path) -> str:
    """Return the card as Markdown, to be written into a folder with its pictures."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spotmill.provenance"),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    measured = "measured" in facts.background.parameters
    name = facts.name
    drawn = recipes(facts.overlay)
    profile = facts.profile
    return environment.get_template("card.md.j2").render(
        name=name,
        title=cell(title(facts)),
        summary=cell(summary(facts)),
        pictures=PICTURES,
        counts=[(what, cell(value)) for what, value in counts(facts)],
        made=[(what, cell(value)) for what, value in made_rows(facts)],
        but_background=" but its background" if measured else "",
        water_told=(
            f", and {profile.frames} frames without a crystal against it: "
            f"{profile.total:.6g} photons a frame drawn, {profile.expected_total:.6g} expected."
            if profile.frames
            else "."
        ),
        files=file_rows(facts),
        limits=limits(facts),
        licence=licence_words(publication),
        citation=citation(publication, f"Dataset {name}: {title(facts)}", facts.fingerprint),
        fingerprint=facts.fingerprint,
        commands=[
            f"snakemake --profile profiles/local {folder.as_posix()}/README.md",
            f"spotmill explain {name}/{int(facts.manifest['index'].iloc[0])} --export remake",
        ],
        version=__version__,
        recipes=", ".join(f"{stage} {number}" for stage, number in sorted(drawn.items())),
        seed=facts.overlay.seed,
    )


def cell(text: str) -> str:
    """Return a text as it may stand in a table of Markdown."""
    for sign in "\\|*_<>`[]":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def counts(facts: Facts) -> list[tuple[str, str]]:
    """Return how much there is, in words."""
    made, patterns = made_of(facts), facts.patterns
    rows = [
        ("frames", str(len(facts.manifest))),
        ("patterns (with a crystal)", str(len(patterns))),
        ("empties (background alone)", str(len(facts.empties))),
    ]
    if len(patterns):
        low, high = facts.hit_interval
        rows += [
            (
                "hits",
                f"{facts.hits} of {len(patterns)} patterns, {facts.hits / len(patterns):.1%} "
                f"(95 % interval {low:.1%} to {high:.1%}); a hit has at least "
                f"{made['min_spots']} spots of at least {made['min_photons']} photons",
            ),
            ("spots a pattern", spread(patterns["n_spots"].to_numpy())),
            ("Bragg photons a pattern", spread(patterns["photons"].to_numpy())),
        ]
    if len(facts.photons):
        rows += [
            ("photons of a spot that counts", spread(facts.photons)),
            (
                "resolution of spots that count",
                f"median {np.median(facts.resolution):.3g} Å, finest {facts.resolution.min():.3g} "
                f"Å; the detector reaches {facts.d_edge:.3g} Å",
            ),
        ]
    live = facts.water[facts.mask]
    rows.append(
        (
            "background photons a frame",
            f"{live.sum(dtype=np.float64):.6g} expected, {live.mean(dtype=np.float64):.3g} a pixel",
        )
    )
    return rows


def spread(values: NDArray[Any]) -> str:
    """Return mean, median and range of some numbers."""
    return (
        f"mean {values.mean():.4g}, median {np.median(values):.4g}, "
        f"{values.min():.4g} to {values.max():.4g}"
    )


def made_rows(facts: Facts) -> list[tuple[str, str]]:
    """Return what made a dataset, in words."""
    header, made = facts.overlay, made_of(facts)
    water = facts.background.parameters
    source = facts.manifest_file
    rows = [
        (
            "photon energy",
            f"{header.photon_energy:g} eV, wavelength "
            f"{wavelength_from_photon_energy(header.photon_energy):.5g} Å",
        ),
        ("camera length", words.metres(header.clen)),
    ]
    if made:
        rows.append(("crystal", words.crystal_words(made, source)))
    beam = made.get("beam") or water.get("beam")
    if beam:
        rows.append(("beam", words.beam_words(beam, source)))
    rows += [
        ("detector", words.detector_words(water["detector"], header.clen, source)),
        ("response", words.response_words(made.get("response") or water.get("response"), source)),
        ("background", words.solvent_words(water, source)),
    ]
    if made:
        rows.append(("engine", words.engine_words(made)))
    drawn = header.parameters.get("randomise")
    rows.append(("from frame to frame", words.randomise_words(drawn, source)))
    return rows


def limits(facts: Facts) -> list[str]:
    """Return what the dataset cannot stand for."""
    found = list(LIMITS)
    made = made_of(facts)
    if made:
        found.append(ENGINE_LIMITS[made["engine"]])
    source = facts.manifest_file
    text = facts.overlay.parameters.get("randomise")
    if text is None or Randomise.parse(parse_yaml(text, source), source) == Randomise():
        found.append(
            "Beam, detector and background are the same in every frame; a model can learn them by "
            "heart."
        )
    if facts.overlay.saturation is None:
        found.append("The detector states no saturation: no pixel overflows.")
    return found


def file_rows(facts: Facts) -> Sequence[Mapping[str, Any]]:
    """Return the kinds of files of a dataset."""
    rows = []
    for column, what in MEANINGS.items():
        part = facts.manifest[facts.manifest[column] != ""]
        names = sorted(set(part[column]))
        if names:
            if column == "overlay" and "virtual" in facts.overlay.parameters:
                what += "; virtual: Spotmill draws them when it reads these files"
            parent = Path(names[0]).parent.as_posix()
            rows.append(_file_row(f"{parent}/*{Path(names[0]).suffix}", what, names, len(part)))
    known = {name for column in MEANINGS for name in facts.manifest[column]}
    frames = [name for name in facts.files if name.endswith(".frames.parquet")]
    if frames:
        where = f"{Path(frames[0]).parent.as_posix()}/*.frames.parquet"
        what = "Table of the frames: orientation, size, conditions"
        rows.append(_file_row(where, what, frames, len(facts.patterns)))
        known |= set(frames)
    single = {
        facts.manifest_file: "One row a frame: its labels, and where its images stand",
    }
    for name in facts.files:
        if name not in known:
            what = "Geometry, for CrystFEL" if name.endswith(".geom") else "Expected background"
            rows.append(_file_row(name, single.get(name, what), [name], None))
    return rows


def _file_row(where: str, what: str, names: Sequence[str], frames: int | None) -> dict[str, Any]:
    return {
        "where": where,
        "what": what,
        "frames": "" if frames is None else frames,
        "number": len(names),
        "bytes": sum(Path(name).stat().st_size for name in names),
    }
