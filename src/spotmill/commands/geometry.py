r"""Write the geometry of a dataset's shards, for CrystFEL.

Example::

    spotmill geometry --detector config/detectors/eiger4m.geom --beam config/beams/cxls.yaml \
        --photon-energy 7000 --clen 0.15 --dataset 02 --output results/images/02.geom

The file describes the panels of the detector with the dataset's photon energy and camera
length, and where the shards keep images and mask.
"""

import argparse
from pathlib import Path

from spotmill.commands.arguments import add_dataset, add_output
from spotmill.concepts import Beam
from spotmill.formats.geom import dataset_geometry, read_geometry, write_geometry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill geometry`."""
    parser.add_argument("--detector", type=Path, required=True, help="CrystFEL geometry file")
    parser.add_argument("--beam", type=Path, required=True, help="beam file")
    add_dataset(parser)
    add_output(parser, "CrystFEL geometry (.geom)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill geometry`."""
    beam = Beam.read(args.beam)
    geometry = read_geometry(args.detector)
    geometry.detector(clen=args.clen, photon_energy=args.photon_energy)
    write_geometry(
        args.output, dataset_geometry(geometry, args.clen, args.photon_energy, beam.bandwidth)
    )
