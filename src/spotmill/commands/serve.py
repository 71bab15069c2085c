r"""Show a finished or running production in the browser: progress, frames, curves, report.

Example::

    spotmill serve results/ --port 0

Prints an address to open. From another computer: `ssh -L 8000:localhost:8000 host`, then open
http://localhost:8000/ here. Nothing can be changed through it, and no file outside the folder is
shown. On a machine that others use, too, `--key` keeps them out. Ctrl-C ends it.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path

from spotmill.commands.arguments import whole
from spotmill.errors import SpotmillError

PORT = 8000
LOOPBACK = "127.0.0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill serve`."""
    parser.add_argument("results", metavar="RESULTS", type=Path, help="folder of results")
    parser.add_argument(
        "--port",
        type=whole("--port", 0, 65535),
        default=PORT,
        help=f"port; 0 for any that is free ({PORT})",
    )
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        help=f"address of this machine; any but {LOOPBACK} opens it to others ({LOOPBACK})",
    )
    parser.add_argument(
        "--key",
        action="store_true",
        help="let in only who opens the address with the key in it that is printed",
    )


def run(args: argparse.Namespace) -> int:
    """Run `spotmill serve`."""
    root, project = places(args.results)
    # Before HDF5 is loaded: shards are whole when they appear, and some disks know no locks.
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    from spotmill.serve.address import (
        address_of,
        is_loopback,
        listen,
        own_names,
        serve_until_stopped,
    )
    from spotmill.serve.app import build

    server = listen(args.host, args.port)
    alone = is_loopback(server)
    name = f"{project.name}/{args.results.name}" if args.results.name else project.name
    key = secrets.token_urlsafe(16) if args.key else ""
    app, live = build(root, project, name, [] if alone else [args.host, *own_names()], key)

    def ready() -> None:
        if not alone:
            who = "knows the key" if key else "reaches this machine"
            print(
                f"spotmill serve: warning: --host {args.host}: whoever {who} can read the results,"
                " and what is sent is not encrypted",
                file=sys.stderr,
            )
        address = address_of(server) + (f"?key={key}" if key else "")
        print(f"Serving {args.results} at {address} (Ctrl-C ends it)", flush=True)

    live.start()
    try:
        serve_until_stopped(app, server, ready)
    finally:
        live.stop()
    return 0


def places(results: Path) -> tuple[Path, Path]:
    """Return the results and the folder in which Snakemake runs, both resolved.

    Raises
    ------
    SpotmillError
        When there is no such folder, or it holds no results.
    """
    from spotmill.serve.scan import KNOWN

    if not results.exists():
        raise SpotmillError(f"{results}: no such folder; name the results of a production")
    if not results.is_dir():
        raise SpotmillError(f"{results}: is a file; name the folder of results")
    try:
        names = {entry.name for entry in os.scandir(results)}
    except OSError as error:
        raise SpotmillError(
            f"{results}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    # As it is named: results may lie on another disk, behind a link.
    project = results.absolute().parent
    begun = any((project / name).exists() for name in (".snakemake", "Snakefile"))
    if not names & {*KNOWN, "watch.html"} and not (begun and results.name == "results"):
        below = results / "results"
        hint = f"name {below}" if below.is_dir() else "name the folder `results` of a production"
        raise SpotmillError(f"{results}: holds no results; {hint}")
    root = results.resolve()
    if not (project / ".snakemake").is_dir() and (root.parent / ".snakemake").is_dir():
        project = root.parent
    return root, project.resolve()
