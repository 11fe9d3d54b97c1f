"""Datamodules of small tiles over two zones, for tests outside the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thor_geo.datamodules import CompositeDataModule
from thor_geo.ground.area import AreaSpec
from thor_geo.specs import SensorSpec
from thor_geo.specs.sources import EmulatorSpec


def small_data(archive: Path, folder: Path, **kwargs: Any) -> CompositeDataModule:
    """Return a datamodule over an emulated archive, with its cache in a folder.

    A dict as `sentinel2` changes these settings of it.
    """
    settings: dict[str, Any] = {
        "area": AreaSpec(bbox=(11.98, 59.985, 12.02, 60.005)),
        "start": "2022-06-01",
        "end": "2022-09-01",
        "emulator": EmulatorSpec(archive=archive),
        "tile_size": 96,
        "shard_tiles": 2,
        "block_size": 192,
        "batch_size": 4,
        "num_workers": 0,
        "cache_dir": folder / "cache",
    }
    sentinel2 = kwargs.pop("sentinel2", {})
    if sentinel2 is not None:
        sentinel2 = SensorSpec(**{"cloudy_pct": 60, **sentinel2})
    return CompositeDataModule(**{**settings, "sentinel2": sentinel2, **kwargs})
