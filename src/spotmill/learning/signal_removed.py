"""The control of the signal: test frames without a Bragg photon, shown to the trained model.

What is left of a frame with a crystal is background alone. If the model still calls it a hit
more often than a blank, something other than the crystal gives hits away: another level of
background, another file, a frozen noise image.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, norm
from torch import nn

from spotmill.learning.calibration import Calibration
from spotmill.learning.controls import FAIL_LEVEL
from spotmill.learning.dimmed import DimmedFiles, DimmedFrames, dim, without_signal
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.metrics import wilson
from spotmill.learning.setup import Setup
from spotmill.learning.training import predict
from spotmill.physics.detection import stratified_auroc, stratified_interval

Part = tuple[NDArray[np.float64], NDArray[np.float64]]

NO_PEAKS = (
    "The control signal_removed was not run: the frames with a crystal have no shard of peaks, or "
    "the test has no blanks."
)


def compare(parts: list[Part], level: float = 0.95) -> dict[str, Any]:
    """Return the AUROC over pairs of a hit and another frame of one dataset, and its interval.

    Pairs across datasets say which dataset has more hits, not what a frame shows. Datasets
    are weighted by their hits; those with fewer than two frames of a class are left out.
    """
    known = [part for part in parts if min(map(len, part)) >= 2]
    if not known:
        return {"auroc": None, "interval": None}
    return {
        "auroc": stratified_auroc(known),
        "interval": list(stratified_interval(known, level)),
    }


def signal_removed(
    setup: Setup, network: nn.Module, calibration: Calibration
) -> dict[str, Any] | None:
    """Show the network the test frames without the photons of their crystals.

    Returns
    -------
    control
        What `evaluation.json` says of it; `correct` of `n` counts the frames called a hit among
        those that had a crystal, chance is the share of blanks called so. None where there is
        nothing to remove, or no blank to compare with.
    """
    shown = setup.frames
    if not isinstance(shown, DimmedFrames):
        shown, files = dim(shown, setup.split, (1.0,))
        files.close()
    dark = without_signal(shown)
    assert dark.peaks is not None
    # Every frame once.
    rows = dark.rows("test")
    identity = list(zip(dark.dataset[rows], dark.index[rows], strict=True))
    rows = rows[np.unique(identity, axis=0, return_index=True)[1]]
    crystal = dark.peaks[rows] != ""
    blank = dark.blank[rows]
    if not crystal.any() or not blank.any():
        return None
    images = DimmedFiles(dark)
    encoded = EncodedFrames(images, setup.encoder, dark.truth)
    probability = calibration.apply(predict(network, encoded, rows, setup.task.batch_size))
    images.close()
    said = calibration.said(probability) == 1
    return verdict(said, probability[:, 1], crystal, blank, dark.truth[rows], dark.dataset[rows])


def verdict(
    said: NDArray[np.bool_],
    score: NDArray[np.float64],
    crystal: NDArray[np.bool_],
    blank: NDArray[np.bool_],
    truth: NDArray[np.int64],
    dataset: NDArray[np.str_],
) -> dict[str, Any]:
    """Judge what was said of frames without signal.

    Parameters
    ----------
    said, score : [n] whether a frame was called a hit, and its probability
    crystal, blank : [n] whether a frame had a crystal's photons, and whether it never had any
    truth : [n] class before the signal was removed
    """
    called, n = int(said[crystal].sum()), int(crystal.sum())
    alarms, blanks = int(said[blank].sum()), int(blank.sum())
    table = [[called, n - called], [alarms, blanks - alarms]]
    luck = float(fisher_exact(table, alternative="greater").pvalue)
    # Hits against blanks: after removal neither may score higher.
    parts = [
        (
            score[(truth == 1) & crystal & (dataset == name)],
            score[blank & (dataset == name)],
        )
        for name in np.unique(dataset)
    ]
    told, order = compare(parts), luck_of_order(parts)
    return {
        "name": "signal_removed",
        "what": "the test frames without a photon of their crystals: called hits more often than "
        "blanks, something else than the crystal gives them away",
        "counts": "called hits",
        "n": n,
        "n_train": 0,
        "epochs": 0,
        "correct": called,
        "accuracy": called / n,
        "interval": wilson(called, n),
        "chance": alarms / blanks,
        "n_blanks": blanks,
        "chance_interval": wilson(alarms, blanks),
        "luck": luck,
        "auroc": told["auroc"],
        "auroc_interval": told["interval"],
        "auroc_luck": order,
        "at_chance": min(luck, order) >= 1 - FAIL_LEVEL,
    }


def luck_of_order(parts: list[Part]) -> float:
    """Return the probability that scores alike in law give so large an AUROC over pairs, or larger.

    Mann & Whitney, Ann. Math. Stat. 18, 50 (1947), strata added up as in `compare`; ties only
    make it smaller.
    """
    known = [part for part in parts if min(map(len, part)) >= 2]
    if not known:
        return 1.0
    sizes = np.array([(len(hit), len(other)) for hit, other in known], dtype=np.float64)
    weight = sizes[:, 0] / sizes[:, 0].sum()
    variance = (sizes.sum(1) + 1) / (12 * sizes.prod(1))
    excess = stratified_auroc(known) - 0.5
    return float(norm.sf(excess / np.sqrt((weight**2 * variance).sum())))
