"""Files of a shard's maps, written as a run writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from thor_geo.ground.plan import Shard
from thor_geo.runs.grid import GridStore
from thor_geo.runs.place_store import PlaceStore
from thor_geo.storage.files import write_all


def write_maps(
    store: GridStore | PlaceStore, shard: Shard, values: npt.NDArray[Any], time: int | None = None
) -> list[Path]:
    """Write a shard's maps into a store in a folder; return their files."""
    assert isinstance(store.path, Path)
    contents = store.encode(shard, values, time)
    write_all(store.path, contents)
    return [store.path / name for name in contents]
