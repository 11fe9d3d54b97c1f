"""Embeddings of a generated landscape, made once by the command; `storage` measures their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import zarr

from benchmarks.support.commands import box, emulator, quickstart, thor_geo
from thor_geo.emulator import Acquisition, generate_archive
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.grid_layout import ARRAY
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.runs.shard import Dtype, Shapes, ShardResult

Floats = npt.NDArray[np.float32]

EPSG, TILE, RESOLUTION = 32632, 288, 10
#: Side of the tiles of which there are many, pixels: 4 x 4 cells.
SMALL = 64
# Upper left corner of the square, metres: on the lattices of both tile sizes and of their shards.
_LEFT, _TOP = 576_000, 6_658_560
_ACQUISITIONS = (
    Acquisition(date="2022-06-05", cloud_cover=0.12),
    Acquisition(date="2022-07-20", cloud_cover=0.05),
    Acquisition(date="2022-08-24", cloud_cover=0.18),
)


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A finished float32 run, in memory.

    Attributes:
        opened: The run.
        vectors: (tiles, D), in the plan's order.
        maps: (D, h, w) of its only zone, or None.
    """

    opened: OpenedRun
    vectors: Floats
    maps: Floats | None

    @property
    def plan(self) -> Plan:
        """The run's plan."""
        return self.opened.plan

    def result(self, shard: Shard, dtype: Dtype) -> ShardResult:
        """Return a shard as the writers get it; its map is the run's, if it has only one shard."""
        width = self.vectors.shape[1]
        cells = 0 if self.maps is None else self.maps.shape[1] // self.plan.lattices[0].shard_tiles
        shape = None if self.maps is None else (width, cells, cells)
        shapes = Shapes(pooled=(width,), grid=shape, dtype=dtype)
        result = ShardResult(self.plan, shard, shapes)
        result.pooled = self.vectors[shard.start : shard.stop].astype(shapes.collected)
        if self.maps is not None:
            result.grid = self.maps.astype(shapes.collected)
        result.valid_fraction[:], result.observations_mean[:] = 1, 2.5
        result.status = ["ok"] * len(shard)
        result.scenes = [("20220605T000000_R000_T32VNM",)] * len(shard)
        return result


def make_archive(folder: Path, across: int) -> Path:
    """Write a generated archive that holds a square of so many tiles of 288 px a side."""
    side = across * TILE * RESOLUTION
    to_degrees = transformer(f"EPSG:{EPSG}", LONLAT)
    lon, lat = to_degrees.transform(_LEFT + side / 2, _TOP - side / 2)
    return generate_archive(
        folder,
        center=(float(lon), float(lat)),
        size_m=-(-(side + 480) // 120) * 120,
        zones=(EPSG,),
        acquisitions=_ACQUISITIONS,
    )


def embed(
    folder: Path, archive: Path, across: int, *, model: str, tile: int, shard_tiles: int, batch: int
) -> Embedded:
    """Embed the square of `make_archive` with the command, as float32, with random weights.

    Blocks that were fetched before are not fetched again.
    """
    out = folder / f"run-{tile}-{batch}"
    side = across * TILE * RESOLUTION
    inside = 5  # metres: the tiles around the square must only touch it
    bounds = [_LEFT + inside, _TOP - side + inside, _LEFT + side - inside, _TOP - inside]
    thor_geo(
        *quickstart(
            {
                **emulator(archive),
                **box(bounds, EPSG),
                "data.cache_dir": folder / "cache",
                "data.tile_size": tile,
                "data.shard_tiles": shard_tiles,
                "data.batch_size": batch,
                "model.model_key": model,
                "output.dir": out,
                "output.dtype": "float32",
                "output.grid": str(tile == TILE).lower(),
                "output.quicklook": "false",
            }
        )
    )
    opened = read_run(out)
    tables = [
        pq.read_table(opened.run.pooled_path(shard), columns=["embedding"])
        for shard in opened.plan.shards
    ]
    vectors = np.concatenate(
        [
            table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
            for table in tables
        ]
    )
    maps = None
    if tile == TILE:
        assert len(opened.plan.shards) == 1, "the square is one shard"
        maps = np.asarray(zarr.open_array(opened.run.grid, path=f"utm32n/{ARRAY}", mode="r")[...])
    return Embedded(opened=opened, vectors=vectors, maps=maps)
