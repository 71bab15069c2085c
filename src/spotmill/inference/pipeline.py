"""The trained models of one folder, put to a frame one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.images_model import FrameMetadata, RawFrame
from spotmill.inference.artefacts import apart, doubts
from spotmill.inference.beam_doubt import doubt
from spotmill.inference.chosen_models import choose
from spotmill.inference.events import Event, Maker
from spotmill.inference.flaws import flaws, strangeness_of_flaws
from spotmill.inference.gain import in_photons
from spotmill.inference.plausible import outside_heap
from spotmill.inference.second_look import peaks_of
from spotmill.inference.stated import Given
from spotmill.inference.values import Profiles, Told, radius_of, tell
from spotmill.inference.verdict import STRANGE, FoundPeaks, Unlike, on_lattice, verdict
from spotmill.physics.geometry import Detector
from spotmill.physics.peak_finding import Peaks

if TYPE_CHECKING:
    from spotmill.inference.faint import Faint
    from spotmill.learning.applied import Applied
    from spotmill.learning.marked import Marked

NO_PEAKS = Peaks(np.empty((0, 2)), np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Prediction:
    """What the models say of a frame; NaN where none can tell.

    Attributes
    ----------
    probability
        Of a hit.
    hit_by
        `hit` (the model of hits), `peaks` (their probabilities, where the frame is unlike
        those that the model of hits was trained on, or plain peaks contradict that model),
        `heap` (no hit after all: next to all peaks lie in one small square), or `lattice`
        (peaks lie on one lattice of the given cell).
    peaks : Peaks
        Their place (fs, ss) in pixels of the frame as read, photons, and probability.
    photon_energy, clen : Told
        eV, m, with standard deviations.
    background
        Photons a pixel.
    out_of_distribution
        How far the frame is from those that the model of hits was trained on: 1 is the farthest
        of these. Also by its flaws, where these had none, and by a header that the models of
        values do not know or that the frame contradicts.
    flaws
        Bright maxima that are single pixels or tracks.
    knows_peaks
        Whether anything looked for peaks.
    lattice
        Whether peaks lie on one lattice of the given cell; None where that was not looked for.
    off_centre
        What contradicts the stated place of the beam, of hits; it is among the remarks.
    """

    probability: float
    is_hit: bool
    hit_by: str
    peaks: Peaks
    photon_energy: Told
    clen: Told
    background: float
    out_of_distribution: float
    flaws: int
    remarks: tuple[str, ...] = ()
    knows_peaks: bool = True
    lattice: bool | None = None
    off_centre: str = ""

    @property
    def n_peaks(self) -> int | None:
        """The number of peaks; None where nothing looked for any."""
        return len(self.peaks.score) if self.knows_peaks else None


@dataclass(frozen=True)
class Found:
    """What `Pipeline.run` returns of a hit."""

    peaks: Peaks
    photon_energy: float
    clen: float
    prediction: Prediction


@dataclass(frozen=True)
class Pipeline:
    """Models of hits, peaks, photon energy and camera length; only that of hits is required.

    Attributes
    ----------
    faint
        Who adds faint peaks to index by; None adds none.
    """

    folder: Path
    models: dict[str, Applied]
    faint: Faint | None = None

    @classmethod
    def load(
        cls, folder: str | Path, device: str = "cpu", tasks: Sequence[str] | None = None
    ) -> Self:
        """Open the models of a folder, `results/models` of a run.

        Parameters
        ----------
        device
            cpu or cuda.
        tasks
            Names of the tasks to use, at most one for each target; None takes `hit`, `peaks`
            and the models of values, or the only one there is for a target.

        Raises
        ------
        SpotmillError
            When there is no model of hits, or one is not whole or was tampered with.
        """
        from spotmill.learning.applied import check_device, open_applied

        folder = Path(folder)
        check_device(device)
        chosen = choose(folder, tasks)
        models = {target: open_applied(folder / name, device) for target, name in chosen.items()}
        return cls(folder, models)

    @property
    def knows_peaks(self) -> bool:
        """Whether it looks for peaks, by a model or on the lattice of a cell."""
        return "peaks" in self.models or self.faint is not None

    @property
    def trained_on(self) -> dict[str, dict[str, Any]]:
        """What each model is and was trained on, by target."""
        return {
            target: {
                "task": model.name,
                "model": model.task.model,
                "datasets": model.facts.get("training_datasets", []),
                "n": model.facts.get("n", {}),
                "training_frames": model.training.model_dump(mode="json"),
                "weights_sha256": model.facts.get("weights_sha256", ""),
            }
            for target, model in self.models.items()
        }

    def predict(self, event: Event) -> Prediction:
        """Return what the models say of a frame.

        Raises
        ------
        SpotmillError
            When the model of hits was made for frames of another shape.
        """
        from spotmill.learning.encoders import View
        from spotmill.learning.frame_summary import features
        from spotmill.learning.marked import mark

        event = in_photons(event)
        marked = mark(event.image, event.mask)
        seen = features(event.image, event.mask, marked)
        if event.stated.sources.get("adu_per_photon") == "scatter" and event.stated.adu_per_photon:
            # A gain that is a guess makes no frame like those of the training.
            seen["dispersion"] += math.log10(event.stated.adu_per_photon)
        remarks = list(event.stated.remarks)
        model, view = self.models["hit"], View(event.detector)
        probability = model.probability(event.image, event.mask, view, marked)
        threshold = model.calibration.threshold if model.calibration else None
        unlike = self._unlike("hit", seen)
        peaks, found = (
            self._peaks(event, marked, seen) if "peaks" in self.models else (NO_PEAKS, None)
        )
        said = verdict(probability, 0.5 if threshold is None else threshold, unlike, found)
        has_lattice: bool | None = None
        if self.faint is not None:
            chosen = self.faint.choose(event, marked, peaks)
            peaks, lattice, has_lattice = chosen.peaks, chosen.lattice, chosen.is_found
            said = on_lattice(said, lattice and lattice.log_odds, chosen.remark)
        remarks += said.remarks
        if said.is_hit and has_lattice is False:
            remarks.append("lattice: no peaks lie on one of the given cell")
        far = unlike.far
        told: dict[str, Told] = {}
        profiles: Profiles = {}
        for target in ("photon_energy", "camera_length"):
            told[target] = tell(self.models.get(target), event, seen, profiles)
            if told[target].remark:
                remarks.append(f"{target.replace('_', ' ')}: {told[target].remark}")
            far = max(far, told[target].strange)
        size = event.stated.pixel_size
        centre = beam_of(event.detector) if event.knows_radius else None
        flawed = flaws(event.image, event.mask, marked.levels, marked.block, centre, size)
        live = int(event.mask.sum())
        strange_by_flaws = strangeness_of_flaws(flawed, live)
        if strange_by_flaws > STRANGE:
            remarks.append(
                f"{flawed} bright pixels ({1e6 * flawed / live:.1f} in a million) are single or in "
                "tracks, as hot pixels and cosmic rays; spotmill mask finds hot ones"
            )
        if not self.models["hit"].training.detectors:
            # Models of several detectors are trained on frames with flaws.
            far = max(far, strange_by_flaws)
        off_centre = doubt(event) if said.is_hit else ""
        if off_centre:
            remarks.append(off_centre)
        return Prediction(
            probability=said.probability,
            is_hit=bool(said.is_hit),
            hit_by=said.by,
            peaks=peaks,
            photon_energy=told["photon_energy"],
            clen=told["camera_length"],
            background=10 ** seen["background"],
            out_of_distribution=far,
            flaws=flawed,
            remarks=tuple(remarks),
            knows_peaks=self.knows_peaks,
            lattice=has_lattice,
            off_centre=off_centre,
        )

    def _unlike(self, target: str, seen: dict[str, float]) -> Unlike:
        """Return how far a frame is from those that a model was trained on."""
        from spotmill.learning.frame_summary import WORDS, strangeness

        off = strangeness(self.models[target].training, seen)
        name = max(off, key=off.__getitem__)
        return Unlike(WORDS[name], off[name])

    def _peaks(
        self, event: Event, marked: Marked, seen: dict[str, float]
    ) -> tuple[Peaks, FoundPeaks]:
        """Return the peaks of a frame that are written, and what they say of a hit."""
        centre = beam_of(event.detector) if event.knows_radius else None
        radius = radius_of(event.detector) if event.knows_radius else None
        every, standing = peaks_of(
            self.models["peaks"], event.image, event.mask, marked, radius, centre
        )
        doubt = doubts(standing, event.image, event.mask, centre, event.stated.pixel_size)
        kept, sound = standing.rows(~doubt.certain), standing.rows(~doubt.likely)
        heap, outside = outside_heap(every, kept, event.image.shape)
        return kept, FoundPeaks(
            every=every.score,
            refused=len(every.score) - len(standing.score),
            sound=len(sound.score),
            kept=len(kept.score),
            sure=apart(sound).score,
            heap=heap,
            outside=outside,
            unlike=self._unlike("peaks", seen),
        )

    def run(
        self, image: NDArray[Any], mask: NDArray[np.bool_] | None = None, given: Given | None = None
    ) -> Found | list[Found | None] | None:
        """Return None, or peaks, photon energy and camera length of a hit; a list for a batch.

        Parameters
        ----------
        image
            [ss, fs], or [n, ss, fs] a batch.
        mask
            [ss, fs] True where a pixel is live; NaN and negative integers never are.
        given
            Geometry, beam and gain, where known. Without a geometry, or pixel size and beam
            centre, photon energy and camera length are NaN.

        Raises
        ------
        SpotmillError
            When shapes do not fit, or no pixel is live.
        """
        image = np.asarray(image)
        if image.ndim == 3:
            maker = Maker(given or Given())
            return [self._run_one(one, mask, maker) for one in image]
        return self._run_one(image, mask, Maker(given or Given()))

    def _run_one(
        self, image: NDArray[Any], mask: NDArray[np.bool_] | None, maker: Maker
    ) -> Found | None:
        from spotmill.formats.images_model import both, check_image, unflagged

        source = Path("array")
        checked = check_image(source, image)
        if mask is not None and mask.shape != checked.shape:
            raise SpotmillError(
                f"mask: is of {mask.shape} pixels, the image of {checked.shape}; give its own mask"
            )
        live = both(mask, unflagged(checked, largest=False))
        frame = RawFrame(source, 0, checked, live, FrameMetadata())
        said = self.predict(maker.event(frame))
        if not said.is_hit:
            return None
        return Found(said.peaks, said.photon_energy.value, said.clen.value, said)


def beam_of(detector: Detector) -> tuple[float, float] | None:
    """Return where the beam meets a detector of one panel (fs, ss); None of several panels."""
    if len(detector.panels) != 1:
        return None
    panel = detector.panels[0]
    axes = np.stack([panel.fs[:2], panel.ss[:2]], axis=1)
    fs, ss = np.linalg.solve(axes, -panel.corner[:2])
    return float(fs + panel.min_fs), float(ss + panel.min_ss)
