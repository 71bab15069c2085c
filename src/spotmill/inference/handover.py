"""What CrystFEL is given to go on with: peaks, images, a geometry and a list of hits.

Beside `peaks.cxi` (and `hits.cxi`, where images are copied) stand `predicted.geom`, which says
where in these files everything is, and `hits.lst`, which names the hits in them: one line of
indexamajig is enough. See docs/crystfel.md.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spotmill.formats.atomic import write_text
from spotmill.formats.geom import Geometry, GeomPanel, Mask, Quantity, format_geometry
from spotmill.formats.images_hdf5 import Place
from spotmill.inference.events import Event
from spotmill.inference.own_files import GEOMETRY, HITS, LIST, PEAKS
from spotmill.inference.peak_file import (
    DATA,
    DISTANCE,
    MASK,
    PHOTON_ENERGY,
    RESULT,
    PeakFile,
    open_peak_file,
)
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.units import wavelength_from_photon_energy

# How indexamajig comes by peaks: ours, or those of its own finder, with the settings that did best
# in docs/indexing.md (its own threshold of 800 counts is above all spots of a photon counter).
OURS = ("--peaks=cxi", "--no-revalidate")
FINDER = "--peaks=peakfinder8"
FINDER_PHOTONS, FINDER_SETTINGS = 2, ("--min-snr=4", "--min-pix-count=2")
# What a geometry file says of the detector and not of the beam.
OF_DETECTOR = ("pixel_size", "beam_centre")


@dataclass(frozen=True)
class Setting:
    """What frames must share to lie in one array under one geometry.

    Attributes
    ----------
    geometry
        As the file has it, panels laid out as frames are read; None where there was none.
    pixel_size, beam_centre : m; fs, ss in pixels
        Where there is no geometry; None where nobody says.
    adu_per_photon
        As given by hand, or where there is no geometry.
    """

    shape: tuple[int, ...]
    geometry: Geometry | None
    pixel_size: float | None
    beam_centre: tuple[float, float] | None
    adu_per_photon: float | None

    @classmethod
    def of(cls, event: Event) -> Setting:
        """Return the setting of a frame."""
        stated, known = event.stated, event.geometry is not None
        gain = None
        if not known or stated.sources.get("adu_per_photon") == "hand":
            gain = stated.adu_per_photon or 1.0
        return cls(
            shape=event.mask.shape,
            geometry=event.geometry,
            pixel_size=None if known else stated.pixel_size,
            beam_centre=None if known else stated.beam_centre,
            adu_per_photon=gain,
        )

    def panels(self) -> tuple[GeomPanel, ...]:
        """Return the panels as they lie in `DATA` [frame, ss, fs], the first at the distance."""
        if self.geometry is None:
            return (self._flat_panel(),)
        first = self.geometry.panels[0].coffset
        gain: dict[str, Any] = {}
        if self.adu_per_photon is not None:
            gain = {"adu_per_photon": self.adu_per_photon, "adu_per_eV": None}
        return tuple(
            replace(
                panel,
                data=f"/{DATA}",
                dims=("%", "ss", "fs"),
                masks=(Mask(number=0, data=f"/{MASK}", goodbits=0, badbits=1),),
                coffset=panel.coffset - first,
                # The mask has the pixels that they flag; other files' maps are not here.
                flags=(),
                max_adu=None,
                saturation_map=None,
                saturation_map_file=None,
                **gain,
            )
            for panel in self.geometry.panels
        )

    def unknown(self) -> list[str]:
        """Return what of the detector nobody says."""
        known = self.geometry is not None
        return [] if known else [name for name in OF_DETECTOR if not getattr(self, name)]

    def finder(self, photon_energy: float | None) -> tuple[str, ...]:
        """Return indexamajig's options for a finder of its own, at this photon energy, eV."""
        gain = self.adu_per_photon
        if gain is None and self.geometry is not None:
            panel = self.geometry.panels[0]
            gain = panel.adu_per_photon
            if gain is None and panel.adu_per_eV is not None and photon_energy:
                gain = panel.adu_per_eV * photon_energy
        return FINDER, f"--threshold={FINDER_PHOTONS * (gain or 1.0):.4g}", *FINDER_SETTINGS

    def geometry_of_peaks(self, photon_energy: float | str, clen: float | str) -> Geometry:
        """Return the geometry of a file of peaks; energy (eV) and distance (m) or their places."""
        known: dict[str, Any] = {
            "panels": self.panels(),
            "clen": Quantity("clen", clen, "m"),
            "radiation": Quantity("photon_energy", photon_energy, "eV"),
            "peak_list": f"/{RESULT}",
            "peak_list_type": "cxi",
        }
        return Geometry(**known) if self.geometry is None else replace(self.geometry, **known)

    def _flat_panel(self) -> GeomPanel:
        assert self.pixel_size is not None and self.beam_centre is not None
        fs, ss = self.beam_centre
        return GeomPanel(
            name="p0",
            min_fs=0,
            max_fs=self.shape[1] - 1,
            min_ss=0,
            max_ss=self.shape[0] - 1,
            corner_x=-fs,
            corner_y=-ss,
            fs=(1.0, 0.0, 0.0),
            ss=(0.0, 1.0, 0.0),
            res=1 / self.pixel_size,
            adu_per_photon=self.adu_per_photon,
            data=f"/{DATA}",
            dims=("%", "ss", "fs"),
            masks=(Mask(number=0, data=f"/{MASK}", goodbits=0, badbits=1),),
        )


class Same:
    """A number that may be the same in all hits."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.differs = self.is_missing = False

    def add(self, value: float | None) -> None:
        """Take the number of another hit."""
        if value is None or not math.isfinite(value):
            self.is_missing = True
        elif self.first is None:
            self.first = value
        else:
            self.differs |= value != self.first


class Handover:
    """Writes frame by frame what CrystFEL reads."""

    def __init__(
        self, folder: Path, peaks: PeakFile, hits: PeakFile | None, knows_peaks: bool = True
    ) -> None:
        self._folder, self._peaks, self._hits = folder, peaks, hits
        self._knows_peaks = knows_peaks
        self._setting: Setting | None = None
        self._energy, self._clen = Same(), Same()
        self._rows = array("q")
        self._count = 0

    def add(self, event: Event, peaks: Peaks, is_hit: bool, place: Place | None) -> None:
        """Append a frame (see `PeakFile.add`)."""
        setting = Setting.of(event)
        if self._setting is None:
            self._setting = setting
        elif is_hit and not self._count and setting != self._setting:
            # The first hit decides, not the blanks before it.
            self._setting = setting
            self._peaks.forget()
        fits = setting == self._setting
        file = self._peaks
        listed = file.add(event, peaks, place, with_image=fits)
        if not is_hit:
            return
        self._count += 1
        if self._hits is not None:
            file = self._hits
            listed = fits and file.add(event, peaks)
        if not listed:
            return
        file.add_mask(event.mask)
        self._energy.add(event.stated.photon_energy)
        self._clen.add(event.stated.clen)
        self._rows.append(len(file) - 1)

    def finish(self) -> None:
        """Write what the open files still lack."""
        for file in (self._peaks, self._hits):
            if file is not None:
                file.finish()

    def conclude(self, alone: Path) -> dict[str, Any]:
        """Write the list of hits and the geometry, once the files are there.

        Parameters
        ----------
        alone
            List of the hits in their own files; where CrystFEL would miss images it is the list.

        Returns
        -------
        dict
            `images`: hits whose image lies with their peaks; `geometry`: empty where there is
            none; `options` of indexamajig; `why`: what is missing; `needs_plugin`: of HDF5.
        """
        name, geometry = HITS if self._hits is not None else PEAKS, self._folder / GEOMETRY
        text = "".join(f"{self._folder / name} //{row}\n" for row in self._rows)
        listed = self._hits is not None or len(self._rows) == self._count
        write_text(self._folder / LIST, text if listed else alone.read_text(encoding="utf-8"))
        ready = bool(self._rows) and listed and not self._unknown()
        if ready:
            write_text(geometry, format_geometry(self.geometry()))
        else:
            # One of another run would not be that of these frames.
            geometry.unlink(missing_ok=True)
        return {
            "images": len(self._rows),
            "geometry": GEOMETRY if ready else "",
            "list": LIST,
            "options": self._options() if ready else [],
            "why": self._why(),
            "needs_plugin": ready and self._hits is None and self._peaks.needs_plugin,
        }

    def _unknown(self) -> list[str]:
        """Return the names of what CrystFEL must be told and nobody says."""
        names = []
        if self._energy.is_missing:
            names.append("photon_energy")
        if self._clen.is_missing:
            names.append("clen")
        return names + (self._setting.unknown() if self._setting else [])

    def _why(self) -> str:
        """Return what is missing, as a line with its remedy; empty where nothing is."""
        left = self._count - len(self._rows)
        if not self._count:
            return "there are no hits"
        if left and self._hits is None:
            return (
                f"{left} of {self._count} hits have no image that {PEAKS} could show (they are "
                "not of HDF5, are drawn when read, or are of another detector than the first "
                "of them); run again with --write-frames"
            )
        unknown = self._unknown()
        if unknown:
            flags = " ".join(f"--{name.replace('_', '-')}" for name in unknown)
            geometry = "--geometry, or " if set(unknown) & set(OF_DETECTOR) else ""
            return f"nobody says their {', '.join(unknown)}; run again with {geometry}{flags}"
        if left:
            return (
                f"{left} of {self._count} hits are of another detector than the first, and "
                "are not listed; run their files alone"
            )
        return ""

    def geometry(self) -> Geometry:
        """Return the geometry of the file that holds images and peaks."""
        assert self._setting is not None
        energy, clen = self._energy, self._clen
        return self._setting.geometry_of_peaks(
            f"/{PHOTON_ENERGY}" if energy.differs else float(energy.first or 0),
            f"/{DISTANCE}" if clen.differs else float(clen.first or 0),
        )

    def _options(self) -> list[str]:
        """Return what indexamajig needs besides geometry and list."""
        assert self._setting is not None
        options = list(OURS if self._knows_peaks else self._setting.finder(self._energy.first))
        if self._energy.differs and self._energy.first:
            wavelength = wavelength_from_photon_energy(self._energy.first) * 1e-10
            options.append(f"--wavelength-estimate={wavelength:.4g}")
        if self._clen.differs and self._clen.first:
            options.append(f"--camera-length-estimate={self._clen.first:.4g}")
        return options


@contextmanager
def open_handover(folder: Path, copy: bool = False, knows_peaks: bool = True) -> Iterator[Handover]:
    """Yield what writes for CrystFEL; with `copy` the images of hits are copied.

    Where nobody `knows_peaks`, indexamajig is told to find them itself.
    """
    with ExitStack() as stack:
        peaks = stack.enter_context(open_peak_file(folder / PEAKS))
        hits = stack.enter_context(open_peak_file(folder / HITS, copy=True)) if copy else None
        yield Handover(folder, peaks, hits, knows_peaks)
