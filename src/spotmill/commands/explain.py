r"""Print all that made one frame, and the commands that make it again.

Example::

    spotmill explain 02/17
    spotmill explain results/images/peaks_water_overlay/02/p00000.h5 17
    spotmill explain results/images/peaks/02/p00000.h5//17 --export remake
    sh remake/remake.sh

FRAME is a shard and the number of the frame within it (which CrystFEL writes as event //17), or
a dataset and the frame's index; 02/e3 is empty 3 of dataset 02. `--export` writes the
files as the shard recorded them, whatever has become of the configuration since, and a script
that makes exactly this frame and compares it bit for bit. `--expect` compares alone.
"""

import argparse
import json
import shlex
from dataclasses import asdict
from pathlib import Path

from spotmill.errors import SpotmillError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill explain`."""
    parser.add_argument(
        "frame", metavar="FRAME", nargs="+", help="FILE.h5 NUMBER, FILE.h5//NUMBER or DATASET/INDEX"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of results (results)"
    )
    parser.add_argument("--json", action="store_true", help="write JSON, for machines")
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="write what makes the frame again to a folder",
    )
    parser.add_argument(
        "--expect", metavar="SHA256", help="say whether the image has this digest, and no more"
    )


def run(args: argparse.Namespace) -> None:
    """Run `spotmill explain`."""
    from spotmill.provenance.find import find
    from spotmill.provenance.remake import export, plan_remake
    from spotmill.provenance.story import frame_digest, lines, tell

    place = find(args.frame, args.results)
    event = f"{place.path}//{place.position}"
    if args.expect:
        found = frame_digest(place)
        if found != args.expect:
            raise SpotmillError(
                f"{event}: is another image: sha256 {found}, not {args.expect}; compare versions"
            )
        print(f"{event}: the same image, bit for bit")
        return
    story, header, index = tell(place)
    remake = plan_remake(place, header, index)
    name = story.identity["name"]
    check = ["spotmill", "explain", f"{remake.output}//0", "--expect", story.image["sha256"]]
    if args.export:
        export(remake, args.export, name, check)
    if args.json:
        commands = {"folder": remake.commands, "check": check}
        print(json.dumps(asdict(story) | {"commands": commands}, indent=1, sort_keys=True))
        return
    print("\n".join(lines(story)))
    print()
    if not remake.commands:
        print("It was measured; nothing makes it again but its blank frames.")
        return
    folder = str(args.export or f"remake_{header.dataset}_{index}")
    print("To make it again, bit for bit")
    if not args.export:
        print(f"  {shlex.join(['spotmill', 'explain', event, '--export', folder])}")
    print(f"  sh {shlex.join([str(Path(folder) / 'remake.sh')])}")
    print("which, with the files that this frame was made from, runs")
    for line in remake.script().splitlines():
        print(f"  {line}")
