"""Results with links of every kind and secrets beside them, and a server over them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_client import Server

SECRET = b"the secret of another folder"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return results, beside them secrets, and links of every kind."""
    top = tmp_path_factory.mktemp("serve")
    results = top / "results"
    for name in ("models/hit", "report/figures", "images/peaks/A", "models/hit/.checkpoints-1"):
        (results / name).mkdir(parents=True)
    (top / "secret.txt").write_bytes(SECRET)
    (top / "results-of-others").mkdir()
    (top / "results-of-others/secret.txt").write_bytes(SECRET)
    (top / ".snakemake/log").mkdir(parents=True)
    (top / ".snakemake/log/secret.txt").write_bytes(SECRET)
    (results / "models/hit/model.json").write_text(json.dumps({"task": "hit", "epochs": 3}))
    (results / "models/hit/README.md").write_text("# Model <script>alert(1)</script>\n")
    (results / "models/hit/.checkpoints-1/last.ckpt").write_bytes(SECRET)
    (results / ".hidden").write_bytes(SECRET)
    (results / "report/index.html").write_text("<p>the report</p><script>var a = 1</script>")
    (results / "report/figures/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (results / "report/figures/big.bin").write_bytes(bytes(range(256)) * 4096)
    (results / "page.html").write_text("<script>alert(1)</script>")
    (results / "a & b <i>.txt").write_text("odd name")
    (results / "within.txt").symlink_to("models/hit/README.md")
    (results / "out.txt").symlink_to(top / "secret.txt")
    (results / "out").symlink_to(top)
    (results / "sibling").symlink_to(top / "results-of-others")
    (results / "to_hidden").symlink_to("models/hit/.checkpoints-1")
    (results / "loop").symlink_to("loop")
    (results / "report/out").symlink_to(top)
    os.mkfifo(results / "pipe")
    return results


@pytest.fixture(scope="module")
def server(tree: Path) -> Iterator[Server]:
    with Server(tree) as running:
        yield running
