"""The files and commands that make one frame again, from what its shard recorded."""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spotmill.concepts import Beam, Crystal
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import make_folder, write_text
from spotmill.formats.fetch import is_entry
from spotmill.formats.frames import Header, Shard
from spotmill.model import parse_yaml
from spotmill.provenance.find import Place

SUFFIX = {"detector": "geom"}


@dataclass
class Remake:
    """What makes a frame again.

    Attributes
    ----------
    texts
        Files to write, by name.
    copies
        Files to copy, by their new name.
    commands
        Words of each command, to be run in the folder of the files.
    output
        The shard that they make, which holds the one frame.
    """

    texts: dict[str, str] = field(default_factory=dict)
    copies: dict[str, Path] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)
    output: str = ""

    def add(self, concept: str, text: str, stage: str) -> str:
        """Keep the text of a concept's file and return its name."""
        suffix = SUFFIX.get(concept, "yaml")
        name = f"{concept}.{suffix}"
        if self.texts.setdefault(name, text) != text:
            name = f"{stage}_{concept}.{suffix}"
            self.texts[name] = text
        return name

    def script(self) -> str:
        """Return the commands as lines of a shell script."""
        return "\n".join(shlex.join(words) for words in self.commands)


def plan_remake(place: Place, header: Header, index: int) -> Remake:
    """Return what makes a frame again.

    Raises
    ------
    SpotmillError
        When the shard does not record enough, or was made of measured frames alone.
    """
    remake = Remake()
    parameters = header.parameters
    if header.content in ("water", "blank"):
        _add_water(remake, place, header, parameters)
        remake.output = "water.h5"
        return remake
    if header.content == "peaks":
        _add_peaks(remake, place, header, parameters, index, header.seed)
    elif header.content == "labels":
        _add_peaks(remake, place, header, parameters["peaks"], index, header.seed)
        words = ["spotmill", "labels", "--peaks", "peaks.h5", "--output", "labels.h5"]
        remake.commands.append([*words, "--threshold", str(parameters["threshold"])])
    else:
        if header.kind == "crystal":
            _add_peaks(remake, place, header, parameters["peaks"], index, parameters["peaks_seed"])
        _add_water(remake, place, header, parameters["water"])
        _add_overlay(remake, header, index)
    remake.output = f"{header.content}.h5"
    return remake


def _add_peaks(
    remake: Remake,
    place: Place,
    header: Header,
    made: Mapping[str, Any],
    index: int,
    seed: int,
) -> None:
    words = ["spotmill", "simulate", "--reflections", "reflections.mtz"]
    for concept in ("detector", "response", "crystal", "beam", "randomise"):
        if concept in made:
            text = made[concept]
            if concept == "beam" and "spectrum" in made:
                text = _with_spectrum(remake, text, made["spectrum"])
            words += [f"--{concept}", remake.add(concept, text, "peaks")]
    _add_reflections(remake, place, made)
    words += ["--dataset", header.dataset, "--photon-energy", repr(header.photon_energy)]
    words += ["--clen", repr(header.clen), "--first", str(index), "--count", "1"]
    words += ["--seed", str(seed), "--engine", made["engine"]]
    if "n_wavelengths" in made:
        words += ["--n-wavelengths", str(made["n_wavelengths"])]
    if "orientations" in made:
        remake.texts["orientation.txt"] = _orientation(made["orientations"], place.position)
        words += ["--orientations", "orientation.txt"]
    if not made["noise"]:
        words.append("--no-noise")
    words += ["--min-spots", str(made["min_spots"]), "--min-photons", str(made["min_photons"])]
    words += ["--output", "peaks.h5", "--truth", "truth.parquet"]
    remake.commands.append(words)


def _with_spectrum(remake: Remake, beam: str, spectrum: str) -> str:
    """Keep the spectrum that a beam file names, and return a beam file that names the copy."""
    values = parse_yaml(beam, "beam (as recorded)")
    name = Path(values["spectrum_file"]).name
    remake.texts[name] = spectrum
    return yaml.safe_dump(values | {"spectrum_file": name}, sort_keys=False)


def _orientation(text: str, position: int) -> str:
    lines = [line for line in text.splitlines() if line.split("#")[0].strip()]
    return lines[position] + "\n"


def _add_reflections(remake: Remake, place: Place, made: Mapping[str, Any]) -> None:
    source = f"{place.path} (its crystal)"
    crystal = Crystal.parse(parse_yaml(made["crystal"], source), source)
    words = ["spotmill", "reflections"]
    if is_entry(crystal.structure):
        words.append(crystal.structure)
        entry = crystal.structure.partition(":")[2].lower()
        for file in sorted((place.results / "structures").glob("*.cif")):
            if file.stem.lower() == entry:
                remake.copies[f"structures/{file.name}"] = file
        words += ["--cache", "structures"]
    else:
        words.append(_copied(remake, place, crystal.structure))
    words += ["--d-min", repr(float(made["reflections_d_min"]))]
    if crystal.cell_file:
        words += ["--cell-file", _copied(remake, place, crystal.cell_file)]
    remake.commands.append([*words, "--output", "reflections.mtz"])


def _copied(remake: Remake, place: Place, name: str) -> str:
    kept = Path(name).name
    # The command writes reflections.mtz.
    kept = f"structure_{kept}" if kept == "reflections.mtz" else kept
    here = Path(name)
    remake.copies[kept] = here if here.is_absolute() or here.is_file() else place.project / here
    return kept


def _add_water(remake: Remake, place: Place, header: Header, made: Mapping[str, Any]) -> None:
    if "measured" in made:
        remake.copies["water.h5"] = _measured(place, header, made)
        return
    words = ["spotmill", "water"]
    for concept in ("detector", "response", "beam", "solvent"):
        if concept in made:
            text = made[concept]
            if concept == "beam":
                text = _same_beam(remake, text)
            words += [f"--{concept}", remake.add(concept, text, "water")]
    words += ["--photon-energy", repr(header.photon_energy), "--clen", repr(header.clen)]
    words += ["--dataset", header.dataset, "--output", "water.h5"]
    remake.commands.append(words)


def _same_beam(remake: Remake, text: str) -> str:
    """Return a beam file that names the copied spectrum, where the peaks have one."""
    beam = Beam.parse(parse_yaml(text, "beam"), "beam (as recorded)")
    name = Path(beam.spectrum_file).name if beam.spectrum_file else None
    if name in remake.texts:
        return _with_spectrum(remake, text, remake.texts[str(name)])
    return text


def _measured(place: Place, header: Header, made: Mapping[str, Any]) -> Path:
    """Return the measured background that a shard was drawn from, if it is still there."""
    path = place.results / "images/water" / f"{header.dataset}.h5"
    if header.content in ("water", "blank"):
        path = place.path
    elif path.is_file():
        with Shard(path) as water:
            if dict(water.header.parameters) != dict(made):
                raise SpotmillError(
                    f"{path}: is another background than {place.path} was drawn from; "
                    f"measure again on {made['measured']['frames'][0]} ..."
                )
    return path


def _add_overlay(remake: Remake, header: Header, index: int) -> None:
    words = ["spotmill", "overlay", "--water", "water.h5"]
    if header.kind == "crystal":
        words += ["--peaks", "peaks.h5"]
    else:
        words += ["--first", str(index), "--count", "1"]
    if "randomise" in header.parameters:
        words += [
            "--randomise",
            remake.add("randomise", header.parameters["randomise"], "overlay"),
        ]
    remake.commands.append([*words, "--seed", str(header.seed), "--output", "overlay.h5"])


def export(remake: Remake, folder: Path, frame: str, check: Sequence[str]) -> None:
    """Write the files as recorded and `remake.sh`, which makes the frame and compares it.

    Parameters
    ----------
    folder
        New or empty.
    frame
        What to call the frame.
    check
        Words of the command that compares what was made.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpotmillError(f"--export: {folder} is not empty; name a new folder")
    for source in remake.copies.values():
        if not source.is_file():
            raise SpotmillError(f"{source}: is needed to make the frame again and is not there")
    for name, source in remake.copies.items():
        make_folder(folder / name)
        shutil.copyfile(source, folder / name)
    for name, text in remake.texts.items():
        write_text(folder / name, text)
    lines = [
        "#!/bin/sh",
        f"# Makes {frame} again, from the files in this folder, and compares it bit for bit.",
        "set -eu",
        'cd "$(dirname "$0")"',
        remake.script(),
        shlex.join(check),
    ]
    write_text(folder / "remake.sh", "\n".join(lines) + "\n")
