"""What a watch keeps of frames so that CrystFEL can go on with its peaks, and the geometry for it.

As `predict` does (`handover`), but energy and distance are always read from the files of peaks: a
watch does not know yet whether the hits to come share them.
"""

import hashlib
import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.inference.events import Event, Maker
from spotmill.inference.handover import Setting
from spotmill.inference.peak_file import DISTANCE, PHOTON_ENERGY


def setting_text(event: Event) -> str:
    """Return what a frame must share with others to lie under one geometry, as text."""
    own = Setting.of(event)
    centre = None if own.beam_centre is None else [float(place) for place in own.beam_centre]
    known = [
        [int(side) for side in own.shape],
        own.geometry is not None,
        own.pixel_size,
        centre,
        own.adu_per_photon,
    ]
    return json.dumps(known)


def setting_of(text: str, maker: Maker) -> Setting:
    """Return a setting from its text; the geometry is the one that the watch was given."""
    shape, has_geometry, pixel_size, centre, gain = json.loads(text)
    return Setting(
        shape=tuple(shape),
        geometry=maker.laid(tuple(shape)) if has_geometry else None,
        pixel_size=pixel_size,
        beam_centre=None if centre is None else (centre[0], centre[1]),
        adu_per_photon=gain,
    )


def geometry_of(setting: Setting) -> Any:
    """Return the geometry of the files of peaks; None where nobody says where the beam is."""
    if setting.unknown():
        return None
    return setting.geometry_of_peaks(f"/{PHOTON_ENERGY}", f"/{DISTANCE}")


class Masks:
    """Packs the live pixels of hits; the same array one after the other is packed once."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.bool_], str, bytes] | None = None

    def packed(self, live: NDArray[np.bool_]) -> tuple[str, bytes]:
        """Return the digest and the bytes of live pixels [ss, fs]."""
        if self._last is None or self._last[0] is not live:
            bits = np.packbits(live).tobytes()
            digest = hashlib.blake2b(bits, digest_size=12).hexdigest()
            self._last = live, digest, zlib.compress(bits, 1)
        return self._last[1:]


def unpacked_mask(packed: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return live pixels [ss, fs] from their bytes."""
    bits = np.frombuffer(zlib.decompress(packed), dtype=np.uint8)
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
