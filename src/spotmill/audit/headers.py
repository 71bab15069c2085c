"""What files say of their making, held against the configuration."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spotmill.audit.expected import Expected
from spotmill.concepts import Response
from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, Shard, span
from spotmill.model import Model, parse_yaml, read_text
from spotmill.overlays.opener import open_overlay
from spotmill.plan import CONCEPTS, Plan
from spotmill.randomise import Randomise
from spotmill.recipes import RECIPES

# Which files of the configuration the images of each stage depend on.
MADE_WITH = {
    "simulate": ("detector", "response", "crystal", "beam", "randomise"),
    "water": ("detector", "response", "beam", "solvent"),
}
CONTENTS = {"simulate": "peaks", "labels": "labels", "overlay": "overlay"}
DEFAULTS: dict[str, Model] = {"response": Response(), "randomise": Randomise()}


def shard_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield in what a shard is not what the configuration asks for.

    Raises
    ------
    SpotmillError
        When it cannot be read to the end.
    """
    opener = open_overlay if file.stage == "overlay" else Shard
    with opener(file.path) as shard:
        header = shard.header
        yield from identity_findings(plan, file, header)
        if file.shard:
            first = plan.first(file.shard)
            wanted = np.arange(first, first + plan.count(file.name, file.shard))
            if not np.array_equal(shard.indices, wanted):
                yield f"holds frames {span(shard.indices)}, not {span(wanted)}"
        yield from made_findings(plan, file, header)
        for name in shard.columns():
            shard.column(name)
        for position in range(len(shard)):
            shard.read(position)


def identity_findings(plan: Plan, file: Expected, header: Header) -> Iterator[str]:
    """Yield what is wrong with dataset, energy, camera length, seed and recipe."""
    row = plan.datasets[file.name]
    wanted: dict[str, Any] = {
        "dataset": file.name,
        "photon_energy": row.photon_energy,
        "clen": row.clen,
        "seed": 0 if file.stage == "water" else plan.config.seed,
        "recipe": RECIPES[file.stage],
        "content": CONTENTS.get(file.stage, header.content),
    }
    if file.stage == "water":
        measured = bool(plan.measured_files(file.name))
        wanted["content"] = header.content if measured else "water"
    else:
        wanted["kind"] = "empty" if plan.first(file.shard) >= FIRST_EMPTY else "crystal"
    for name, value in wanted.items():
        found = getattr(header, name)
        if found != value:
            yield f"{name} is {found!r}, the configuration asks for {value!r}"


def made_findings(plan: Plan, file: Expected, header: Header) -> Iterator[str]:
    """Yield what is wrong with the concepts and settings that a shard was made with."""
    said, dataset = header.parameters, file.name
    if file.stage == "water":
        if "measured" not in said:
            yield from concept_findings(plan, dataset, "water", said)
        elif not text_agrees(plan, dataset, "detector", said):
            yield differs(plan, dataset, "detector")
        return
    if file.stage == "overlay":
        if not text_agrees(plan, dataset, "randomise", said):
            yield differs(plan, dataset, "randomise")
        water = said.get("water", {})
        if "measured" not in water:
            yield from concept_findings(plan, dataset, "water", water)
        if said.get("water_recipe") != RECIPES["water"]:
            yield f"was drawn on water of recipe {said.get('water_recipe')}"
        if header.kind == "empty":
            return
    if file.stage == "labels" and said.get("threshold") != plan.config.label_threshold:
        yield f"threshold is {said.get('threshold')}, not {plan.config.label_threshold}"
    if file.stage != "simulate":
        if said.get("peaks_recipe") != RECIPES["simulate"]:
            yield f"was made from peaks of recipe {said.get('peaks_recipe')}"
        said = said.get("peaks", {})
    yield from concept_findings(plan, dataset, "simulate", said)
    engine = plan.concept(dataset, "engine")
    settings: dict[str, Any] = {
        "min_spots": plan.config.hit.min_spots,
        "min_photons": plan.config.hit.min_photons,
        "noise": True,
        "engine": engine,
    }
    if engine != "integrated":
        settings["n_wavelengths"] = plan.config.n_wavelengths
    for name, value in settings.items():
        if said.get(name) != value:
            yield f"{name} was {said.get(name)!r}, the configuration asks for {value!r}"


def concept_findings(
    plan: Plan, dataset: str, stage: str, said: Mapping[str, Any]
) -> Iterator[str]:
    """Yield which files of the configuration say something else than when a shard was made."""
    for concept in MADE_WITH[stage]:
        if not text_agrees(plan, dataset, concept, said):
            yield differs(plan, dataset, concept)


def differs(plan: Plan, dataset: str, concept: str) -> str:
    """Return the finding of a concept that was another one."""
    path = plan.concept(dataset, concept)
    return f"was made with another {concept} than {path or 'none'}"


def text_agrees(plan: Plan, dataset: str, concept: str, said: Mapping[str, Any]) -> bool:
    """Return whether a recorded text says the same as the configuration's file."""
    path = plan.concept(dataset, concept)
    text = said.get(concept)
    if concept == "detector":
        return isinstance(text, str) and geometry_words(text) == geometry_words(read_text(path))
    default = DEFAULTS.get(concept)
    now = CONCEPTS[concept].read(path) if path else default
    try:
        then = default if text is None else CONCEPTS[concept].parse(parse_yaml(text, path), path)
    except SpotmillError:
        return False
    spectrum = getattr(now, "spectrum_file", None)
    if spectrum and "spectrum" in said and said["spectrum"] != read_text(spectrum):
        return False
    return then == now


def geometry_words(text: str) -> list[list[str]]:
    """Return the words of a geometry file, comments and layout left out."""
    lines = (line.split(";")[0].split() for line in text.splitlines())
    return [words for words in lines if words]


def geometry_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield where a written geometry is not that of its dataset."""
    from spotmill.concepts import Beam
    from spotmill.formats.geom import dataset_geometry, read_geometry
    from spotmill.formats.geom_writer import format_geometry

    row = plan.datasets[file.name]
    beam = Beam.read(plan.concept(file.name, "beam"))
    detector = read_geometry(Path(plan.concept(file.name, "detector")))
    randomise = plan.concept(file.name, "randomise")
    own = Randomise.read(randomise).own if randomise else ()
    spread = beam.spread(row.photon_energy)
    wanted = format_geometry(
        dataset_geometry(detector, row.clen, row.photon_energy, spread, own=own)
    )
    if read_text(file.path) != wanted:
        yield "is not the geometry that the configuration asks for"


def reflection_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield where reflections were made for another limit."""
    from spotmill.formats.reflections import read_reflections

    reflections, wanted = read_reflections(file.path), plan.crystals[file.name].d_min
    if wanted is not None and abs(reflections.d_min - wanted) > 1e-5 * wanted:
        yield f"d_min is {reflections.d_min:g} Å, the configuration asks for {wanted:g} Å"
