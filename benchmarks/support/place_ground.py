"""Tables of places to measure with, everything that their chips are read from in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.support.ground import BANDS, EPSG, SCENES, TILE, Ground, smooth
from thor_geo.composites import BlockStore
from thor_geo.composites.stored import Pinned
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.blocks import PlaceOrder
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import PlacesSpec
from thor_geo.sources.policy import FetchStats
from thor_geo.specs import SensorSpec, TemporalSpec

#: Survey days of scattered places, and half their windows in days.
_DAYS = np.arange("2022-05-01", "2022-10-01", 7, dtype="datetime64[D]")
_AROUND = 45
# Side of the square in which places are scattered, in sides of the ground: far less than one of
# them falls into a block.
_SCATTER = 12


@dataclass(frozen=True, kw_only=True)
class PlaceGround:
    """Places beside or on a ground.

    Attributes:
        ground: Its cache and archive are used. Of dense places, what they lie on.
        count: Number of places.
        spread: ``scattered``, each with a chip and one of 22 windows of its own, or ``dense``, all
            in the ground's window and on its blocks.
    """

    ground: Ground
    count: int
    spread: Literal["scattered", "dense"]

    @property
    def tiles(self) -> int:
        """Number of chips."""
        return self.count

    @property
    def table(self) -> Path:
        """The table: ``plot``, ``lon``, ``lat``, ``surveyed`` and ``crop``."""
        return self.ground.folder / f"{self.spread}.parquet"

    @cached_property
    def plan(self) -> PlacePlan:
        """The chips, as the command plans them."""
        lattice = Lattice(epsg=EPSG, tile_size=TILE)
        return PlacePlan.from_places(
            self._spec.load(self._window),
            lattice,
            unit=2,
            shard_places=64,
            block_size=self.ground.block_size,
        )

    @property
    def _window(self) -> TemporalSpec:
        return self.ground.store.window

    @property
    def _spec(self) -> PlacesSpec:
        if self.spread == "dense":
            return PlacesSpec(file=self.table, id="plot")
        days = (-_AROUND, _AROUND)
        return PlacesSpec(file=self.table, id="plot", date="surveyed", days=days)

    def settings(self) -> dict[str, object]:
        """Return the command's settings of the data."""
        settings = {key: v for key, v in self.ground.settings().items() if "area" not in key}
        del settings["data.shard_tiles"]
        settings |= {"data.places.file": self.table, "data.places.id": "plot"}
        if self.spread == "scattered":
            settings |= {"data.places.date": "surveyed", "data.start": None, "data.end": None}
        return settings

    def fill(self) -> None:
        """Write the table, and put into the cache what its chips are read from."""
        self._write_table()
        planes: dict[int, np.ndarray] = {}
        stores: dict[TemporalSpec, BlockStore] = {}
        order = PlaceOrder.from_shards(
            self.plan, range(len(self.plan.shards)), self.ground.block_size
        )
        for number, (window, block) in enumerate(order):
            if window not in stores:
                stores[window] = self._store(window)
            if stores[window].get(block) is not None:
                continue  # the ground's own
            if block.size not in planes:
                planes[block.size] = smooth(block.size)
            key = hashlib.sha256(f"{window.start}{block.id}".encode()).hexdigest()
            pinned = stores[window].pin(block, Pinned(scenes=SCENES, block_key=key))
            shifted = np.roll(planes[block.size], (37 * number, 61 * number), axis=(1, 2))
            stores[window].put(block, pinned, shifted, FetchStats())

    def _store(self, window: TemporalSpec) -> BlockStore:
        like = self.ground.store
        store = BlockStore(
            self.ground.folder / "cache",
            sensor=SensorSpec(bands=BANDS),
            window=window,
            catalogue=like.catalogue,
            compression=self.ground.compression,
        )
        store.prepare()
        return store

    def _write_table(self) -> None:
        rng = np.random.default_rng(0)
        left, bottom, right, top = self.ground.bbox
        margin = TILE * 10 / 2
        middle = np.array([left + right, bottom + top]) / 2
        half = np.array([right - left, top - bottom]) / 2 - margin
        if self.spread == "scattered":
            half = half * _SCATTER
        x, y = (middle + rng.uniform(-half, half, (self.count, 2))).T
        lon, lat = transformer(f"EPSG:{EPSG}", LONLAT).transform(x, y)
        crops = pa.array(["maize", "wheat", None])
        columns = {
            "plot": pa.array([f"P{k:05d}" for k in range(self.count)]),
            "lon": lon,
            "lat": lat,
            "surveyed": pa.array(rng.choice(_DAYS, self.count)),
            "crop": crops.take(pa.array(rng.integers(3, size=self.count))),
        }
        pq.write_table(pa.table(columns), self.table)
