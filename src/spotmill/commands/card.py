r"""Describe a dataset for readers (README.md and pictures) and for machines (croissant.json).

Example::

    spotmill card --manifest results/manifest/02.parquet --water results/images/water/02.h5 \
        --geometry results/images/02.geom --output results/cards/02/README.md

Everything is read from the dataset's own files. Pictures and `croissant.json` (MLCommons
Croissant 1.1, with the SHA-256 of every file) are written beside the card.
"""

import argparse
import json
from pathlib import Path

from spotmill.commands.arguments import add_output
from spotmill.config import Publication


def add_publication(parser: argparse.ArgumentParser) -> None:
    """Add who made the data, and how others may use them."""
    parser.add_argument("--creator", nargs="*", default=[], help="names of who made the data")
    parser.add_argument("--licence", help="of the data: an SPDX name or an address")
    parser.add_argument("--date", help="of publication, year-month-day")
    parser.add_argument("--url", help="where the data are published")


def publication_of(args: argparse.Namespace) -> Publication:
    """Return who made the data, and how others may use them."""
    given = {"creators": tuple(args.creator), "licence": args.licence}
    return Publication.parse(given | {"date": args.date, "url": args.url}, "arguments")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill card`."""
    parser.add_argument("--manifest", type=Path, required=True, help="of the dataset (.parquet)")
    parser.add_argument("--checked", type=Path, help="what spotmill check wrote, with digests")
    parser.add_argument("--water", type=Path, required=True, help="expected background (.h5)")
    parser.add_argument("--geometry", type=Path, required=True, help="for CrystFEL (.geom)")
    add_publication(parser)
    add_output(parser, "card (.md)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill card`."""
    from spotmill.formats.atomic import atomic, write_text
    from spotmill.provenance import card, pictures
    from spotmill.provenance.croissant import describe
    from spotmill.provenance.facts import read_facts
    from spotmill.provenance.publication import citation

    publication = publication_of(args)
    facts = read_facts(args.manifest, args.water, args.geometry, args.checked)
    folder = args.output.parent
    made = card.made_of(facts)
    drawn = {
        "frames": pictures.draw_frames(facts, made.get("min_photons", 1)),
        "water": pictures.draw_water(facts),
        "spots": pictures.draw_spots(facts, made.get("min_spots", 1)),
    }
    text = card.render(facts, publication, folder)
    cited = citation(publication, f"Dataset {facts.name}: {card.title(facts)}", facts.fingerprint)
    machine = describe(facts, card.summary(facts), cited, publication, folder)
    for name, png in drawn.items():
        with atomic(folder / card.PICTURES[name]) as temporary:
            temporary.write_bytes(png)
    write_text(folder / "croissant.json", json.dumps(machine, indent=1, ensure_ascii=False) + "\n")
    write_text(args.output, text)
