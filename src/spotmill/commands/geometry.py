r"""Write the geometry of a dataset's shards, for CrystFEL.

Example::

    spotmill geometry --detector config/detectors/eiger4m.geom --beam config/beams/cxls.yaml \
        --photon-energy 7000 --clen 0.15 --dataset 02 --output results/images/02.geom

The file describes the panels of the detector with the dataset's photon energy and camera
length, and where the shards keep images and mask. Where frames have a photon energy or camera
length of their own (--randomise), it says where the shards keep these.
"""

import argparse
from pathlib import Path

from spotmill.commands.arguments import add_dataset, add_output, add_randomise
from spotmill.concepts import Beam
from spotmill.formats.geom import dataset_geometry, read_geometry, write_geometry
from spotmill.randomise import Randomise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill geometry`."""
    parser.add_argument("--detector", type=Path, required=True, help="CrystFEL geometry file")
    parser.add_argument("--beam", type=Path, required=True, help="beam file")
    add_dataset(parser)
    add_randomise(parser)
    add_output(parser, "CrystFEL geometry (.geom)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill geometry`."""
    beam = Beam.read(args.beam)
    geometry = read_geometry(args.detector)
    geometry.detector(clen=args.clen, photon_energy=args.photon_energy)
    own = Randomise.read(args.randomise).own if args.randomise else ()
    spread = beam.spread(args.photon_energy)
    write_geometry(
        args.output,
        dataset_geometry(geometry, args.clen, args.photon_energy, spread, own=own),
    )
