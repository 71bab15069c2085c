"""Frames of any source as models take them, one at a time: photons, live pixels, detector."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.geom import Geometry
from spotmill.formats.images import FrameFile, FrameMetadata, RawFrame, Source, open_file, sources
from spotmill.formats.images_hdf5 import Hdf5File
from spotmill.formats.images_hdf5_links import damage
from spotmill.inference.stated import Given, Stated, offset, resolve
from spotmill.overlays.opener import is_virtual, open_overlay
from spotmill.physics.geometry import Detector, Panel

# Stand-ins where nobody says: none of them reaches an answer.
SOME_PIXEL_SIZE, SOME_CLEN, SOME_ENERGY = 75e-6, 0.1, 1e4
LARGEST_COUNT = 2**31 - 1

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

    @property
    def name(self) -> str:
        """The frame as CrystFEL's lists have it."""
        alone = self.frames == 1 and not h5py.is_hdf5(self.path)
        return str(self.path) if alone else f"{self.path} //{self.event}"


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


def open_frames_file(path: Path, data: str | None = None) -> FrameFile:
    """Open a file of frames, also a shard that holds none but draws them."""
    return OverlayFile(path) if is_virtual(path) else open_file(path, data)


def events(
    paths: Sequence[Path], given: Given, refused: Refused
) -> Iterator[tuple[Event, FrameFile]]:
    """Yield every frame of files, folders and lists, with its open file.

    Parameters
    ----------
    refused
        Told of each file or frame that cannot be read: path, event (None: the whole file), why.
    """
    maker = Maker(given)
    for path in paths:

        def bad_line(error: SpotmillError, path: Path = path) -> None:
            refused(path, None, str(error))

        try:
            for source in sources(path, bad_line):
                yield from _events_of(source, maker, refused)
        except SpotmillError as error:
            refused(path, None, str(error))


def _events_of(
    source: Source, maker: "Maker", refused: Refused
) -> Iterator[tuple[Event, FrameFile]]:
    try:
        file = open_frames_file(source.path, maker.given.data)
    except SpotmillError as error:
        refused(source.path, None, str(error))
        return
    with file:
        for number in range(len(file)) if source.events is None else source.events:
            try:
                event = maker.event(file.read(number), len(file))
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
        self._masks: dict[tuple[Any, ...], NDArray[np.bool_]] = {}

    def event(self, frame: RawFrame, frames: int = 1) -> Event:
        """Return a raw frame as photons on live pixels.

        Raises
        ------
        SpotmillError
            When mask or geometry are of another shape, or no pixel is live.
        """
        given, shape = self.given, frame.image.shape
        stated = resolve(given, frame)
        geometry = stacked(given.geometry, shape) if given.geometry else None
        detector = self._detector_of(geometry, stated, shape)
        live = frame.live & detector.mask
        if given.mask is not None:
            if given.mask.shape != shape:
                raise SpotmillError(
                    f"{given.mask_source}: is a mask of {given.mask.shape} pixels, "
                    f"{frame.path} has frames of {shape}; give the mask of this detector"
                )
            live &= given.mask
        if geometry is not None:
            live &= unflagged(geometry, frame.image)
            live &= self._file_masks(geometry, frame)
        if frame.image.dtype.kind == "f":
            live &= np.isfinite(frame.image)
        if not live.any():
            raise SpotmillError(
                f"{frame.path}: event {frame.event} has no live pixel; check masks and geometry"
            )
        limit = stated.saturation
        saturated = 0 if limit is None else int((live & (frame.image >= limit)).sum())
        return Event(
            path=frame.path,
            event=frame.event,
            image=photons(frame.image, live, stated.adu_per_photon or 1.0),
            mask=live,
            stated=stated,
            detector=detector,
            knows_radius=geometry is not None
            or (stated.pixel_size is not None and stated.beam_centre is not None),
            saturated=saturated,
            frames=frames,
        )

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
                raise SpotmillError(
                    f"{geometry.source}: describes frames of {detector.shape} pixels [ss, fs], "
                    f"not {shape}; give the geometry of these frames"
                )
        else:
            centre = stated.beam_centre or (shape[1] / 2, shape[0] / 2)
            detector = flat_detector(
                (int(shape[0]), int(shape[1])), stated.pixel_size or SOME_PIXEL_SIZE, centre
            )
        self._key, self._detector = key, detector
        return detector

    def _file_masks(self, geometry: Geometry, frame: RawFrame) -> NDArray[np.bool_]:
        """Return the pixels [ss, fs] that masks in data files leave live."""
        live = np.ones(frame.image.shape, dtype=bool)
        for panel in geometry.panels:
            slab = np.s_[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1]
            for mask in panel.masks:
                path = Path(mask.file) if mask.file else frame.path
                if not mask.file and not h5py.is_hdf5(path):
                    continue
                values = self._mask_values(path, mask.data, frame)[slab].astype(np.int64)
                live[slab] &= (values & mask.goodbits) == mask.goodbits
                live[slab] &= (values & mask.badbits) == 0
        return live

    def _mask_values(self, path: Path, place: str, frame: RawFrame) -> NDArray[Any]:
        shape = frame.image.shape
        if (path, place) in self._masks:
            return self._masks[path, place]
        with damage(path, f"{place} "), h5py.File(path, "r") as file:
            item = file.get(place)
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "biuf":
                raise SpotmillError(
                    f"{path}: has no mask at {place}; correct mask_data in the geometry"
                )
            shared = item.size == shape[0] * shape[1]
            one = shape[0] * shape[1] * item.shape[0] == item.size
            if not shared and not (one and frame.event < item.shape[0]):
                raise SpotmillError(
                    f"{path}: its mask {place} is of {item.shape}, the frames of {shape}; "
                    "correct the geometry"
                )
            values = np.asarray(item[()] if shared else item[frame.event]).reshape(shape)
        if shared:
            self._masks = {(path, place): values}
        return values


def photons(
    image: NDArray[Any], live: NDArray[np.bool_], adu_per_photon: float
) -> NDArray[np.int32]:
    """Return counts [ss, fs] as whole photons, none negative, 0 where no pixel is live."""
    values = np.where(live, image, 0)
    if adu_per_photon != 1 or values.dtype.kind == "f":
        values = np.rint(values / adu_per_photon)
    return np.clip(values, 0, LARGEST_COUNT).astype(np.int32)


def unflagged(geometry: Geometry, image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels [ss, fs] whose value a geometry does not flag as bad."""
    live = np.ones(image.shape, dtype=bool)
    for panel in geometry.panels:
        slab = np.s_[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1]
        for flag in panel.flags:
            bad = {"lessthan": np.less, "morethan": np.greater, "equal": np.equal}[flag.kind]
            live[slab] &= ~bad(image[slab], flag.value)
    return live


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


def stacked(geometry: Geometry, shape: tuple[int, ...]) -> Geometry:
    """Return a geometry whose modules lie below one another, as the reader lays them.

    Of data [frame, module, ss, fs] a geometry names the module by a number among the `dim`
    lines; module k is moved by k times the rows of one. Others are returned as they are.

    Raises
    ------
    SpotmillError
        When the rows of a frame are no multiple of a module's.
    """
    numbers = [[axis for axis in panel.dims if isinstance(axis, int)] for panel in geometry.panels]
    if not any(number != numbers[0] for number in numbers) or any(len(n) != 1 for n in numbers):
        return geometry
    rows = max(panel.max_ss for panel in geometry.panels) + 1
    if shape[0] % rows or max(number[0] for number in numbers) >= shape[0] // rows:
        raise SpotmillError(
            f"{geometry.source}: describes modules of {rows} rows, up to number "
            f"{max(number[0] for number in numbers)}, and frames have {shape[0]} rows; "
            "give the geometry of these frames"
        )
    moved = {panel.name: n[0] * rows for panel, n in zip(geometry.panels, numbers, strict=True)}
    panels = tuple(
        replace(
            panel,
            min_ss=panel.min_ss + moved[panel.name],
            max_ss=panel.max_ss + moved[panel.name],
            dims=("%", "ss", "fs"),
        )
        for panel in geometry.panels
    )
    regions = []
    for region in geometry.bad_regions:
        shift = moved.get(region.panel or "", 0) if region.axes == ("fs", "ss") else 0
        low, high = (
            (end[0], end[1] + shift) if shift else end for end in (region.low, region.high)
        )
        regions.append(replace(region, low=low, high=high))
    return replace(geometry, panels=panels, bad_regions=tuple(regions))


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
