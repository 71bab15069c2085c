"""A map of frames: coordinates, clusters and oddness from their physical features.

Frames are odd against the others of their dataset: conditions differ from one to the next, and
none of them is odd for that.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.neighbors import LocalOutlierFactor

from spotmill.formats.frame_map import ODD
from spotmill.physics.frame_features import NAMES, tamed

SEED = 1
NEIGHBOURS = 15  # of UMAP
ODD_NEIGHBOURS = 20  # of the outlier factor
COMPONENTS = 8  # in which clusters are sought
FEWEST = 10  # frames, for UMAP and clusters
DIGITS = 4  # of what is written, so that sums in another order write the same bytes

Array = NDArray[np.float64]


def place_frames(
    features: Array, dataset: NDArray[np.str_]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Place frames by their features [frame, feature]; `dataset` [frame] says which they are of.

    Returns
    -------
    columns
        Of the map, from `pca_1` to `reason`, [frame] each.
    facts
        What is to be known besides: the share of the variance in the components, settings.
    """
    values = tamed(features)
    pca, share = principal(standardised(values))
    near = umap_of(pca)
    apart = deviations(values, dataset)
    oddness = np.round(outlier_factors(apart), DIGITS)
    columns = {
        "pca_1": np.round(pca[:, 0], DIGITS),
        "pca_2": np.round(pca[:, 1], DIGITS),
        "umap_1": np.round(near[:, 0], DIGITS),
        "umap_2": np.round(near[:, 1], DIGITS),
        "cluster": clusters(pca),
        "oddness": oddness,
        "odd": oddness >= ODD,
        "reason": np.array(NAMES)[np.abs(apart).argmax(1)],
    }
    return columns, {
        "seed": SEED,
        "explained_variance": [round(float(part), DIGITS) for part in share],
        "odd_from": ODD,
    }


def standardised(values: Array) -> Array:
    """Return features of mean 0 and standard deviation 1; constant ones are 0."""
    spread = values.std(0)
    return np.asarray((values - values.mean(0)) / np.where(spread > 1e-12, spread, 1))


def principal(values: Array) -> tuple[Array, Array]:
    """Return the principal components [frame, component], and the first two's shares of variance.

    The sign of each is such that its largest loading is positive.
    """
    count = min(COMPONENTS, *values.shape)
    fitted = PCA(count, svd_solver="full").fit(values) if len(values) > 1 else None
    found = np.zeros((len(values), max(count, 2)))
    if fitted is None:
        return found, np.zeros(2)
    axes = fitted.components_
    sign = np.sign(axes[np.arange(count), np.abs(axes).argmax(1)])
    found[:, :count] = fitted.transform(values) * sign
    total = values.var(0, ddof=1).sum()
    share = fitted.explained_variance_ / max(float(total), 1e-300)
    return found, np.pad(share, (0, 2))[:2]


def umap_of(components: Array) -> Array:
    """Return UMAP's coordinates [frame, 2]; of fewer frames than `FEWEST` the first components.

    McInnes, Healy & Melville, arXiv:1802.03426.
    """
    if len(components) < FEWEST:
        return components[:, :2]
    with warnings.catch_warnings():
        # It tells of a part of its own that is not used here and wants another library.
        warnings.simplefilter("ignore", ImportWarning)
        from umap import UMAP
    near = min(NEIGHBOURS, len(components) - 1)
    placed = UMAP(n_neighbors=near, init="pca", random_state=SEED, n_jobs=1)
    return np.asarray(placed.fit_transform(components), dtype=np.float64)


def clusters(components: Array) -> NDArray[np.int32]:
    """Return the cluster of each frame by HDBSCAN, the largest first; -1 outside any.

    Campello, Moulavi & Sander, PAKDD 2013. A cluster has 2 % of the frames, and 5, at least.
    """
    if len(components) < FEWEST:
        return np.full(len(components), -1, dtype=np.int32)
    least = max(5, len(components) // 50)
    label = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(components)
    found = np.unique(label[label >= 0])
    order = sorted(found.tolist(), key=lambda one: (-np.count_nonzero(label == one), one))
    number = {one: place for place, one in enumerate(order)}
    return np.array([number.get(one, -1) for one in label.tolist()], dtype=np.int32)


def deviations(values: Array, dataset: NDArray[np.str_]) -> Array:
    """Return features [frame, feature] from their dataset's median, in usual deviations.

    What is usual is the standard deviation over all datasets: a spot at low angles is rare, and
    not odd.
    """
    apart = values.copy()
    for name in np.unique(dataset):
        apart[dataset == name] -= np.median(values[dataset == name], axis=0)
    usual = apart.std(0)
    return np.asarray(apart / np.where(usual > 1e-9, usual, 1))


def outlier_factors(apart: Array) -> Array:
    """Return the local outlier factor of each frame (Breunig et al., SIGMOD 2000)."""
    if len(apart) < 3:
        return np.ones(len(apart))
    found = LocalOutlierFactor(min(ODD_NEIGHBOURS, len(apart) - 1)).fit(apart)
    return np.asarray(-found.negative_outlier_factor_)
