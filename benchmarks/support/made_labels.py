"""Made features and classes with the two things that make probes slow and scores uncertain.

Components have a spectrum like those of embeddings, so that problems are badly conditioned; classes
and features are smooth over the ground, so that neighbours do not count twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.model_selection import StratifiedGroupKFold

#: Cells along a side of a block.
BLOCK = 12
# Deviation of component k is (1 + k) to this power.
_DECAY = -0.75
# The first components are smooth over this many cells; so are classes, over twice as many.
_SMOOTH, _CELLS = 64, 3
# Distance of the classes' centres in deviations, and share of labels that are wrong.
_CENTRES, _WRONG = 0.16, 0.1


def make_labels(path: Path, samples: int, dimension: int, classes: int, seed: int = 0) -> None:
    """Write features, targets, blocks and folds of cells picked from a square of ground.

    Args:
        path: The file, .npz.
        samples: Number of cells.
        dimension: Number of features.
        classes: Number of classes.
        seed: Seed of all of it.
    """
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(samples)))

    def field(cells: float) -> np.ndarray:
        smooth = gaussian_filter(rng.normal(size=(side, side)), cells, mode="wrap")
        return smooth / smooth.std()

    heights = np.stack([field(2 * _CELLS) + 0.3 * rng.normal() for _ in range(classes)])
    codes = heights.argmax(axis=0).ravel()
    spectrum = (1.0 + np.arange(dimension)) ** _DECAY
    latent = rng.normal(size=(side * side, dimension))
    for k in range(min(_SMOOTH, dimension)):
        latent[:, k] = 0.6 * latent[:, k] + 0.8 * field(_CELLS).ravel()
    latent += rng.normal(size=(classes, dimension))[codes] * _CENTRES
    turn, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    features = (latent * spectrum) @ turn + 0.003 * rng.normal(size=latent.shape)
    wrong = rng.random(side * side) < _WRONG
    codes[wrong] = rng.integers(0, classes, wrong.sum())
    row, col = np.divmod(np.arange(side * side), side)
    picked = np.sort(rng.permutation(side * side)[:samples])
    square = (row // BLOCK * side + col // BLOCK)[picked]
    block = np.unique(square, return_inverse=True)[1]
    targets = np.unique(codes[picked], return_inverse=True)[1]
    fold = np.zeros(samples, dtype=np.int64)
    divide = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for k, (_, test) in enumerate(divide.split(targets, targets, block)):
        fold[test] = k
    np.savez(
        path,
        features=features[picked].astype(np.float32),
        targets=targets,
        block=block,
        fold=fold,
    )
