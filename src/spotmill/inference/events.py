"""Frames of any source as models take them, one at a time: photons, live pixels, detector."""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.geom import Geometry
from spotmill.formats.geom_layout import Layout, layout_of, stacked
from spotmill.formats.images import FrameFile, FrameMetadata, RawFrame, Source, open_file, sources
from spotmill.formats.images_hdf5 import Hdf5File
from spotmill.inference.counts import photons, saturated_pixels
from spotmill.inference.geometry_masks import FileMasks, unflagged
from spotmill.inference.stated import Given, Stated, offset, resolve
from spotmill.overlays.opener import is_virtual, open_overlay
from spotmill.physics.geometry import Detector, Panel

# Stand-ins where nobody says: none of them reaches an answer.
SOME_PIXEL_SIZE, SOME_CLEN, SOME_ENERGY = 75e-6, 0.1, 1e4

Refused = Callable[[Path, int | None, str], None]


@dataclass(frozen=True)
class Event:
    """One frame.

    Attributes
    ----------
    image : [ss, fs] int32
        Photons, 0 where no pixel is live.
    mask : [ss, fs] bool
        True where a pixel is live. Saturated pixels are: they are the strongest spots.
    detector
        As the geometry file or the header describes it, at a stand-in for the camera length.
    knows_radius
        Whether the place of the beam and the size of pixels are known, not stand-ins.
    frames : int
        That its file holds.
    geometry
        Of the frame as read, by the geometry file; None where none was given.
    raw : [ss, fs]
        The image in the file's own type and units.
    event_id
        The event's name in CrystFEL's form, `//3` or `tag-3//`.
    time
        When the frame was taken, s since 1970 (UTC), where its file says so.
    """

    path: Path
    event: int
    image: NDArray[np.int32]
    mask: NDArray[np.bool_]
    stated: Stated
    detector: Detector
    knows_radius: bool
    saturated: int = 0
    frames: int = 1
    geometry: Geometry | None = None
    raw: NDArray[Any] | None = None
    event_id: str = ""
    time: float | None = None

    @property
    def name(self) -> str:
        """The frame as CrystFEL's lists have it."""
        alone = self.frames == 1 and not h5py.is_hdf5(self.path)
        return str(self.path) if alone else f"{self.path} {self.event_id or f'//{self.event}'}"


class OverlayFile(FrameFile):
    """A shard of ours whose images are drawn when they are read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._shard = open_overlay(path)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._shard)

    def close(self) -> None:
        """Close the shard."""
        self._shard.close()

    def _read(self, event: int) -> RawFrame:
        header = self._shard.header
        # The dataset's values, as a beam line would write them; a frame's own stay untold.
        known = FrameMetadata(
            photon_energy=header.photon_energy,
            clen=header.clen,
            pixel_size=header.pixel_size,
            saturation=header.saturation,
        )
        return RawFrame(self.path, event, self._shard.read(event), self._shard.mask, known)


def open_frames_file(
    path: Path,
    data: str | None = None,
    layout: Layout | None = None,
    likely: str | None = None,
    growing: bool = False,
) -> FrameFile:
    """Open a file of frames (see `open_file`), also a shard that holds none but draws them."""
    return OverlayFile(path) if is_virtual(path) else open_file(path, data, layout, likely, growing)


def events(
    paths: Sequence[Path],
    given: Given,
    refused: Refused,
    passed_over: Callable[[Path], None] | None = None,
) -> Iterator[tuple[Event, FrameFile]]:
    """Yield every frame of files, folders and lists, with its open file.

    Parameters
    ----------
    refused
        Told of each file or frame that cannot be read: path, event (None: the whole file), why.
    passed_over
        Told of what folders hold besides images.
    """
    maker = Maker(given)
    for path in paths:

        def bad_line(error: SpotmillError, path: Path = path) -> None:
            refused(path, None, str(error))

        try:
            for source in sources(path, bad_line, passed_over):
                yield from _events_of(source, maker, refused)
        except SpotmillError as error:
            refused(path, None, str(error))


def _events_of(
    source: Source, maker: "Maker", refused: Refused
) -> Iterator[tuple[Event, FrameFile]]:
    try:
        file = maker.open(source.path)
    except SpotmillError as error:
        refused(source.path, None, str(error))
        return
    with file:
        for wanted in source.events or range(len(file)):
            number = wanted if isinstance(wanted, int) else None
            try:
                if source.events is not None:
                    number = file.number(wanted)
                event = maker.event(file.read(number or 0), len(file))
            except SpotmillError as error:
                refused(source.path, number, str(error))
                continue
            yield event, file


class Maker:
    """Makes events of raw frames; what frames share is made once."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self._key: tuple[Any, ...] = ()
        self._detector: Detector | None = None
        self._gaps = False
        geometry = given.geometry
        self.layout = layout_of(geometry, given.data) if geometry else None
        self._masks = FileMasks(geometry) if geometry else None
        # Masks, and the pixels that all of them leave.
        self._together: tuple[list[NDArray[np.bool_]], NDArray[np.bool_]] = [], np.empty(0, bool)

    def event(self, frame: RawFrame, frames: int = 1) -> Event:
        """Return a raw frame as photons on live pixels.

        Raises
        ------
        SpotmillError
            When mask or geometry are of another shape, or no pixel is live.
        """
        given, shape = self.given, frame.image.shape
        stated = resolve(given, frame)
        geometry = self.laid(shape)
        detector = self._detector_of(geometry, stated, shape)
        live, who = self._live(frame, detector, geometry)
        if who:
            stated = replace(stated, sources={**stated.sources, "mask": who})
        if not live.any():
            raise SpotmillError(
                f"{frame.path}: event {frame.event} has no live pixel; check masks and geometry"
            )
        return Event(
            path=frame.path,
            event=frame.event,
            image=photons(frame.image, live, stated.adu_per_photon or 1.0),
            mask=live,
            stated=stated,
            detector=detector,
            knows_radius=geometry is not None
            or (stated.pixel_size is not None and stated.beam_centre is not None),
            saturated=saturated_pixels(frame.image, live, stated.saturation),
            frames=frames,
            event_id=str(frame.event_id),
            time=frame.metadata.time,
            geometry=geometry,
            raw=frame.image,
        )

    def _live(
        self, frame: RawFrame, detector: Detector, geometry: Geometry | None
    ) -> tuple[NDArray[np.bool_], str]:
        """Return the live pixels [ss, fs] of a frame, and who calls others bad.

        One array for all frames that agree on them.
        """
        given, image = self.given, frame.image
        masks = [detector.mask]
        by_geometry, by_file = self._gaps, frame.mask is not None
        if frame.mask is not None:
            masks.append(frame.mask)
        if given.mask is not None:
            if given.mask.shape != image.shape:
                raise SpotmillError(
                    f"{given.mask_source}: is a mask of {given.mask.shape} pixels, "
                    f"{frame.path} has frames of {image.shape}; give the mask of this detector"
                )
            masks.append(given.mask)
        if geometry is not None and self._masks is not None:
            named = self._masks.live(geometry, frame)
            by_geometry |= bool(named)
            masks += named
        before, shared = self._together
        if len(before) != len(masks) or any(map(operator.is_not, before, masks)):
            shared = np.logical_and.reduce(masks)
            self._together = masks, shared
        own = []
        if geometry is not None and any(panel.flags for panel in geometry.panels):
            own.append(unflagged(geometry, image))
            by_geometry = True
        if image.dtype.kind == "f":
            own.append(np.isfinite(image))
        live = np.asarray(np.logical_and.reduce([shared, *own])) if own else shared
        said = {"hand": given.mask is not None, "geometry": by_geometry, "file": by_file}
        *others, last = [who for who, is_said in said.items() if is_said] or [""]
        return live, f"{', '.join(others)} and {last}" if others else last

    def open(self, path: Path, growing: bool = False) -> FrameFile:
        """Open a file as the geometry says that its frames are put together.

        `growing`: a master may lack data files that are still to come.
        """
        geometry, data = self.given.geometry, self.given.data
        likely = geometry.panels[0].data if geometry and data is None else None
        return open_frames_file(path, data, self.layout, likely, growing)

    def laid(self, shape: tuple[int, ...]) -> Geometry | None:
        """Return the geometry of frames as they are read."""
        if self.layout is not None:
            return self.layout.geometry
        return stacked(self.given.geometry, shape) if self.given.geometry else None

    def _detector_of(
        self, geometry: Geometry | None, stated: Stated, shape: tuple[int, ...]
    ) -> Detector:
        # Neither camera length nor photon energy moves a pixel about the beam.
        key = (shape, stated.pixel_size, stated.beam_centre)
        if self._detector is not None and key == self._key:
            return self._detector
        if geometry is not None:
            detector = geometry.detector(SOME_CLEN - offset(geometry), SOME_ENERGY)
            if detector.shape != shape:
                turned = " (theirs, turned by 90 degrees?)" if detector.shape == shape[::-1] else ""
                raise SpotmillError(
                    f"{geometry.source}: describes frames of {detector.shape} pixels [ss, fs], "
                    f"not {shape}{turned}; give the geometry of these frames"
                )
        else:
            centre = stated.beam_centre or (shape[1] / 2, shape[0] / 2)
            detector = flat_detector(
                (int(shape[0]), int(shape[1])), stated.pixel_size or SOME_PIXEL_SIZE, centre
            )
        self._key, self._detector = key, detector
        self._gaps = not detector.mask.all()
        return detector


def flat_detector(
    shape: tuple[int, int], pixel_size: float, centre: tuple[float, float]
) -> Detector:
    """Return one flat panel [ss, fs] across the beam, which meets it at `centre` (fs, ss)."""
    fs, ss = centre
    panel = Panel(
        name="p",
        min_fs=0,
        max_fs=shape[1] - 1,
        min_ss=0,
        max_ss=shape[0] - 1,
        corner=np.array([-fs * pixel_size, -ss * pixel_size, SOME_CLEN]),
        fs=np.array([pixel_size, 0.0, 0.0]),
        ss=np.array([0.0, pixel_size, 0.0]),
    )
    return Detector((panel,), shape, np.ones(shape, dtype=bool), SOME_CLEN, None, 1.0)


def read_mask(path: Path, good: bool = False) -> NDArray[np.bool_]:
    """Read a mask [ss, fs] from any image file; True where a pixel is live.

    Parameters
    ----------
    good
        Whether pixels that are not 0 are the good ones; else they are bad, as in NXmx.

    Raises
    ------
    SpotmillError
        When the file is no image, or leaves no pixel.
    """
    with open_file(path) as file:
        if len(file) > 1:
            raise SpotmillError(
                f"{path}: holds {len(file)} frames, and a mask is one; save that alone"
            )
        values = file.read(0).image
    live = np.asarray((values != 0) == good)
    if not live.any():
        raise SpotmillError(
            f"{path}: leaves no live pixel; pixels that are not 0 are bad, and --mask-good turns "
            "that round"
        )
    return live


def known_place(file: FrameFile, event: int) -> Any:
    """Return where an HDF5 file keeps a frame (see `Hdf5File.place`); None for other files."""
    return file.place(event) if isinstance(file, Hdf5File) else None
