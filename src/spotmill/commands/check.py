r"""Re-open files and prove that everything belongs together.

Examples::

    spotmill check
    spotmill check results/manifest/02.parquet --min-photons 5 --min-spots 3

Without manifests it audits the results folder against the configuration: every file that a
run makes is there and is what its list of digests says; every shard was made with what the
configuration says now; nothing is left over. It prints one line a finding and, last, what to
type.

With manifests, for every frame of them: the overlay, peaks, labels and truth exist and are
whole; they hold the same frame of the same dataset; the overlay holds every photon of the
peaks and none in a gap; the label is where the peaks are; the photons of the truth add up to
the image; `n_spots` and `is_hit` follow from the truth. It prints one line a manifest, and
`--output` writes a list of digests of all these files, and those of `--also`, which
`sha256sum --check` takes too.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from spotmill.commands.arguments import add_hit
from spotmill.commands.check_frames import check_shard, wrong
from spotmill.errors import SpotmillError
from spotmill.formats.digests import file_digest, read_digests, write_digests
from spotmill.formats.tables import MANIFEST, read_table
from spotmill.progress import track


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill check`."""
    parser.add_argument("manifests", type=Path, nargs="*", help="manifests (.parquet)")
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("config/config.yaml"),
        help="configuration to audit the results against (default: %(default)s)",
    )
    add_hit(parser)
    parser.add_argument(
        "--also", type=Path, nargs="+", default=[], help="further files for the list of digests"
    )
    parser.add_argument(
        "--output", type=Path, help="where to write what was checked (list of digests)"
    )


def run(args: argparse.Namespace) -> None:
    """Run `spotmill check`."""
    if not args.manifests and not args.also:
        if args.output:
            raise SpotmillError("--output: goes with manifests or --also; name them")
        from spotmill.audit.audit import audit

        audit(args.config)
        return
    digests = {path.as_posix(): file_digest(path) for path in track(args.also, "digests", "file")}
    comments = [] if args.manifests else [f"{len(digests)} files"]
    for path in args.manifests:
        comments.append(check_manifest(path, args, digests))
        print(comments[-1])
    if args.output:
        write_digests(args.output, comments, digests)


def check_manifest(path: Path, args: argparse.Namespace, digests: dict[str, str]) -> str:
    """Check a manifest and its shards, add the digests of all files; return what was found."""
    listing = path.with_suffix(".checked")
    # Workflows remove the list before they write it anew.
    said = read_digests(listing) if listing.is_file() and listing != args.output else {}

    def take(files: Iterable[Path]) -> None:
        # Before the files are opened: what was checked is what the digest is of.
        for file in files:
            digests[file.as_posix()] = digest = file_digest(file)
            if said.get(file.as_posix(), digest) != digest:
                raise wrong(file, f"is not what {listing} lists")

    take([path])
    manifest = read_table(path, MANIFEST).to_pandas()
    if manifest.empty:
        raise wrong(path, "lists no frame")
    if manifest.duplicated(["dataset", "index"]).any():
        raise wrong(path, "lists a frame twice")
    shards = manifest.groupby(["overlay"], sort=True)
    for _, frames in track(shards, path.stem, "shard", total=len(shards)):
        take(files_of(frames))
        check_shard(path, frames, args.min_spots, args.min_photons)
    counts = manifest["kind"].value_counts()
    return (
        f"{path}: {len(manifest)} frames whole and paired ({counts.get('crystal', 0)} patterns,"
        f" {counts.get('empty', 0)} empties, {int(manifest['is_hit'].sum())} hits)"
    )


def files_of(frames: pd.DataFrame) -> list[Path]:
    """Return the files of the shard that a manifest's rows name."""
    row = frames.iloc[0]
    files = [Path(row[name]) for name in ("overlay", "peaks", "labels", "truth") if row[name]]
    if row["truth"]:
        table = Path(row["truth"]).with_suffix(".frames.parquet")
        files += [table] if table.is_file() else []
    return files
