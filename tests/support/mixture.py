"""Vectors of many kinds in place of the functions of place that a synthetic run has."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import synthetic_run
from thor_geo.ground.lattice import Tile

DIMENSION = 24


def mixture(tile: Tile, cells: int = synthetic_run.CELLS) -> tuple[np.ndarray, np.ndarray]:
    """Return a tile's vectors: each cell belongs to one of 40 kinds, of different spread."""
    kinds = np.random.default_rng(0).normal(size=(40, DIMENSION))
    spread = np.random.default_rng(1).uniform(0.05, 0.4, 40)
    left, _, _, top = tile.bounds
    rng = np.random.default_rng([int(left), int(top)])
    chosen = rng.integers(0, 40, (cells, cells))
    noise = rng.normal(size=(cells, cells, DIMENSION)) * spread[chosen][..., None]
    grid = np.moveaxis(kinds[chosen] + noise + 1, -1, 0).astype(np.float32)
    return grid[:, 0, 0], grid


def mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs that `synthetic_run` writes have such vectors."""
    monkeypatch.setattr(synthetic_run, "embed", mixture)
    monkeypatch.setattr(synthetic_run, "DIMENSION", DIMENSION)
