"""The report as one page that needs nothing else."""

import base64
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jinja2
import pandas as pd

from spotmill import __version__
from spotmill.concepts import Crystal
from spotmill.errors import SpotmillError
from spotmill.recipes import RECIPES
from spotmill.report.evaluations import Task
from spotmill.report.figures_map import odd_rows
from spotmill.report.flux import FluxTask, judge_flux
from spotmill.report.inputs import Inputs
from spotmill.report.names import frame_name
from spotmill.report.peaks import PeakTask, judge_peaks
from spotmill.report.style import Drawing
from spotmill.report.values import ValueTask, judge_values
from spotmill.report.verdict import TITLES, Group, Verdict, judge, percent

# What the numbers depend on, besides Spotmill itself.
LIBRARIES = ("numpy", "scipy", "numba", "gemmi", "h5py", "torch", "lightning", "scikit-learn")

SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclass(frozen=True)
class TaskSection:
    """A task with its figures."""

    task: Task
    group: Group
    drawings: Sequence[Drawing]


@dataclass(frozen=True)
class ValueSection:
    """A task of values with its figures."""

    task: ValueTask
    drawings: Sequence[Drawing]

    @property
    def title(self) -> str:
        """What it asks for."""
        return TITLES.get(self.task.evaluation.target, self.task.evaluation.target)

    @property
    def verdict(self) -> Verdict:
        """Whether its result can be believed, and why."""
        return judge_values(self.task.evaluation)


@dataclass(frozen=True)
class PeakSection:
    """A task of peaks with its figures."""

    task: PeakTask
    drawings: Sequence[Drawing]

    @property
    def verdict(self) -> Verdict:
        """Whether its result can be believed, and why."""
        return judge_peaks(self.task.evaluation)


@dataclass(frozen=True)
class FluxSection:
    """A task of hits at several fluxes with its figures."""

    task: FluxTask
    drawings: Sequence[Drawing]

    @property
    def verdict(self) -> Verdict:
        """Whether its result can be believed, and why."""
        return judge_flux(self.task.evaluation)


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

    @property
    def drawings(self) -> list[Drawing]:
        """All figures, in the order of the page."""
        first = [self.verdict] if self.verdict else []
        tasks = [d for part in self.tasks for d in part.drawings]
        values = [d for part in self.values for d in part.drawings]
        peaks = [d for part in self.peaks for d in part.drawings]
        flux = [d for part in self.flux for d in part.drawings]
        return [*first, *self.data, *tasks, *values, *peaks, *flux]


def render(contents: Contents) -> str:
    """Return the page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spotmill.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "share": share,
        "number": number,
        "interval": interval,
        "frame": frame_name,
        "json": lambda value: json.dumps(value, ensure_ascii=False, indent=2),
        "embed": embed,
    }
    inputs = contents.inputs
    return environment.get_template("report.html.j2").render(
        contents=contents,
        inputs=inputs,
        summary=summary(inputs),
        rows=contents.table.to_dict("records"),
        passed=sum(judge(task).good for task in inputs.tasks),
        judge=judge,
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
        f"{number(beam.nphotons)} photons within {length(2 * beam.beam_radius)} and "
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


def length(metres: float) -> str:
    """Return a small length in µm or mm."""
    return f"{metres * 1e6:.4g} µm" if metres < 1e-3 else f"{metres * 1e3:.4g} mm"


def span(values: Sequence[float]) -> str:
    """Return a range of values, or the one there is."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def number(value: float | None) -> str:
    """Return a number with as many digits as one reads; a dash where there is none."""
    if value is None or value != value:
        return "–"
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}".replace(",", "\u202f")
    if abs(value) >= 1e7 or 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        power = str(int(exponent)).translate(SUPERSCRIPT)
        return f"{float(mantissa):g} × 10{power}"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"


def share(value: float | None) -> str:
    """Return a share as per cent; a dash where there is none."""
    return "–" if value is None or value != value else percent(value)


def interval(ends: tuple[float, float] | None) -> str:
    """Return an interval of shares in per cent."""
    return "–" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"


def embed(drawing: Drawing) -> str:
    """Return a figure as the text of a data URI."""
    return "data:image/png;base64," + base64.b64encode(drawing.png).decode("ascii")


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
