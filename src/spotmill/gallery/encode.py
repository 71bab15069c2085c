"""How a frame travels within a script: text, lossless, small.

A detector counts few photons in most of its pixels. So a frame is the list of its lit pixels,
in the order of the data array: to each the number of dark pixels since the last one, and to
each its count. Numbers are unsigned LEB128 (7 bits a byte, the lowest first, the high bit set
where more follow), then zlib streams (RFC 1950), then base64. The mask is such a list of the
lengths of its runs, dead first.
"""

import base64
import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spotmill.report.pictures import GAP, STEPS, levels, max_pool, pool_factor

# Runs and single codes are all that repeats here: looking for longer texts takes ten times as
# long and gains nothing.
STRATEGY = zlib.Z_RLE
THUMBNAIL = 176  # pixels across
# In so small a picture nearly every block holds a photon: up to 4 stay pale, so that spots show.
COLOURS = ("#ffffff", "#fdf0e8", "#fbdccb", "#f5b9a0", "#de4968", "#8c2981", "#3b0f70", "#000004")


def encode_counts(image: NDArray[Any], live: NDArray[np.bool_]) -> dict[str, str]:
    """Return the photons [ss, fs] of live pixels as two texts: gaps and counts of lit pixels."""
    flat = np.where(live, image, 0).ravel()
    lit = np.flatnonzero(flat)
    gaps = np.diff(lit, prepend=-1) - 1
    return {"gaps": encode(gaps), "counts": encode(flat[lit])}


def decode_counts(words: dict[str, str], shape: tuple[int, int]) -> NDArray[np.uint64]:
    """Return the photons [ss, fs] that `encode_counts` made texts of; dead pixels hold 0."""
    image = np.zeros(shape, dtype=np.uint64)
    lit = np.cumsum(decode(words["gaps"]) + np.uint64(1)).astype(np.int64) - 1
    image.ravel()[lit] = decode(words["counts"])
    return image


def encode_mask(live: NDArray[np.bool_]) -> str:
    """Return which pixels [ss, fs] are live as a text: lengths of runs, dead and live in turn."""
    flat = live.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(edges, prepend=0, append=flat.size)
    return encode(np.concatenate([[0], runs]) if flat[0] else runs)


def decode_mask(words: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels [ss, fs] are live, of what `encode_mask` made."""
    runs = decode(words).astype(np.int64)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)


def encode(values: NDArray[Any]) -> str:
    """Return unsigned numbers [n] as LEB128, deflated, in base64."""
    rest = np.asarray(values).astype(np.uint64)
    columns = []
    while True:
        more = rest >= 128
        columns.append((rest & np.uint64(127)) | (more.astype(np.uint64) << np.uint64(7)))
        if not more.any():
            break
        rest = rest >> np.uint64(7)
    table = np.stack(columns, axis=1).astype(np.uint8)
    # A number ends with its first byte below 128; what its row holds beyond is none of it.
    ended = np.cumsum(table < 128, axis=1)
    kept = np.ones(table.shape, dtype=bool)
    kept[:, 1:] = ended[:, :-1] == 0
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, STRATEGY)
    return base64.b64encode(packer.compress(table[kept].tobytes()) + packer.flush()).decode("ascii")


def decode(words: str) -> NDArray[np.uint64]:
    """Return the numbers [n] that `encode` made a text of."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(words)), dtype=np.uint8)
    last = np.flatnonzero(data < 128)
    start = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    shift = np.arange(len(data)) - np.repeat(start, last - start + 1)
    parts = (data & 127).astype(np.uint64) << (7 * shift).astype(np.uint64)
    return np.add.reduceat(parts, start) if len(start) else parts


def thumbnail(image: NDArray[Any], live: NDArray[np.bool_], pixels: int = THUMBNAIL) -> str:
    """Return a frame [ss, fs], reduced by maximum to `pixels` across, as a data URI (PNG)."""
    small, shown = max_pool(image, live, pool_factor(image.shape, pixels))
    step = levels(small, shown).filled(len(STEPS)).astype(np.uint8)
    picture = Image.fromarray(step, mode="P")
    picture.putpalette(bytes.fromhex("".join((*COLOURS, GAP)).replace("#", "")))
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
