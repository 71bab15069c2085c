"""Trained models put to use on single frames, whatever detector they come from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotmill.errors import SpotmillError
from spotmill.learning.calibration import Calibration, stored_calibration
from spotmill.learning.encoders import View
from spotmill.learning.frame_summary import TrainingFrames
from spotmill.learning.marked import BLOCK, Marked
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.models.patch_counter import CandidateEncoder
from spotmill.learning.models.peak_net import Network as PeakNet
from spotmill.learning.models.profile_likelihood import Network as ProfileLikelihood
from spotmill.learning.models.radial_profile import Network as RadialProfile
from spotmill.learning.networks import build_network, probabilities
from spotmill.learning.peak_calibration import PeakCalibration, stored_peak_calibration
from spotmill.learning.profiles import radial_profile
from spotmill.learning.registry import MODELS, model_module
from spotmill.learning.store import CARD, load_card, load_network
from spotmill.physics.geometry import Detector
from spotmill.physics.peak_finding import Peaks
from spotmill.tasks import Task

# Candidates a frame when peaks are looked for: real frames may hold more spots than simulated.
CANDIDATES = 4096
# A profile may be off by this share of itself and still be of the kind that a model knows.
LOOSE = 0.05


@dataclass(frozen=True, eq=False)
class Applied:
    """A trained model with what its card says.

    Attributes
    ----------
    training
        What the frames were like that it was trained on.
    calibration
        Of models of classes: makes true probabilities of the network's.
    peak_calibration
        Of models of peaks: the same, and the score from which a peak counts.
    """

    folder: Path
    facts: dict[str, Any]
    task: Task
    network: nn.Module
    device: torch.device
    training: TrainingFrames
    calibration: Calibration | None
    peak_calibration: PeakCalibration | None

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.folder.name

    @cached_property
    def settings(self) -> Any:
        """The settings of the model."""
        return model_module(self.task.model).Settings.parse(self.task.settings, self.folder / CARD)

    def probability(
        self,
        image: NDArray[Any],
        mask: NDArray[np.bool_],
        view: View,
        marked: Marked | None = None,
    ) -> float:
        """Return the calibrated probability of a hit.

        `marked` is the same frame with its dead pixels marked, where it is at hand.

        Raises
        ------
        SpotmillError
            When the model reads whole frames, of another shape than this one.
        """
        self.check_shape(image.shape)
        encoder = model_module(self.task.model).encoder(self.settings, self.task.input, view)
        if (
            marked is not None
            and isinstance(encoder, CandidateEncoder)
            and marked.block == encoder.block
        ):
            encoded = encoder.encode_marked(marked)
        else:
            encoded = encoder.encode(image, mask)
        inputs = encoder.batch([encoded]).to(self.device)
        with torch.no_grad():
            said = probabilities(self.network(inputs)).cpu().numpy()
        return float((self.calibration.apply(said) if self.calibration else said)[0, 1])

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise SpotmillError where a model that reads whole frames was made for others."""
        if MODELS[self.task.model].whole_frames and tuple(shape) != self.training.shape:
            raise SpotmillError(
                f"{self.folder}: {self.task.model} was made for frames of {self.training.shape} "
                f"pixels, not {tuple(shape)}; use a model of single pixels, such as patch_counter"
            )

    def peaks(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Peaks:
        """Return the peaks of a frame; their score is the probability of a true one."""
        return self.accepted(self.candidates(image, mask))

    def candidates(
        self, image: NDArray[Any], mask: NDArray[np.bool_], marked: Marked | None = None
    ) -> Peaks:
        """Return all that the network looked at in a frame; the score is the network's.

        `marked` is the same frame with its dead pixels marked, where it is at hand.
        """
        if marked is not None and isinstance(self.network, PeakNet) and marked.block == BLOCK:
            return self.network.find_marked(marked)
        found: Peaks = self.network.find(image, mask)  # type: ignore[operator]
        return found

    def refused(self, found: Peaks) -> NDArray[np.bool_]:
        """Return which candidates are no peaks."""
        if self.peak_calibration is None:
            raise TypeError(f"{self.task.model} finds no peaks")
        return np.asarray(found.score < self.peak_calibration.threshold)

    def accepted(self, found: Peaks) -> Peaks:
        """Return the candidates that are peaks; their score is the probability of a true one."""
        take = ~self.refused(found)
        assert self.peak_calibration is not None
        score = self.peak_calibration.probability(found.score[take])
        return Peaks(found.place[take], found.intensity[take], score)

    @property
    def reads_profiles(self) -> bool:
        """Whether the model reads radial profiles, which every detector has."""
        return isinstance(self.network, ProfileLikelihood | RadialProfile)

    @property
    def profile_kind(self) -> tuple[float, ...]:
        """What a radial profile depends on besides the frame and its detector."""
        known, chosen = self.training, self.settings
        settings = (chosen.bins, chosen.spot_photons, chosen.spot_reach)
        return (*settings, known.largest_radius, known.pixel_size)

    def bins(self, detector: Detector, radius: NDArray[np.floating]) -> NDArray[np.int32]:
        """Return the radial bin of every pixel [ss, fs], -1 beyond those of the training.

        Bins are those of the training detector, as lengths: what lies as far from the beam
        there and here falls into the same one. `radius` is in pixels.
        """
        known, count = self.training, self.settings.bins
        scale = np.float32(count / known.largest_radius)
        if detector.pixel_size != known.pixel_size:
            scale = np.float32(scale * (detector.pixel_size / known.pixel_size))
        scaled = np.where(np.isfinite(radius), radius, -1.0) * scale
        # The last bin is closed: the farthest pixel of all lies on its edge.
        last = (scaled >= count) & (scaled < count * (1 + 1e-6))
        number = np.where(last, count - 1, np.floor(scaled)).astype(np.int32)
        return np.where((scaled < 0) | (number >= count), -1, number).astype(np.int32)

    def profile(
        self, image: NDArray[Any], mask: NDArray[np.bool_], bins: NDArray[np.int32], area: float
    ) -> NDArray[np.float64]:
        """Return photons and live pixels [2, bin], Bragg spots left out.

        Pixels count by their area over that of the training detector's, `area`.
        """
        chosen = self.settings
        photons, pixels = radial_profile(
            image, mask, bins, chosen.bins, chosen.spot_photons, chosen.spot_reach
        )
        return np.stack([photons, pixels * area])

    def value(self, profile: NDArray[np.float64]) -> tuple[float, float]:
        """Return a value and its standard deviation, eV or m, told from a profile [2, bin].

        Models of classes tell the likeliest one.
        """
        inputs = torch.from_numpy(profile.astype(np.float32))[None]
        with torch.no_grad():
            said = self.network(inputs)
        if self.task.scale == "values":
            return float(said[0, 0]), float(said[0, 1])
        share = probabilities(said).numpy()
        share = (self.calibration.apply(share) if self.calibration else share)[0]
        best = float(self.classes[int(share.argmax())])
        return best, float(np.sqrt(share @ (self.classes - best) ** 2))

    @cached_property
    def classes(self) -> NDArray[np.float64]:
        """The values of the classes, eV or m."""
        return np.array([float(name.split()[0]) for name in self.facts["classes"]])

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """What photon energies (eV) and camera lengths (m) a model of values knows."""
        if isinstance(self.network, ProfileLikelihood):
            low_high = self.network.ranges.tolist()
            return {
                "photon_energy": (low_high[0][0], low_high[0][1]),
                "clen": (low_high[1][0], low_high[1][1]),
            }
        name = "clen" if self.task.target == "camera_length" else "photon_energy"
        return {name: (float(self.classes.min()), float(self.classes.max()))}

    @cached_property
    def _rates(self) -> NDArray[np.float64]:
        if isinstance(self.network, ProfileLikelihood):
            where = self.network.where()
            return np.exp(self.network.family().log_rate(where.energy, where.clen))
        net: Any = self.network
        with torch.no_grad():
            rates: NDArray[np.float64] = ((net.start + net.shift * net.step) @ net.basis).exp()
        return np.asarray(rates)

    def misfit(self, profile: NDArray[np.float64]) -> float:
        """Return by how many standard deviations the best of all known profiles fits too badly.

        Of the mean square, over the bins with pixels, of what is off over the error of counting
        and a share `LOOSE` of what is expected.
        """
        photons, pixels = profile
        used = pixels > 0
        if not used.any() or not photons.any():
            return float("inf")
        expected = self._rates[:, used] * pixels[used]
        expected *= photons[used].sum() / expected.sum(1, keepdims=True)
        likelihood = (photons[used] * np.log(np.maximum(expected, 1e-300))).sum(1)
        best = expected[int(likelihood.argmax())]
        variance = np.maximum(best, 1.0) + (LOOSE * best) ** 2
        square = ((photons[used] - best) ** 2 / variance).mean()
        return float((square - 1) / np.sqrt(2 / used.sum()))


def open_applied(folder: Path, device: str = "cpu") -> Applied:
    """Open a model folder for use.

    Parameters
    ----------
    device
        cpu or cuda; models of values run on the processor all the same.

    Raises
    ------
    SpotmillError
        When it is not whole, was tampered with, or does not say what it was trained on.
    """
    place = folder / CARD
    facts = load_card(folder)
    known = {key: facts[key] for key in Task.model_fields if key in facts}
    task = Task.parse(known, place)
    if "training_frames" not in facts:
        raise SpotmillError(
            f"{place}: does not say what its training frames were like; train the model again"
        )
    finds_peaks = task.target == "peaks"
    network = load_network(folder, task, str(place))
    if finds_peaks:
        network = with_more_candidates(network, task, facts, str(place))
    classes = not finds_peaks and task.scale == "classes"
    # Profiles are small and their tables made on the processor.
    wanted = device if task.target in ("hit", "peaks") else "cpu"
    return Applied(
        folder=folder,
        facts=facts,
        task=task,
        network=network.to(wanted).eval(),
        device=torch.device(wanted),
        training=TrainingFrames.parse(facts["training_frames"], f"{place}: training_frames"),
        calibration=stored_calibration(facts, place) if classes else None,
        peak_calibration=stored_peak_calibration(facts, place) if finds_peaks else None,
    )


def check_device(device: str) -> None:
    """Raise SpotmillError where there is no such device here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SpotmillError("--device: cuda: torch sees no GPU here; leave it out")


def with_more_candidates(
    network: nn.Module, task: Task, facts: dict[str, Any], source: str
) -> nn.Module:
    """Return a network of peaks that looks at as many candidates as real frames may hold."""
    settings = dict(task.settings)
    if settings.get("candidates", 0) >= CANDIDATES:
        return network
    settings["candidates"] = CANDIDATES
    sizes = facts["dimensions"]
    dimensions = Dimensions(tuple(sizes["shape"]), sizes["outputs"], sizes["conditions"])
    larger = build_network(task.model_copy(update={"settings": settings}), dimensions, source)
    larger.load_state_dict(network.state_dict())
    return larger
