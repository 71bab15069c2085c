r"""Simulate the Bragg spots of one shard.

Example::

    spotmill simulate --detector config/detectors/eiger4m.geom --reflections resources/1ic6.mtz \
        --crystal config/crystals/proteinase_k.yaml --beam config/beams/cxls.yaml \
        --photon-energy 7000 --clen 0.15 --dataset 02 --first 0 --count 50 --seed 1 \
        --output peaks.h5 --truth truth.parquet

Writes the images, a table of the spots (`--truth`) and a table of the frames (`--frames`).
Orientations given by `--orientations` are unit quaternions (w, x, y, z), one a line; they
turn the crystal in the sense of CrystFEL's pattern_sim (by the conjugate: v -> R(q)^T v).
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.commands.arguments import add_dataset, add_frames, add_output
from spotmill.config import FIRST_EMPTY, NAME, Beam, Crystal, Response
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, write_shard
from spotmill.formats.geom import read_geometry
from spotmill.formats.orientations import read_orientations
from spotmill.formats.reflections import read_reflections
from spotmill.formats.tables import FRAMES, SPOTS, write_table
from spotmill.model import parse_yaml, read_text
from spotmill.physics.diffraction import (
    Footprint,
    ReflectionTable,
    Source,
    Spots,
    diffract,
    footprint,
    reflection_table,
    source,
)
from spotmill.physics.geometry import Detector, max_scattering
from spotmill.physics.orientations import random_quaternion, turn_axes
from spotmill.physics.photons import fit_counts, stream
from spotmill.physics.reflections import (
    Reflections,
    check_same_crystal,
    expand_to_hemisphere,
    reciprocal_basis,
)
from spotmill.physics.units import (
    check_clen,
    check_photon_energy,
    photon_energy_from_wavelength,
)
from spotmill.recipes import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill simulate`."""
    parser.add_argument("--detector", type=Path, required=True, help="CrystFEL geometry file")
    parser.add_argument("--response", type=Path, help="detector response file (default: ideal)")
    parser.add_argument("--reflections", type=Path, required=True, help=".mtz of the crystal")
    parser.add_argument("--crystal", type=Path, required=True, help="crystal file")
    parser.add_argument("--beam", type=Path, required=True, help="beam file")
    add_dataset(parser)
    add_frames(parser)
    parser.add_argument("--orientations", type=Path, help="quaternions w x y z, one a line")
    parser.add_argument(
        "--no-noise", action="store_true", help="write expected photons (float32), draw none"
    )
    parser.add_argument("--min-spots", type=int, default=3, help="spots that make a hit (3)")
    parser.add_argument("--min-photons", type=int, default=5, help="photons in each of them (5)")
    add_output(parser, "images of the spots (.h5)")
    parser.add_argument("--truth", type=Path, required=True, help="table of the spots (.parquet)")
    parser.add_argument(
        "--frames",
        type=Path,
        help="table of the frames (default: beside the truth, ending in .frames.parquet)",
    )


@dataclass(frozen=True)
class Scene:
    """All that the frames of a shard share."""

    detector: Detector
    point_spread: float
    reflections: ReflectionTable
    light: Source
    saturation: int | None


@dataclass(frozen=True)
class Frame:
    """One simulated frame: its image and truth."""

    quaternion: NDArray[np.float64]
    turned: NDArray[np.float64]
    spots: Spots
    where: Footprint
    photons: NDArray[np.float64]
    image: NDArray[Any]
    n_saturated: int


def run(args: argparse.Namespace) -> None:
    """Run `spotmill simulate`."""
    indices = check_range(args.dataset, args.first, args.count)
    texts = read_texts(args)
    beam = Beam.parse(parse_yaml(texts["beam"], args.beam), args.beam)
    crystal = Crystal.parse(parse_yaml(texts["crystal"], args.crystal), args.crystal)
    response = Response()
    if args.response:
        response = Response.parse(parse_yaml(texts["response"], args.response), args.response)
    reflections = read_reflections(args.reflections)
    check_same_crystal(
        str(args.crystal),
        crystal.cell,
        crystal.space_group,
        str(args.reflections),
        reflections.cell,
        reflections.space_group,
    )
    scene = make_scene(args, beam, crystal, response, reflections)
    quaternions = None
    if args.orientations:
        quaternions = read_orientations(args.orientations, args.count)
    header = make_header(args, texts, scene, reflections)
    write(args, header, scene, indices, quaternions)


def check_range(dataset: str, first: int, count: int) -> NDArray[np.int64]:
    """Return the indices of a shard; raise SpotmillError for an impossible range or name."""
    if not NAME.fullmatch(dataset):
        raise SpotmillError(f"--dataset: {dataset!r} must be letters, digits, - and _ only")
    if count < 1:
        raise SpotmillError(f"--count: {count} frames; ask for at least one")
    if first < 0:
        raise SpotmillError(f"--first: {first} is negative; frames are numbered from 0")
    if first < FIRST_EMPTY < first + count:
        raise SpotmillError(f"--count: patterns are numbered below {FIRST_EMPTY}, empties from it")
    return np.arange(first, first + count, dtype=np.int64)


def read_texts(args: argparse.Namespace) -> dict[str, str]:
    """Return the text of each concept file, as it goes into the provenance."""
    names = ["detector", "crystal", "beam"] + (["response"] if args.response else [])
    return {name: read_text(getattr(args, name)) for name in names}


def make_scene(
    args: argparse.Namespace,
    beam: Beam,
    crystal: Crystal,
    response: Response,
    reflections: Reflections,
) -> Scene:
    """Prepare what all frames share."""
    energy = check_photon_energy(args.photon_energy)
    detector = read_geometry(args.detector).detector(
        clen=check_clen(args.clen), photon_energy=energy
    )
    hkl, intensity = expand_to_hemisphere(reflections)
    axes = reciprocal_basis(reflections.cell)
    light = source(
        energy,
        beam.bandwidth,
        beam.nphotons,
        beam.beam_radius,
        beam.polarisation,
        crystal.size,
        1.0 / abs(float(np.linalg.det(axes))),
    )
    table = reflection_table(hkl, intensity, axes)
    return Scene(
        detector,
        response.point_spread,
        table.within(max_scattering(detector, 1.0 / light.band.high)),
        light,
        detector.saturation,
    )


def make_header(
    args: argparse.Namespace, texts: dict[str, str], scene: Scene, reflections: Reflections
) -> Header:
    """Return the provenance of the shard."""
    parameters: dict[str, Any] = dict(texts)
    parameters |= {
        "engine": "integrated",
        "cell": list(reflections.cell),
        "space_group": reflections.space_group,
        "reflections_d_min": reflections.d_min,
        "min_spots": args.min_spots,
        "min_photons": args.min_photons,
        "noise": not args.no_noise,
    }
    if args.orientations:
        parameters["orientations"] = read_text(args.orientations)
    return Header(
        dataset=args.dataset,
        content="peaks",
        kind="crystal",
        photon_energy=float(args.photon_energy),
        clen=float(args.clen),
        pixel_size=scene.detector.pixel_size,
        recipe=RECIPES["simulate"],
        seed=args.seed,
        parameters=parameters,
        saturation=scene.saturation,
    )


def make_frame(
    scene: Scene,
    dtype: Any,
    identity: tuple[int, str, int],
    quaternion: NDArray[np.float64] | None,
    noise: bool,
) -> Frame:
    """Simulate the frame of an identity (seed, dataset, index)."""
    if quaternion is None:
        quaternion = random_quaternion(stream(*identity, "orientation"))
    turned = turn_axes(scene.reflections.axes, quaternion)
    spots = diffract(scene.reflections, turned, scene.light)
    where = footprint(spots, scene.detector, scene.point_spread)
    n = len(spots.photons)
    if not noise:
        image = np.bincount(where.pixel, where.photons, minlength=scene.detector.mask.size)
        image = image.astype(np.float32).reshape(scene.detector.shape)
        return Frame(quaternion, turned, spots, where, spots.photons * where.live, image, 0)
    drawn = stream(*identity, "signal").poisson(where.photons)
    counts = np.zeros(scene.detector.mask.size, dtype=np.int64)
    np.add.at(counts, where.pixel, drawn)
    image, clipped = fit_counts(counts.reshape(scene.detector.shape), dtype, scene.saturation)
    photons = np.bincount(where.spot, drawn, minlength=n)
    return Frame(quaternion, turned, spots, where, photons, image, clipped)


def write(
    args: argparse.Namespace,
    header: Header,
    scene: Scene,
    indices: NDArray[np.int64],
    quaternions: NDArray[np.float64] | None,
) -> None:
    """Simulate the frames and write images and tables."""
    spot_columns: dict[str, list[Any]] = defaultdict(list)
    frame_columns: dict[str, list[Any]] = defaultdict(list)
    detector = scene.detector
    names = np.array([panel.name for panel in detector.panels])
    with write_shard(
        args.output,
        header,
        indices,
        detector.shape,
        np.float32 if args.no_noise else header.count_dtype,
        detector.mask,
    ) as shard:
        for position, index in enumerate(indices.tolist()):
            quaternion = None if quaternions is None else quaternions[position]
            identity = (args.seed, args.dataset, index)
            frame = make_frame(scene, header.count_dtype, identity, quaternion, not args.no_noise)
            shard.put(index, frame.image)
            add_spots(spot_columns, index, frame, names)
            add_frame(frame_columns, index, frame, args.min_spots, args.min_photons)
        columns = {key: np.array(values) for key, values in frame_columns.items() if key != "index"}
        units = dict.fromkeys(("astar", "bstar", "cstar"), "1/angstrom") | {"photons": "photons"}
        shard.set_columns(columns, units)
        spots = {name: np.concatenate(spot_columns[name]) for name in SPOTS.names}
        frames_path = args.frames or args.truth.with_suffix(".frames.parquet")
        provenance = {"dataset": args.dataset, "seed": args.seed, "recipe": header.recipe}
        frame_table = {
            name: [value.tolist() for value in values]
            if isinstance(values[0], np.ndarray)
            else values
            for name, values in frame_columns.items()
        }
        write_table(args.truth, spots, SPOTS, provenance)
        write_table(frames_path, frame_table, FRAMES, provenance)


def add_spots(
    columns: dict[str, list[Any]], index: int, frame: Frame, names: NDArray[np.str_]
) -> None:
    """Append the rows of one frame's spots that touch the detector."""
    on = frame.where.panel >= 0
    spots, where = frame.spots, frame.where
    columns["index"].append(np.full(int(on.sum()), index, dtype=np.int64))
    for axis, name in enumerate("hkl"):
        columns[name].append(spots.hkl[on, axis])
    columns["panel"].append(names[where.panel[on]])
    columns["fs"].append(where.fs[on])
    columns["ss"].append(where.ss[on])
    columns["expected_photons"].append(spots.photons[on])
    columns["live_fraction"].append(where.live[on])
    columns["photons"].append(frame.photons[on].astype(np.float64))
    columns["d"].append(1.0 / np.linalg.norm(spots.s[on], axis=1))
    energy_of_unit = photon_energy_from_wavelength(1.0)
    columns["photon_energy"].append(spots.wavenumber[on] * energy_of_unit)


def add_frame(
    columns: dict[str, list[Any]], index: int, frame: Frame, min_spots: int, min_photons: int
) -> None:
    """Append one frame's row."""
    n_spots = int((frame.photons >= min_photons).sum())
    columns["index"].append(index)
    columns["quaternion"].append(frame.quaternion)
    for name, axis in zip(("astar", "bstar", "cstar"), frame.turned, strict=True):
        columns[name].append(axis)
    columns["n_spots"].append(n_spots)
    columns["photons"].append(float(frame.photons.sum()))
    columns["n_saturated"].append(frame.n_saturated)
    columns["is_hit"].append(n_spots >= min_spots)
