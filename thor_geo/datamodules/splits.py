"""Train, validation and test tiles, split in space."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thor_geo.errors import AreaError, ConfigError
from thor_geo.ground.plan import Plan

STAGES = ("train", "val", "test")


def check_fractions(fractions: Sequence[float]) -> None:
    """Refuse fractions that do not add up to one.

    Raises:
        ConfigError: If there are not three non-negative numbers with the sum 1.
    """
    if (
        len(fractions) != 3
        or any(not 0 <= f <= 1 for f in fractions)
        or not math.isclose(sum(fractions), 1, abs_tol=1e-6)
    ):
        raise ConfigError(
            "split",
            tuple(fractions),
            "not three shares that add up to 1",
            "Give shares of train, val and test, e.g. [0.6, 0.2, 0.2].",
        )


def check_split(
    indices: Sequence[int], fractions: Sequence[float], *, stage: str, tiles: int
) -> None:
    """Refuse a split that leaves a stage without a labelled tile.

    Args:
        indices: The stage's labelled tiles.
        fractions: Shares of train, val and test.
        stage: The stage.
        tiles: Tiles in the plan.

    Raises:
        AreaError: If there is none.
    """
    if not indices:
        raise AreaError(
            "split",
            fractions,
            f"no labelled tile is left for {stage}: the plan has {tiles} tiles",
            "Take a larger area, or a smaller split_side.",
        )


def split_tiles(
    plan: Plan, fractions: Sequence[float], *, side: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Assign the plan's tiles to train, val and test by squares of tiles.

    Neighbouring tiles look alike; a random split by tile would leak. Squares of *side* x *side*
    tiles go to one split together, in an order that depends on the place alone, so that the same
    ground is in the same order in every run.

    Args:
        plan: The tiles.
        fractions: Shares of the squares for train, val and test.
        side: Side of a square in tiles.

    Returns:
        Ascending plan indices by stage; sizes differ from the shares by less than one square.
    """
    keys = np.stack([plan.zone, plan.col // side, plan.row // side], axis=1)
    squares, owner = np.unique(keys, axis=0, return_inverse=True)
    names = [
        hashlib.sha256(f"{plan.lattices[z].name}/{side}/{c}/{r}".encode()).digest()
        for z, c, r in squares.tolist()
    ]
    order = sorted(range(len(names)), key=names.__getitem__)
    edges = np.rint(np.cumsum((0.0, *fractions)) * len(order)).astype(int)
    chosen = {}
    for k, stage in enumerate(STAGES):
        members = np.array(order[edges[k] : edges[k + 1]], dtype=np.int64)
        chosen[stage] = np.flatnonzero(np.isin(owner.ravel(), members)).astype(np.int64)
    return chosen
