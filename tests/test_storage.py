"""Remote files by Snakemake's storage plugins: a structure by HTTP, results in another folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, copy_tiny

from spotmill.concepts import Crystal
from spotmill.errors import SpotmillError

STRUCTURE = ROOT / "resources/1ic6.mtz"
DIGEST = hashlib.sha256(STRUCTURE.read_bytes()).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Return the address of a server, on this machine, of the folder resources."""
    handler = partial(Quiet, directory=str(STRUCTURE.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def mill(tmp_path: Path) -> Path:
    """Return a folder with the workflow and the tiny configuration, nothing made."""
    folder = tmp_path / "mill"
    folder.mkdir()
    copy_tiny(folder)
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", *map(str, words)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def name_structure(mill: Path, structure: str, sha256: str | None) -> None:
    path = mill / "config/crystals/proteinase_k.yaml"
    replaced = ("structure:", "sha256:")
    lines = [line for line in path.read_text().splitlines() if not line.startswith(replaced)]
    lines += [f"structure: {structure}", *([f"sha256: {sha256}"] if sha256 else [])]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_a_structure_comes_by_http_and_is_checked(mill: Path, address: str) -> None:
    pytest.importorskip("snakemake_storage_plugin_http", reason="the HTTP plugin is not installed")
    target = "results/reflections/proteinase_k.mtz"
    done = run(mill, target)
    assert done.returncode == 0, done.stdout[-3000:]
    expected = (mill / target).read_bytes()

    name_structure(mill, f"{address}/{STRUCTURE.name}", DIGEST)
    done = run(mill, target)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (mill / target).read_bytes() == expected
    assert "Nothing to be done" in run(mill, target, "-n").stdout

    name_structure(mill, f"{address}/{STRUCTURE.name}", "f" * 64)
    done = run(mill, target)
    assert done.returncode != 0
    said = [line for line in done.stdout.splitlines() if "sha256: is" in line]
    assert said and DIGEST in said[0] and "f" * 64 in said[0], done.stdout[-3000:]

    name_structure(mill, f"{address}/absent.mtz", DIGEST)
    done = run(mill, target)
    assert done.returncode != 0 and "absent.mtz" in done.stdout


def test_an_address_needs_a_digest(mill: Path) -> None:
    for structure, sha256, word in (
        ("https://127.0.0.1/1ic6.cif", None, "needs `sha256`"),
        ("https://127.0.0.1/1ic6.cif", "abc", "sha256"),
        ("pdb:1IC6", DIGEST, "does not go with"),
    ):
        name_structure(mill, structure, sha256)
        with pytest.raises(SpotmillError, match=word):
            Crystal.read(mill / "config/crystals/proteinase_k.yaml")


def test_the_command_checks_the_digest_of_a_file(tmp_path: Path, spotmill, capsys) -> None:
    from spotmill.cli import main

    output = tmp_path / "out.mtz"
    spotmill("reflections", STRUCTURE, "--d-min", 3, "--sha256", DIGEST, "--output", output)
    output.unlink()
    for structure, sha256, word in (
        (STRUCTURE, "f" * 64, "sha256"),
        (tmp_path / "absent.mtz", DIGEST, "no such file"),
        ("http://127.0.0.1/1ic6.mtz", DIGEST, "only the workflow fetches"),
    ):
        words = ["reflections", structure, "--d-min", 3, "--sha256", sha256, "--output", output]
        assert main([str(word) for word in words]) == 1
        message = capsys.readouterr().err.strip()
        assert word in message and "\n" not in message
        assert not output.exists()


@pytest.mark.slow
def test_results_go_to_a_storage(mill: Path, tmp_path: Path) -> None:
    pytest.importorskip("snakemake_storage_plugin_fs", reason="the fs plugin is not installed")
    if not shutil.which("rsync"):
        pytest.skip("no rsync here, by which the fs plugin copies")
    store = tmp_path / "store"
    storage = ("--default-storage-provider", "fs", "--default-storage-prefix", store)
    storage += ("--keep-storage-local-copies",)
    whole = run(mill, *storage, "-n")
    assert whole.returncode == 0, whole.stdout[-3000:]
    targets = ("results/manifest/A.checked", "results/images/A.geom")
    done = run(mill, *storage, *targets)
    assert done.returncode == 0, done.stdout[-3000:]
    manifest = pd.read_parquet(store / "results/manifest/A.parquet")
    assert len(manifest) == 36
    assert (store / "results/manifest/A.checked").is_file()
    # The copies that the manifest names are the stored files; nothing was made beside them.
    for name in manifest["overlay"].unique():
        stored = store / Path(*Path(name).parts[Path(name).parts.index("results") :])
        assert stored.read_bytes() == (mill / name).read_bytes()
    assert not (mill / "results/images").exists() and not (store / "config").exists()
    again = run(mill, *storage, "-n", *targets)
    assert "Nothing to be done" in again.stdout, again.stdout[-2000:]
