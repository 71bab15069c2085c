r"""Simulate the Bragg spots of one shard.

Example::

    spotmill simulate --detector config/detectors/eiger4m.geom --reflections resources/1ic6.mtz \
        --crystal config/crystals/proteinase_k.yaml --beam config/beams/cxls.yaml \
        --photon-energy 7000 --clen 0.15 --dataset 02 --first 0 --count 50 --seed 1 \
        --output peaks.h5 --truth truth.parquet

Writes the images, a table of the spots (`--truth`) and a table of the frames (`--frames`).
`--engine` chooses what computes them: docs/engines.md.
Orientations given by `--orientations` are unit quaternions (w, x, y, z), one a line; they
turn the crystal in the sense of CrystFEL's pattern_sim (by the conjugate: v -> R(q)^T v).
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spotmill.commands.arguments import (
    add_dataset,
    add_frames,
    add_hit,
    add_output,
    add_randomise,
    dataset_name,
)
from spotmill.commands.simulate_engines import (
    Made,
    add_engine,
    check_engine,
    make_engine,
)
from spotmill.commands.simulate_tables import (
    Columns,
    add_frame,
    add_spots,
    as_array,
    dead_names,
    joined,
)
from spotmill.concepts import Beam, Crystal, Response
from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, write_shard
from spotmill.formats.geom import read_geometry
from spotmill.formats.orientations import read_orientations
from spotmill.formats.reflections import read_reflections
from spotmill.formats.spectra import read_spectrum
from spotmill.formats.tables import FRAMES, SPOTS, open_table, unit, write_table
from spotmill.model import Model, parse_yaml, read_text
from spotmill.physics.artefacts import live_mask
from spotmill.physics.conditions import draw_conditions, frame_mask
from spotmill.physics.diffraction import reflection_table
from spotmill.physics.geometry import Detector, max_scattering
from spotmill.physics.pattern import Scene, draw_spectrum, make_pattern
from spotmill.physics.reflections import (
    Reflections,
    check_same_crystal,
    expand_to_hemisphere,
    reciprocal_basis,
)
from spotmill.physics.response import detection_at, spread_components
from spotmill.physics.rocking import REACH
from spotmill.physics.units import (
    check_clen,
    check_photon_energy,
    wavenumber_from_photon_energy,
)
from spotmill.progress import track
from spotmill.randomise import Randomise
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
    add_randomise(parser)
    add_engine(parser)
    parser.add_argument("--orientations", type=Path, help="quaternions w x y z, one a line")
    parser.add_argument(
        "--no-noise", action="store_true", help="write expected photons (float32), draw none"
    )
    add_hit(parser)
    add_output(parser, "images of the spots (.h5)")
    parser.add_argument("--truth", type=Path, required=True, help="table of the spots (.parquet)")
    parser.add_argument(
        "--frames",
        type=Path,
        help="table of the frames (default: beside the truth, ending in .frames.parquet)",
    )


def run(args: argparse.Namespace) -> None:
    """Run `spotmill simulate`."""
    indices = check_range(args.dataset, args.first, args.count)
    texts = read_texts(args)
    scene, reflections, randomise = make_scene(args, texts)
    made = make_engine(args, reflections)
    scene = replace(scene, engine=made.engine)
    quaternions = None
    if args.orientations:
        if scene.crystal.per_frame != (0.0, 1.0):
            raise SpotmillError(f"{args.crystal}: per_frame: --orientations needs [0, 1]")
        quaternions = read_orientations(args.orientations, args.count)
    header = make_header(args, texts, scene, reflections, made)
    write(args, header, scene, randomise, indices, quaternions)


def check_range(dataset: str, first: int, count: int) -> NDArray[np.int64]:
    """Return the indices of a shard; raise SpotmillError for an impossible range or name."""
    dataset_name(dataset)
    if count < 1:
        raise SpotmillError(f"--count: {count} frames; ask for at least one")
    if first < 0:
        raise SpotmillError(f"--first: {first} is negative; frames are numbered from 0")
    if first < FIRST_EMPTY < first + count:
        raise SpotmillError(f"--count: patterns are numbered below {FIRST_EMPTY}, empties from it")
    return np.arange(first, first + count, dtype=np.int64)


CONCEPTS = ("detector", "response", "crystal", "beam", "randomise")


def read_texts(args: argparse.Namespace) -> dict[str, str]:
    """Return the text of each concept file, as it goes into the provenance."""
    return {name: read_text(getattr(args, name)) for name in CONCEPTS if getattr(args, name)}


Concept = TypeVar("Concept", bound=Model)


def parsed(
    model: type[Concept], texts: dict[str, str], name: str, args: argparse.Namespace
) -> Concept:
    """Return a concept from its text, or its defaults where no file was given."""
    if name not in texts:
        return model()
    path = getattr(args, name)
    return model.parse(parse_yaml(texts[name], path), path)


def make_scene(
    args: argparse.Namespace, texts: dict[str, str]
) -> tuple[Scene, Reflections, Randomise]:
    """Prepare what all frames share."""
    energy, clen = check_photon_energy(args.photon_energy), check_clen(args.clen)
    beam = parsed(Beam, texts, "beam", args)
    crystal = parsed(Crystal, texts, "crystal", args)
    response = parsed(Response, texts, "response", args)
    randomise = parsed(Randomise, texts, "randomise", args)
    check_engine(args.engine, beam, crystal)
    reflections = read_reflections(args.reflections)
    check_same_crystal(
        str(args.crystal),
        crystal.cell,
        crystal.space_group,
        str(args.reflections),
        reflections.cell,
        reflections.space_group,
    )
    detector = read_geometry(args.detector).detector(clen=clen, photon_energy=energy)
    detector = replace(detector, mask=live_mask(detector, response))
    hkl, intensity = expand_to_hemisphere(reflections)
    scene = Scene(
        detector,
        spread_components(response),
        partial(counted, response),
        reflection_table(hkl, intensity, reciprocal_basis(reflections.cell)),
        beam,
        crystal,
        read_spectrum(beam.spectrum_file) if beam.spectrum_file else None,
    )
    return reachable(scene, energy, randomise), reflections, randomise


def counted(
    response: Response, detector: Detector, photon_energy: float, pixel: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of photons that pixels count."""
    return detection_at(detector, response, photon_energy, pixel)


def reachable(scene: Scene, photon_energy: float, randomise: Randomise) -> Scene:
    """Return the scene without reflections that no pixel can see."""
    if randomise.moves_geometry:
        return scene
    beam = scene.beam
    if beam.spectrum == "sase":
        # Where no spike is drawn beyond; 5 deviations are less than 3 full widths.
        highest = 1.0 + beam.bandwidth / 2 + 3 * (beam.spike_width or 0.0)
        high = highest * wavenumber_from_photon_energy(photon_energy)
    else:
        high = draw_spectrum(scene, photon_energy, (0, "", 0)).high
    s_max = max_scattering(scene.detector, 1.0 / high)
    # A ray that comes in at an angle reaches further; turning a crystal keeps |s|.
    s_max += 2 * REACH * beam.divergence * high
    return replace(scene, reflections=scene.reflections.within(s_max))


def make_header(
    args: argparse.Namespace,
    texts: dict[str, str],
    scene: Scene,
    reflections: Reflections,
    made: Made,
) -> Header:
    """Return the provenance of the shard."""
    parameters: dict[str, Any] = dict(texts)
    parameters |= made.parameters
    parameters |= {
        "cell": list(reflections.cell),
        "space_group": reflections.space_group,
        "reflections_d_min": reflections.d_min,
        "min_spots": args.min_spots,
        "min_photons": args.min_photons,
        "noise": not args.no_noise,
    }
    if args.orientations:
        parameters["orientations"] = read_text(args.orientations)
    if scene.beam.spectrum_file:
        parameters["spectrum"] = read_text(scene.beam.spectrum_file)
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
        saturation=scene.detector.saturation,
    )


# Spots are written this many frames at a time, so that memory does not grow with the shard.
FRAMES_AT_ONCE = 1000


def write(
    args: argparse.Namespace,
    header: Header,
    scene: Scene,
    randomise: Randomise,
    indices: NDArray[np.int64],
    quaternions: NDArray[np.float64] | None,
) -> None:
    """Simulate the frames and write images and tables."""
    spots: Columns = defaultdict(list)
    frames: Columns = defaultdict(list)
    detector = scene.detector
    dtype = None if args.no_noise else header.count_dtype
    provenance = {"dataset": args.dataset, "seed": args.seed, "recipe": header.recipe}
    with (
        write_shard(
            args.output, header, indices, detector.shape, dtype or np.float32, detector.mask
        ) as shard,
        open_table(args.truth, SPOTS, provenance) as append_spots,
    ):
        for position, index in enumerate(track(indices.tolist(), args.dataset)):
            identity = (args.seed, args.dataset, index)
            conditions = draw_conditions(randomise, header.photon_energy, header.clen, *identity)
            quaternion = None if quaternions is None else quaternions[position]
            live = frame_mask(detector, randomise, identity)
            shown = scene if live is None else replace(scene, detector=replace(detector, mask=live))
            pattern = make_pattern(shown, conditions, identity, quaternion, dtype)
            shard.put(index, pattern.image)
            for number, lattice in enumerate(pattern.lattices):
                add_spots(spots, index, number, lattice, scene)
            add_frame(frames, index, pattern, conditions, args)
            frames["dead_panels"].append(dead_names(detector, randomise, identity))
            if (position + 1) % FRAMES_AT_ONCE == 0 or position + 1 == len(indices):
                append_spots(joined(spots))
                spots.clear()
        most = max(len(scene.crystal.per_frame) - 1, 1)
        # Names of panels are for the table; overlays keep a flag for every panel.
        numbers = [name for name in FRAMES.names if name not in ("index", "dead_panels")]
        shard.set_columns(
            {name: as_array(frames[name], name, most) for name in numbers},
            {name: unit(FRAMES, name) for name in numbers if unit(FRAMES, name)},
        )
        frames_path = args.frames or args.truth.with_suffix(".frames.parquet")
        write_table(frames_path, frames, FRAMES, provenance)
