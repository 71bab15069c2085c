"""The report as one page, with its pictures and scripts beside it."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import pandas as pd
from markupsafe import Markup

from spotmill import __version__
from spotmill.concepts import Crystal
from spotmill.errors import SpotmillError
from spotmill.html_templates import html_templates
from spotmill.recipes import RECIPES
from spotmill.report.changes import Changes
from spotmill.report.evaluations import Task
from spotmill.report.figures_data import judge_water
from spotmill.report.figures_map import odd_rows
from spotmill.report.flux import FluxTask, judge_flux
from spotmill.report.inputs import Inputs
from spotmill.report.names import frame_name
from spotmill.report.peaks import PeakTask, judge_peaks
from spotmill.report.saliency import Saliency
from spotmill.report.standings import in_one_breath, standings
from spotmill.report.style import Drawing
from spotmill.report.values import ValueTask, judge_values
from spotmill.report.verdict import TITLES, Group, Verdict, claim, judge, percent
from spotmill.report.words import interval, length, number, share, span

# What the numbers depend on, besides Spotmill itself.
LIBRARIES = ("numpy", "scipy", "numba", "gemmi", "h5py", "torch", "lightning", "scikit-learn")


@dataclass(frozen=True)
class Looked:
    """Where the model of a task looked, with its figure."""

    saliency: Saliency
    drawing: Drawing


class Figures:
    """The figures of a task: those that all should see, and the rest."""

    drawings: Sequence[Drawing]

    @property
    def key(self) -> str:
        """The figure that says most."""
        return "confusion"

    @property
    def first(self) -> list[Drawing]:
        """The figure that says most, and the errors."""
        return [one for one in self.drawings if one.name.endswith((f"_{self.key}", "_errors"))]

    @property
    def rest(self) -> list[Drawing]:
        """All others, which lie folded up."""
        first = {one.name for one in self.first}
        return [one for one in self.drawings if one.name not in first]


@dataclass(frozen=True)
class TaskSection(Figures):
    """A task of classes with its figures."""

    task: Task
    group: Group
    drawings: Sequence[Drawing]
    looked: Looked | None = None
    template: ClassVar[str] = "task_classes.html.j2"

    @property
    def key(self) -> str:
        """Of hits all thresholds, of other classes what was true and what was said."""
        return "curves" if self.group.finds_hits else "confusion"

    @property
    def claim(self) -> str:
        """What the paper says of its model."""
        return claim(self.task)

    @property
    def verdict(self) -> Verdict:
        """Whether its result can be believed, and why."""
        return judge(self.task)


@dataclass(frozen=True)
class ValueSection(Figures):
    """A task of values with its figures."""

    task: ValueTask
    drawings: Sequence[Drawing]
    looked: Looked | None = None
    template: ClassVar[str] = "task_values.html.j2"

    @property
    def title(self) -> str:
        """What it asks for."""
        return TITLES.get(self.task.evaluation.target, self.task.evaluation.target)

    @property
    def verdict(self) -> Verdict:
        """Whether its result can be believed, and why."""
        return judge_values(self.task.evaluation)


@dataclass(frozen=True)
class PeakSection(Figures):
    """A task of peaks with its figures."""

    task: PeakTask
    drawings: Sequence[Drawing]
    looked: Looked | None = None
    template: ClassVar[str] = "task_peaks.html.j2"

    @property
    def verdict(self) -> Verdict:
        """Whether its result can be believed, and why."""
        return judge_peaks(self.task.evaluation)


@dataclass(frozen=True)
class FluxSection(Figures):
    """A task of hits at several fluxes with its figures."""

    task: FluxTask
    drawings: Sequence[Drawing]
    looked: Looked | None = None
    template: ClassVar[str] = "task_flux.html.j2"

    @property
    def verdict(self) -> Verdict:
        """Whether its result can be believed, and why."""
        return judge_flux(self.task.evaluation)


Section = TaskSection | ValueSection | PeakSection | FluxSection

# Sections that others than this module fill.
PARTS = ("gallery", "changes", "cost")
# Figures of the data that lie folded up.
FOLDED = ("frame_detail", "datasets", "distributions", "map")


@dataclass(frozen=True)
class Contents:
    """All that stands on the page."""

    inputs: Inputs
    table: pd.DataFrame
    groups: Sequence[Group]
    verdict: Drawing | None
    data: Sequence[Drawing]
    tasks: Sequence[TaskSection]
    values: Sequence[ValueSection] = ()
    peaks: Sequence[PeakSection] = ()
    flux: Sequence[FluxSection] = ()
    changes: Changes | None = None

    @property
    def sections(self) -> list[Section]:
        """All tasks in the order of the table of verdicts."""
        parts: list[Section] = [*self.tasks, *self.values, *self.peaks, *self.flux]
        named = {part.task.name: part for part in parts}
        return [named[row.task] for row in standings(self.inputs)]

    @property
    def drawings(self) -> list[Drawing]:
        """All figures, in the order of the page."""
        first = [self.verdict] if self.verdict else []
        last = [self.changes.drawing] if self.changes and self.changes.drawing else []
        tasks = [drawing for part in self.sections for drawing in part.drawings]
        looked = [part.looked.drawing for part in self.sections if part.looked]
        return [*first, *self.data, *tasks, *looked, *last]


def render(contents: Contents, figures: str = "figures") -> str:
    """Return the page as HTML; `figures` is the place of the figures as the page sees it."""
    environment = html_templates("spotmill.report")
    environment.filters |= {
        "percent": percent,
        "share": share,
        "number": number,
        "interval": interval,
        "frame": frame_name,
        "json": lambda value: json.dumps(value, ensure_ascii=False, indent=2),
        "place": lambda drawing: f"{figures}/{drawing.name}",
        "chart_height": lambda drawn: json.loads(drawn)["layout"]["height"],
        "inert": inert,
        "spaced": lambda name: name.replace("_", " "),
    }
    inputs = contents.inputs
    counts = contents.table[["patterns", "empties", "hits"]].sum().to_dict()
    shown = standings(inputs)
    return environment.get_template("report.html.j2").render(
        contents=contents,
        inputs=inputs,
        summary=summary(inputs),
        breath=in_one_breath(shown),
        standings=shown,
        named={row.task: row for row in shown},
        water=judge_water(inputs, contents.table),
        sections=contents.sections,
        parts=[name for name in PARTS if name != "changes" or contents.changes],
        figures=figures,
        data=[one for one in contents.data if one.name not in FOLDED],
        folded=[one for one in contents.data if one.name in FOLDED],
        rows=contents.table.to_dict("records"),
        total=counts | {"hit_fraction": counts["hits"] / (counts["patterns"] or math.nan)},
        config_name=next(iter(inputs.texts)),
        odd=odd_rows(inputs.frame_map) if inputs.frame_map else None,
        recipes=recipes(inputs.manifest),
        versions=versions(inputs),
    )


def summary(inputs: Inputs) -> str:
    """Say in one sentence what was made."""
    names = list(inputs.datasets)
    crystals = unique(crystal_words(crystal) for crystal in map(inputs.crystal, names))
    detectors = unique(detector_words(inputs, name) for name in names)
    beams = unique(
        f"{number(beam.nphotons)} photons, {length(2 * beam.beam_radius)} across, of "
        f"{percent(beam.bandwidth)} bandwidth"
        for beam in map(inputs.beam, names)
    )
    energies = span([d.photon_energy / 1000 for d in inputs.datasets.values()])
    clens = span([d.clen for d in inputs.datasets.values()])
    kinds = inputs.manifest["kind"].value_counts()
    patterns, empties = int(kinds.get("crystal", 0)), int(kinds.get("empty", 0))
    return (
        f"{len(inputs.manifest)} simulated frames ({patterns} patterns, {empties} without a "
        f"crystal) of {crystals} in water, on {detectors}, in pulses of {beams}, at "
        f"{energies} keV and camera lengths of {clens} m."
    )


def detector_words(inputs: Inputs, dataset: str) -> str:
    """Return the name of a dataset's detector, with its pixels."""
    detector = inputs.detector(dataset)
    name = inputs.concept(dataset, "detector").rsplit("/", 1)[-1].removesuffix(".geom")
    height, width = detector.shape
    return f"{name} ({height} × {width} pixels of {length(detector.pixel_size)})"


def unique(words: Any) -> str:
    """Join what differs with “and”."""
    return " and ".join(dict.fromkeys(words))


def crystal_words(crystal: Crystal) -> str:
    """Return a crystal with its size, or the range of sizes that can be drawn."""
    low, high = (length(size) for size in crystal.size.bounds)
    return f"{crystal.name} crystals of {low if low == high else f'{low} to {high}'}"


def inert(chart: str) -> Markup:
    """Return JSON that may stand within a script element: nothing in it ends the element."""
    # Only marks that HTML reads are changed, into what JSON reads the same.
    for mark in "<>&":
        chart = chart.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(chart)


def recipes(manifest: pd.DataFrame) -> dict[str, str]:
    """Return the recipes that made the frames (from the manifest) and all later stages."""
    found: dict[str, set[str]] = {name: {str(value)} for name, value in RECIPES.items()}
    made: dict[str, set[str]] = {}
    for text in manifest["recipe"].unique():
        try:
            values: Mapping[str, Any] = json.loads(text)
        except json.JSONDecodeError as error:
            raise SpotmillError("manifest: recipe: is not JSON; remake the manifest") from error
        for name, value in values.items():
            made.setdefault(name, set()).add(str(value))
    return {name: " and ".join(sorted(values)) for name, values in (found | made).items()}


def versions(inputs: Inputs) -> dict[str, str]:
    """Return the versions of Spotmill, of Python and of the libraries behind the numbers."""
    trained = {str(task.card["version"]) for task in inputs.tasks if "version" in task.card}
    found = {"spotmill (this report)": __version__}
    if trained:
        found["spotmill (models)"] = " and ".join(sorted(trained))
    found["python"] = platform.python_version()
    return found | {name: version(name) for name in LIBRARIES}
