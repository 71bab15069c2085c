"""The trained models of one folder, put to a frame one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from spotmill.errors import SpotmillError
from spotmill.formats.images_model import FrameMetadata, RawFrame
from spotmill.inference.artefacts import apart, doubts
from spotmill.inference.events import Event, Maker
from spotmill.inference.flaws import flaws, strangeness_of_flaws
from spotmill.inference.gain import in_photons
from spotmill.inference.plausible import outside_heap
from spotmill.inference.second_look import peaks_of
from spotmill.inference.stated import Given
from spotmill.inference.values import Profiles, Told, radius_of, tell
from spotmill.physics.geometry import Detector
from spotmill.physics.peak_finding import Peaks

if TYPE_CHECKING:
    from spotmill.inference.faint import Faint
    from spotmill.learning.applied import Applied

TARGETS = ("hit", "peaks", "photon_energy", "camera_length")
# Of the tasks of a folder that tell one thing, the first of these is taken.
PREFERRED = {
    "hit": ("hit",),
    "peaks": ("peaks",),
    "photon_energy": ("photon_energy_values", "photon_energy"),
    "camera_length": ("camera_length_values", "camera_length"),
}
# Twice as far from the middle as any training frame: what is said of such a frame is a guess.
STRANGE = 2.0
# Peaks that make a hit, where it is told by them; as `hit.min_spots` is shipped.
MIN_SPOTS = 3
# Of the peaks on rings and edges such a share is taken for spots at most; the chance that no more
# of them are.
LEAK, LEAK_CHANCE = 0.01, 0.95
# Peaks that make a hit, though the model of hits says none, and the probability of so many.
PLAIN_HIT, PLAIN_CHANCE = 9, 0.99
# A hit without a single peak is one from this probability on.
SURE_HIT = 0.9
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
        from spotmill.learning.frame_summary import WORDS, features, strangeness
        from spotmill.learning.marked import mark

        event = in_photons(event)
        marked = mark(event.image, event.mask)
        seen = features(event.image, event.mask, marked)
        if event.stated.sources.get("adu_per_photon") == "scatter" and event.stated.adu_per_photon:
            # A gain that is a guess makes no frame like those of the training.
            seen["dispersion"] += math.log10(event.stated.adu_per_photon)
        strange = {
            target: strangeness(self.models[target].training, seen)
            for target in ("hit", "peaks")
            if target in self.models
        }
        remarks = list(event.stated.remarks)
        model, view = self.models["hit"], View(event.detector)
        probability = model.probability(event.image, event.mask, view, marked)
        threshold = model.calibration.threshold if model.calibration else None
        is_hit, by = probability >= (0.5 if threshold is None else threshold), "hit"
        every = peaks = sure = NO_PEAKS
        count, enough = 0, MIN_SPOTS
        centre = beam_of(event.detector) if event.knows_radius else None
        if "peaks" in self.models:
            radius = radius_of(event.detector) if event.knows_radius else None
            finder = self.models["peaks"]
            every, standing = peaks_of(finder, event.image, event.mask, marked, radius, centre)
            size = event.stated.pixel_size
            doubt = doubts(standing, event.image, event.mask, centre, size)
            count = int((~doubt.likely).sum())
            peaks = standing.rows(~doubt.certain)
            sure = apart(standing.rows(~doubt.likely))
            enough += leaked(len(every.score) - len(standing.score))
        odd, far = worst(strange["hit"])
        if far > STRANGE:
            remarks.append(
                f"{WORDS[odd]} unlike the training frames of hits ({far:.1f} times as far off)"
            )
            if "peaks" in self.models:
                probability, by = at_least(sure.score, enough), "peaks"
                is_hit = probability >= 0.5
        false = len(every.score) - count
        if by == "hit" and is_hit and false >= MIN_SPOTS and false > count:
            # What the model of hits took for spots is likely the same.
            probability, by = at_least(sure.score, enough), "peaks"
            is_hit = probability >= 0.5
            remarks.append(
                f"{false} of {len(every.score)} peaks are single pixels, tracks, or on rings and "
                "edges, not of a crystal"
            )
        elif "peaks" in self.models and is_hit and not len(peaks.score) and probability < SURE_HIT:
            probability, is_hit, by = at_least(every.score, MIN_SPOTS), False, "peaks"
            remarks.append("has no peaks, though the model of hits holds it for one")
        elif by == "hit" and not is_hit and len(sure.score) >= PLAIN_HIT:
            chance = at_least(sure.score, PLAIN_HIT)
            if chance >= PLAIN_CHANCE:
                probability, is_hit, by = chance, True, "peaks"
                remarks.append(f"has {len(sure.score)} peaks, though not to the model of hits")
        if "peaks" in strange:
            odd, off = worst(strange["peaks"])
            if off > STRANGE:
                remarks.append(
                    f"{WORDS[odd]} unlike the training frames of peaks ({off:.1f} times as far off)"
                )
        heap, outside = outside_heap(every, peaks, event.image.shape)
        if is_hit and heap and outside < MIN_SPOTS:
            is_hit, by = False, "heap"
            remarks.append(
                f"{heap} of {len(every.score)} peaks lie in one small square, as of stray light "
                "or a cosmic ray, not of a crystal"
            )
        if self.faint is not None:
            chosen = self.faint.choose(event, marked, peaks)
            peaks = chosen.peaks
            if chosen.remark:
                remarks.append(chosen.remark)
            if chosen.lattice is not None and not is_hit:
                is_hit, by = True, "lattice"
                probability = 1 / (1 + math.exp(-chosen.lattice.log_odds))
        told: dict[str, Told] = {}
        profiles: Profiles = {}
        for target in ("photon_energy", "camera_length"):
            told[target] = tell(self.models.get(target), event, seen, profiles)
            if told[target].remark:
                remarks.append(f"{target.replace('_', ' ')}: {told[target].remark}")
            far = max(far, told[target].strange)
        size = event.stated.pixel_size
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
        return Prediction(
            probability=probability,
            is_hit=bool(is_hit),
            hit_by=by,
            peaks=peaks,
            photon_energy=told["photon_energy"],
            clen=told["camera_length"],
            background=10 ** seen["background"],
            out_of_distribution=far,
            flaws=flawed,
            remarks=tuple(remarks),
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


def leaked(refused: int) -> int:
    """Return how many peaks may be left of those on rings and edges, where so many were refused."""
    return int(poisson.ppf(LEAK_CHANCE, LEAK * refused)) if refused else 0


def worst(strange: dict[str, float]) -> tuple[str, float]:
    """Return the feature in which a frame is strangest, and how much."""
    name = max(strange, key=strange.__getitem__)
    return name, strange[name]


def at_least(probability: NDArray[np.float64], count: int) -> float:
    """Return the probability that at least so many of independent events come true."""
    law = np.zeros(count)
    law[0] = 1.0
    for one in probability.tolist():
        law[1:] = law[1:] * (1 - one) + law[:-1] * one
        law[0] *= 1 - one
    return float(min(max(1.0 - law.sum(), 0.0), 1.0))


def choose(folder: Path, tasks: Sequence[str] | None) -> dict[str, str]:
    """Return the name of the model to use for each target.

    Raises
    ------
    SpotmillError
        When there is none of hits, one that is asked for is missing, or it is not clear which.
    """
    from spotmill.learning.store import CARD, WEIGHTS, load_card

    if not folder.is_dir():
        raise SpotmillError(f"{folder}: is no folder of models; give results/models of a run")
    names = list(tasks or ()) or sorted(
        place.parent.name for place in folder.glob(f"*/{CARD}") if place.is_file()
    )
    if not tasks:
        for place in sorted(folder.glob(f"*/{WEIGHTS}")):
            if place.parent.name not in names:
                raise SpotmillError(
                    f"{place.parent}: has weights but no {CARD}; train the model again, or name "
                    "those to use with --tasks"
                )
    by_target: dict[str, list[str]] = {}
    for name in names:
        target = str(load_card(folder / name)["target"])
        by_target.setdefault(target, []).append(name)
    chosen = {}
    for target, found in by_target.items():
        best = [name for name in PREFERRED.get(target, ()) if name in found]
        if (not best and len(found) > 1) or (tasks and len(found) > 1):
            raise SpotmillError(
                f"{folder}: holds several models of {target} ({', '.join(found)}); "
                "name those to use with --tasks"
            )
        chosen[target] = (best or found)[0]
    if "hit" not in chosen:
        raise SpotmillError(
            f"{folder}: holds no model of hits; train a task of target hit "
            f"(it holds {', '.join(names) or 'none'})"
        )
    return {target: chosen[target] for target in TARGETS if target in chosen}
