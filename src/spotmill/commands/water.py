r"""Compute the expected image of water and air, or measure it on blank frames.

Example::

    spotmill water --detector config/detectors/eiger4m.geom --beam config/beams/cxls.yaml \
        --solvent config/solvents/water_sheet.yaml --photon-energy 7000 --clen 0.15 \
        --dataset 02 --output water.h5

Writes one frame, index 0, of expected photons in one shot (float32), without noise. With
`--response` they are the photons that the detector counts, on the pixels that it leaves live.
A solvent of shape `measured` makes what `spotmill background` makes of its blank frames; the
response then takes dead pixels out of the mask and changes no count.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotmill.commands.arguments import add_dataset, add_output
from spotmill.commands.background import make_stack, write_measured
from spotmill.concepts import Beam, Response, Solvent
from spotmill.formats.frames import Header, write_shard
from spotmill.formats.geom import parse_geometry
from spotmill.model import parse_yaml, read_text
from spotmill.physics.artefacts import live_mask
from spotmill.physics.expected import expected_image
from spotmill.physics.units import check_clen, check_photon_energy
from spotmill.recipes import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill water`."""
    parser.add_argument("--detector", type=Path, required=True, help="CrystFEL geometry file")
    parser.add_argument("--response", type=Path, help="detector response file (default: ideal)")
    parser.add_argument("--beam", type=Path, required=True, help="beam file")
    parser.add_argument("--solvent", type=Path, required=True, help="solvent file")
    add_dataset(parser)
    add_output(parser, "expected image (.h5)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill water`."""
    photon_energy = check_photon_energy(args.photon_energy)
    clen = check_clen(args.clen)
    names = ["detector", "beam", "solvent"] + (["response"] if args.response else [])
    texts = {name: read_text(getattr(args, name)) for name in names}
    beam = Beam.parse(parse_yaml(texts["beam"], args.beam), args.beam)
    solvent = Solvent.parse(parse_yaml(texts["solvent"], args.solvent), args.solvent)
    response = Response()
    if args.response:
        response = Response.parse(parse_yaml(texts["response"], args.response), args.response)
    geometry = parse_geometry(texts["detector"], str(args.detector))
    if solvent.shape == "measured":
        stack = make_stack(solvent, geometry, texts["detector"], photon_energy, clen, response)
        write_measured(args.output, args.dataset, solvent, stack)
        return
    detector = geometry.detector(clen=clen, photon_energy=photon_energy)
    detector = replace(detector, mask=live_mask(detector, response))
    image = expected_image(detector, response, photon_energy, beam, solvent)
    header = Header(
        dataset=args.dataset,
        content="water",
        kind="empty",
        photon_energy=photon_energy,
        clen=clen,
        pixel_size=detector.pixel_size,
        recipe=RECIPES["water"],
        seed=0,
        parameters=texts,
        saturation=detector.saturation,
    )
    write(args.output, header, image, detector.mask)


def write(path: Path, header: Header, image: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Write the image as the one frame of a shard."""
    total = np.array([image.sum(dtype=np.float64)])
    with write_shard(
        path,
        header,
        np.array([0], dtype=np.int64),
        (image.shape[0], image.shape[1]),
        np.float32,
        mask,
        columns={"total": total},
        units={"total": "photons"},
    ) as shard:
        shard.put(0, image)
