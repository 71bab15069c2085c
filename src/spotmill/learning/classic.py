"""Random forest and support vectors on physical features, as baselines that must be beaten.

They are trained again in every evaluation, on training frames; validation frames choose their
settings, the scale of their probabilities and the threshold. Nothing of them is stored.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from spotmill.learning.encoders import View
from spotmill.learning.frames import Frames
from spotmill.learning.metrics import Outcome, choose_threshold
from spotmill.physics.frame_features import FEATURES, Ground, ground, measure, tamed
from spotmill.splits import position

TREES = 200
# Training frames at most, evenly of all classes: the time of support vectors grows as the square.
MOST = 5000
FORESTS: tuple[dict[str, Any], ...] = tuple(
    {"max_features": share, "min_samples_leaf": leaf} for share in ("sqrt", 0.3) for leaf in (1, 3)
)
MACHINES: tuple[dict[str, Any], ...] = tuple(
    {"C": c, "gamma": gamma / len(FEATURES)} for c in (1.0, 10.0, 100.0) for gamma in (0.1, 1.0)
)
# Of a probability that is 0 or 1: no forest is that sure.
LEAST = 1e-3

Array = NDArray[np.float64]


class Fitted(NamedTuple):
    """A method with its settings: probabilities [n, classes] of validation and test frames."""

    settings: dict[str, Any]
    validation: Array
    test: Array


class Classic:
    """Both methods on the features of `spotmill.physics.frame_features`."""

    length = len(FEATURES)

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self._grounds: list[tuple[View, NDArray[np.bool_], Ground]] = []

    def measure(self, image: NDArray[Any], mask: NDArray[np.bool_], view: View) -> Array:
        """Return the features of a frame, those that span decades as log(1 + x)."""
        return tamed(measure(image, self._ground(mask, view)))

    def judge(self, measured: Array, frames: Frames) -> list[Outcome]:
        """Train on the training frames, choose on validation, and answer for the test frames."""
        methods = (
            ("random_forest", f"random forest of {TREES} trees", self._forest, FORESTS),
            ("support_vectors", "support vectors, Gaussian kernel,", self._machine, MACHINES),
        )
        truth = frames.truth[frames.rows("validation")]
        outcomes = []
        for name, words, build, grid in methods:
            fitted = best_of([self._fit(build, given, measured, frames) for given in grid], truth)
            score = threshold = None
            said = fitted.test.argmax(1)
            if len(frames.classes) == 2 and frames.classes[1] == "hit":
                score = fitted.test[:, 1]
                threshold = choose_threshold(fitted.validation[:, 1], truth, preferred=0.5)
                said = (score >= threshold).astype(np.int64)
            chosen = ", ".join(f"{key} {short(value)}" for key, value in fitted.settings.items())
            explained = f"{words} on {len(FEATURES)} physical features of a frame ({chosen})"
            outcomes.append(Outcome(name, "baseline", said, score, threshold, explained))
        return outcomes

    def _ground(self, mask: NDArray[np.bool_], view: View) -> Ground:
        for own, known, place in self._grounds:
            if own is view and (known is mask or np.array_equal(known, mask)):
                return place
        place = ground(view.detector, mask)
        self._grounds = [(view, mask, place), *self._grounds[:3]]
        return place

    def _forest(self, settings: dict[str, Any]) -> Any:
        return RandomForestClassifier(
            TREES, class_weight="balanced_subsample", random_state=self._seed, **settings
        )

    def _machine(self, settings: dict[str, Any]) -> Any:
        return make_pipeline(StandardScaler(), SVC(class_weight="balanced", **settings))

    def _fit(self, build: Any, settings: dict[str, Any], measured: Array, frames: Frames) -> Fitted:
        rows = bounded(frames)
        method = build(settings).fit(measured[rows], frames.truth[rows])
        validation, test = (
            log_odds(method, measured[frames.rows(side)], len(frames.classes))
            for side in ("validation", "test")
        )
        scale = temperature(validation, frames.truth[frames.rows("validation")])
        return Fitted(settings, softmax(validation * scale, axis=1), softmax(test * scale, axis=1))


def short(value: Any) -> str:
    """Return a setting in few characters."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def bounded(frames: Frames) -> NDArray[np.int64]:
    """Return the training rows, of each class those of the smallest hashes where there are many."""
    train = frames.rows("train")
    if len(train) <= MOST:
        return train
    kept = []
    for number in range(len(frames.classes)):
        own = train[frames.truth[train] == number]
        place = [position(str(frames.dataset[row]), int(frames.index[row])) for row in own.tolist()]
        kept.append(own[np.argsort(place, kind="stable")[: MOST // len(frames.classes)]])
    return np.sort(np.concatenate(kept))


def log_odds(method: Any, features: Array, classes: int) -> Array:
    """Return numbers [n, classes] whose softmax is a probability; classes never seen have none."""
    if hasattr(method, "predict_proba"):
        odds = np.log(np.maximum(method.predict_proba(features), LEAST))
    else:
        odds = method.decision_function(features)
        if odds.ndim == 1:
            odds = np.stack([-odds, odds], axis=1) / 2
    found = np.full((len(features), classes), -np.inf)
    found[:, method.classes_] = odds
    return found


def surprise(probability: Array, truth: NDArray[np.int64]) -> float:
    """Return the mean of -log of the probability given to the truth."""
    given = probability[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(given, LEAST)).mean())


def temperature(odds: Array, truth: NDArray[np.int64]) -> float:
    """Return the factor on log odds of the least surprise (Guo et al., ICML 2017, section 4.2)."""
    found = minimize_scalar(
        lambda power: surprise(softmax(odds * np.exp(power), axis=1), truth),
        bounds=(-3, 3),
        method="bounded",
    )
    return float(np.exp(found.x))


def best_of(fitted: list[Fitted], truth: NDArray[np.int64]) -> Fitted:
    """Return the settings of the least surprise on validation, the first of equal ones."""
    return min(fitted, key=lambda one: surprise(one.validation, truth))
