from __future__ import annotations

import numpy as np
import pytest

from thor_geo.datamodules.splits import STAGES, check_fractions, split_tiles
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan


def test_splits_partition_the_tiles_by_squares_near_the_shares() -> None:
    plan = Plan.from_area(AreaSpec(bbox=(10.2, 59.7, 11.0, 60.1)).load(), Lattice(epsg=32601))
    chosen = split_tiles(plan, (0.6, 0.2, 0.2), side=2)
    everything = np.concatenate([chosen[stage] for stage in STAGES])
    assert sorted(everything.tolist()) == list(range(len(plan)))
    squares = {
        stage: {(plan.col[k] // 2, plan.row[k] // 2) for k in chosen[stage]} for stage in STAGES
    }
    assert not squares["train"] & squares["val"]
    assert not squares["train"] & squares["test"]
    total = sum(map(len, squares.values()))
    assert abs(len(squares["train"]) / total - 0.6) < 1 / total + 1e-9


@pytest.mark.parametrize("bad", [(0.5, 0.5), (0.5, 0.6, 0.2), (1.2, -0.1, -0.1)])
def test_shares_must_add_up(bad: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="split"):
        check_fractions(bad)
