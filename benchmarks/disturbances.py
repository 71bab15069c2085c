"""What befalls frames on the way from simulation to an experiment, one thing at a time.

Each takes a `Frame` and returns another; nothing is drawn but from the given generator.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

# d-spacings of hexagonal ice, Å, and how strong their rings are beside one another.
ICE = ((3.90, 1.0), (3.67, 0.8), (3.44, 0.9), (2.67, 0.3), (2.25, 0.5))
HC = 12398.4198  # eV Å


@dataclass(frozen=True)
class Frame:
    """A frame with its header and true spots.

    Attributes
    ----------
    image, live : [ss, fs]
    centre : (fs, ss) of the beam, pixels
    place : [n, 2] fs, ss of the true spots
    stated : what the header says, where it does not say the truth
    """

    image: Any
    live: Any
    centre: tuple[float, float]
    pixel_size: float
    photon_energy: float
    clen: float
    place: Any
    stated: dict[str, Any] = field(default_factory=dict)

    @property
    def radius(self) -> Any:
        """Distance of every pixel from the beam, pixels."""
        ss, fs = np.ogrid[: self.image.shape[0], : self.image.shape[1]]
        return np.hypot(fs + 0.5 - self.centre[0], ss + 0.5 - self.centre[1])


def _alive(frame: Frame) -> Frame:
    """Leave out spots whose pixel is no longer live."""
    at = np.floor(frame.place).astype(int)
    inside = ((at >= 0) & (at < frame.image.shape[::-1])).all(1)
    at = at[inside]
    return replace(frame, place=frame.place[inside][frame.live[at[:, 1], at[:, 0]]])


def gaps(frame: Frame, rng: Any) -> Frame:
    """Gaps of 17 rows and 7 columns between modules of 195 x 487, as a PILATUS has."""
    live = frame.live.copy()
    for first in range(195, live.shape[0], 212):
        live[first : first + 17] = False
    for first in range(487, live.shape[1], 494):
        live[:, first : first + 7] = False
    return _alive(replace(frame, live=live, image=np.where(live, frame.image, -1)))


def beamstop(frame: Frame, rng: Any) -> Frame:
    """The shadow of a beamstop with its arm, which no mask tells of."""
    image = frame.image.copy()
    fs, ss = (int(value) for value in frame.centre)
    dark = frame.radius < 90
    dark[ss:, max(fs - 12, 0) : fs + 12] = True
    image[dark & frame.live] = 0
    at = np.floor(frame.place).astype(int)
    return replace(frame, image=image, place=frame.place[~dark[at[:, 1], at[:, 0]]])


def hot_pixels(frame: Frame, rng: Any, share: float = 2e-5) -> Frame:
    """Pixels that count much too much, a few of them beside one another."""
    image = frame.image.copy()
    count = int(share * image.size)
    ss, fs = (rng.integers(0, side - 1, count) for side in image.shape)
    image[ss, fs] = 10 ** rng.uniform(1, 4.5, count)
    pairs = slice(0, count // 10)
    image[ss[pairs], fs[pairs] + 1] = 10 ** rng.uniform(1, 4.5, count // 10)
    return replace(frame, image=np.where(frame.live, image, frame.image))


def zingers(frame: Frame, rng: Any, count: int = 5) -> Frame:
    """Tracks of cosmic rays: straight, some pixels long, 30 photons on average.

    Five are what muons leave on 250 cm² in a second.
    """
    image = frame.image.copy()
    for _ in range(count):
        ss, fs = (rng.uniform(0, side) for side in image.shape)
        angle, length = rng.uniform(0, 2 * np.pi), rng.exponential(6.0)
        for step in rng.uniform(0, length, rng.geometric(1 / 30)):
            a, b = int(ss + step * np.sin(angle)), int(fs + step * np.cos(angle))
            if 0 <= a < image.shape[0] and 0 <= b < image.shape[1] and frame.live[a, b]:
                image[a, b] += 1
    return replace(frame, image=image)


def ice_rings(frame: Frame, rng: Any, photons: float = 1.0) -> Frame:
    """Powder rings of hexagonal ice, even along the ring; photons a pixel at the strongest."""
    rings = np.zeros(frame.image.shape)
    radius = frame.radius
    for spacing, strength in ICE:
        sine = HC / frame.photon_energy / (2 * spacing)
        at = frame.clen * np.tan(2 * np.arcsin(min(sine, 0.999))) / frame.pixel_size
        rings += photons * strength * np.exp(-((radius - at) ** 2) / (2 * 2.5**2))
    return replace(frame, image=frame.image + rng.poisson(rings) * frame.live)


def shifted_centre(frame: Frame, rng: Any) -> Frame:
    """A header whose beam is 25 and 40 pixels off."""
    return replace(frame, stated={"centre": (frame.centre[0] + 25, frame.centre[1] - 40)})


def wrong_energy(frame: Frame, rng: Any) -> Frame:
    """A header of 15 % more photon energy (within what models of 6 to 8 keV know: less)."""
    factor = 1.15 if frame.photon_energy < 7500 else 0.85
    return replace(frame, stated={"photon_energy": factor * frame.photon_energy})


def wrong_distance(frame: Frame, rng: Any) -> Frame:
    """A header of another camera length."""
    return replace(frame, stated={"clen": 0.25 if frame.clen < 0.2 else 0.15})


def saturated(frame: Frame, rng: Any) -> Frame:
    """Counts end at 20."""
    return replace(frame, image=np.minimum(frame.image, 20), stated={"saturation": 20})


def turned(quarters: int) -> Callable[[Frame, Any], Frame]:
    """Return what turns a frame by quarters of a turn, against the clock on the screen."""

    def turn(frame: Frame, rng: Any) -> Frame:
        for _ in range(quarters):
            width = frame.image.shape[1]
            frame = replace(
                frame,
                image=np.ascontiguousarray(np.rot90(frame.image)),
                live=np.ascontiguousarray(np.rot90(frame.live)),
                centre=(frame.centre[1], width - frame.centre[0]),
                place=np.stack([frame.place[:, 1], width - frame.place[:, 0]], axis=1),
            )
        return frame

    return turn


def mirrored(frame: Frame, rng: Any) -> Frame:
    """Left and right exchanged."""
    width = frame.image.shape[1]
    return replace(
        frame,
        image=np.ascontiguousarray(frame.image[:, ::-1]),
        live=np.ascontiguousarray(frame.live[:, ::-1]),
        centre=(width - frame.centre[0], frame.centre[1]),
        place=np.stack([width - frame.place[:, 0], frame.place[:, 1]], axis=1),
    )


def of_type(name: str) -> Callable[[Frame, Any], Frame]:
    """Return what writes a frame in another type; unsigned ones mark gaps by the mask alone."""

    def convert(frame: Frame, rng: Any) -> Frame:
        image = np.where(frame.live, frame.image, 0) if name[0] == "u" else frame.image
        return replace(frame, image=image.astype(name))

    return convert


def in_counts(frame: Frame, rng: Any) -> Frame:
    """A detector that makes 14.7 counts of a photon, with a noise of 2; nobody says so."""
    counts = 14.7 * frame.image + rng.normal(0, 2.0, frame.image.shape)
    return replace(frame, image=np.where(frame.live, counts, np.nan).astype(np.float32))


def binned(frame: Frame, rng: Any) -> Frame:
    """Pixels summed 2 x 2."""
    shape = tuple(side // 2 for side in frame.image.shape)
    part = np.s_[: 2 * shape[0], : 2 * shape[1]]
    squares = (shape[0], 2, shape[1], 2)
    live = frame.live[part].reshape(squares).all((1, 3))
    image = frame.image[part].reshape(squares).sum((1, 3))
    return _alive(
        replace(
            frame,
            image=np.where(live, image, -1),
            live=live,
            centre=(frame.centre[0] / 2, frame.centre[1] / 2),
            pixel_size=2 * frame.pixel_size,
            place=frame.place / 2,
        )
    )


def half(frame: Frame, rng: Any) -> Frame:
    """The left half alone."""
    part = np.s_[:, : frame.image.shape[1] // 2]
    image, live = frame.image[part].copy(), frame.live[part].copy()
    return _alive(replace(frame, image=image, live=live))


ALL: dict[str, Callable[[Frame, Any], Frame]] = {
    "as simulated": lambda frame, rng: frame,
    "gaps of modules": gaps,
    "shadow of a beamstop, unmasked": beamstop,
    "hot pixels, unmasked": hot_pixels,
    "zingers": zingers,
    "ice rings": ice_rings,
    "beam centre off": shifted_centre,
    "wrong photon energy": wrong_energy,
    "wrong distance": wrong_distance,
    "saturated at 20": saturated,
    "turned by 90°": turned(1),
    "turned by 180°": turned(2),
    "mirrored": mirrored,
    "int16": of_type("int16"),
    "uint16": of_type("uint16"),
    "uint32": of_type("uint32"),
    "float32": of_type("float32"),
    "float64": of_type("float64"),
    "14.7 counts a photon, unstated": in_counts,
    "binned 2 x 2": binned,
    "half a frame": half,
}
TOGETHER = ("ice rings", "beam centre off", "zingers", "hot pixels, unmasked", "gaps of modules")
