"""Embedding maps: a Zarr v3 store with one group per UTM zone.

Each zone holds ``embeddings (band, y, x)``, north-up. One work shard is one Zarr shard, hence one
file, so that writers never share any. Chunks within it are a divisor of its side.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.grid import Bounds, zone_name
from thor_geo.plan import Plan, Shard
from thor_geo.writers._files import beside, sync
from thor_geo.writers.georeference import array_attributes, coordinate_attributes, grid_mapping
from thor_geo.writers.shard import Dtype

#: Largest side of a chunk in cells, where the shard's side has a fitting divisor. With 64 a point
#: costs a tenth of what it costs with 256, for 9 % more bytes.
CHUNK_CELLS = 64
# Below this side a chunk is mostly overhead.
_CHUNK_FLOOR = 16
# At level 3 with byte shuffle, embeddings shrink most for the time it takes.
_ZSTD_LEVEL = 3

ARRAY = "embeddings"


def chunk_side(shard_side: int) -> int:
    """Return the side of a chunk in cells.

    The largest divisor of the shard's side within 16 to 64 (48 for 8 tiles of 18 cells); where
    there is none, the smallest divisor from 64 on.

    Args:
        shard_side: Side of a shard in cells.
    """
    divisors = [d for d in range(1, shard_side + 1) if shard_side % d == 0]
    fitting = [d for d in divisors if _CHUNK_FLOOR <= d <= CHUNK_CELLS]
    return fitting[-1] if fitting else next((d for d in divisors if d >= CHUNK_CELLS), shard_side)


@dataclass(frozen=True, kw_only=True)
class ZoneGrid:
    """Geometry of one zone's array: the rectangle of all its shards.

    Attributes:
        epsg: EPSG code.
        bounds: Left, bottom, right, top in metres.
        rows: Shards from north to south.
        cols: Shards from west to east.
        shard_side: Cells of a shard's side.
        left: Column of the westernmost shard, in shards from the lattice's anchor.
        top: Row of the northernmost shard, likewise.
    """

    epsg: int
    bounds: Bounds
    rows: int
    cols: int
    shard_side: int
    left: int
    top: int

    @property
    def name(self) -> str:
        """Name of the group, e.g. ``utm32n``."""
        return zone_name(self.epsg)

    @property
    def cell(self) -> float:
        """Side of a cell in metres."""
        return (self.bounds[2] - self.bounds[0]) / (self.cols * self.shard_side)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.rows * self.shard_side, self.cols * self.shard_side

    @property
    def x(self) -> npt.NDArray[np.float64]:
        """Eastings of the cell centres, metres, ascending."""
        return np.float64(self.bounds[0]) + (np.arange(self.shape[1]) + 0.5) * self.cell

    @property
    def y(self) -> npt.NDArray[np.float64]:
        """Northings of the cell centres, metres, descending."""
        return np.float64(self.bounds[3]) - (np.arange(self.shape[0]) + 0.5) * self.cell

    def place(self, shard: Shard) -> tuple[int, int]:
        """Return row and column of a shard, in shards from the upper left."""
        side = shard.square.size
        return self.top - shard.square.top // side, shard.square.left // side - self.left


def zone_grids(plan: Plan, tile_cells: tuple[int, int]) -> dict[int, ZoneGrid]:
    """Lay out the arrays of a plan, by EPSG code.

    Args:
        plan: The plan.
        tile_cells: Rows and columns of cells in a tile.

    Raises:
        ConfigError: If tiles overlap, or cells are not square.
    """
    lattice = plan.lattices[0]
    if lattice.step != lattice.tile_size:
        raise ConfigError(
            "output.grid",
            True,
            f"tiles overlap (stride={lattice.step}, tile_size={lattice.tile_size}), and a map has "
            "one value per cell",
            f"Use stride={lattice.tile_size}, or output.grid=false for pooled vectors only.",
        )
    if tile_cells[0] != tile_cells[1]:
        raise ConfigError(
            "output.grid", tile_cells, "the map's cells are not square", "Use output.grid=false."
        )
    grids = {}
    for epsg in sorted({shard.epsg for shard in plan.shards}):
        squares = [shard.square for shard in plan.shards if shard.epsg == epsg]
        side = squares[0].size
        bounds = np.array([square.bounds for square in squares])
        left, top = min(s.left for s in squares), max(s.top for s in squares)
        grids[epsg] = ZoneGrid(
            epsg=epsg,
            bounds=(
                float(bounds[:, 0].min()),
                float(bounds[:, 1].min()),
                float(bounds[:, 2].max()),
                float(bounds[:, 3].max()),
            ),
            rows=(top - min(s.top for s in squares)) // side + 1,
            cols=(max(s.left for s in squares) - left) // side + 1,
            shard_side=lattice.shard_tiles * tile_cells[0],
            left=left // side,
            top=top // side,
        )
    return grids


class GridStore:
    """The store of a run: created once, then one file per shard.

    Attributes:
        path: ``grid.zarr``.
        zones: Geometry by EPSG code.
    """

    def __init__(
        self, path: Path, plan: Plan, shape: tuple[int, int, int], dtype: Dtype = "float32"
    ) -> None:
        """Initialize a new GridStore instance; nothing is read or written yet.

        Args:
            path: Directory of the store.
            plan: The plan.
            shape: (D', h, w), one tile's map.
            dtype: Of the values.

        Raises:
            ConfigError: If the plan's tiles overlap, or cells are not square.
        """
        self.path = path
        self.zones = zone_grids(plan, (shape[1], shape[2]))
        self._bands = shape[0]
        self._dtype = dtype
        self._arrays: dict[int, Any] = {}

    def create(self, metadata: str) -> None:
        """Create groups, coordinates and attributes, or check that they are there.

        The whole store is made aside and renamed: of several processes one succeeds.

        Args:
            metadata: JSON text for the attribute ``thor_geo``.

        Raises:
            RunDirectoryError: If a store of another layout is there.
        """
        if not self.path.exists():
            temporary = beside(self.path)
            try:
                self._build(temporary, metadata)
                temporary.rename(self.path)
                sync(self.path.parent)
            except OSError:
                # A directory that is not empty cannot be replaced: another process was first.
                if not self.path.exists():
                    raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        self._compare()

    def write(self, shard: Shard, values: npt.NDArray[Any]) -> Path:
        """Write a shard's map; equal values give equal bytes, and no other file is touched.

        Args:
            shard: The shard.
            values: (D', k h, k w), row 0 = north, NaN where there is none.

        Returns:
            The shard's file.
        """
        zone = self.zones[shard.epsg]
        row, col = zone.place(shard)
        side = zone.shard_side
        array = self._array(shard.epsg)
        array[:, row * side : (row + 1) * side, col * side : (col + 1) * side] = values
        path = self.file_of(shard)
        sync(path)
        sync(path.parent)
        return path

    def file_of(self, shard: Shard) -> Path:
        """Return the path of a shard's file."""
        row, col = self.zones[shard.epsg].place(shard)
        return self.path / self.zones[shard.epsg].name / ARRAY / "c" / "0" / str(row) / str(col)

    def _array(self, epsg: int) -> Any:
        import zarr

        if epsg not in self._arrays:
            # A shard full of NaN is a file too: its absence means "not done".
            with zarr.config.set({"array.write_empty_chunks": True}):
                name = f"{self.zones[epsg].name}/{ARRAY}"
                self._arrays[epsg] = zarr.open_array(str(self.path), path=name, mode="r+")
        return self._arrays[epsg]

    def _build(self, path: Path, metadata: str) -> None:
        import zarr
        from zarr.codecs import BloscCodec

        root = zarr.create_group(str(path), attributes={"thor_geo": metadata})
        codec = BloscCodec(
            cname="zstd",
            clevel=_ZSTD_LEVEL,
            shuffle="shuffle",
            typesize=np.dtype(self._dtype).itemsize,
        )
        for zone in self.zones.values():
            geometry = array_attributes(zone.epsg, zone.bounds, zone.cell, zone.shape)
            group = root.create_group(
                zone.name,
                attributes={"Conventions": "CF-1.11", "thor_geo": metadata, **geometry},
            )
            chunk = chunk_side(zone.shard_side)
            group.create_array(
                ARRAY,
                shape=(self._bands, *zone.shape),
                dtype=self._dtype,
                chunks=(self._bands, chunk, chunk),
                shards=(self._bands, zone.shard_side, zone.shard_side),
                compressors=codec,
                fill_value=np.nan,
                dimension_names=("band", "y", "x"),
                attributes={
                    "long_name": "THOR embedding",
                    "grid_mapping": "spatial_ref",
                    # So that xarray makes it a coordinate, which travels with the array.
                    "coordinates": "spatial_ref",
                    **geometry,
                },
            )
            coordinates = {"band": np.arange(self._bands), "y": zone.y, "x": zone.x}
            for name, values in coordinates.items():
                group.create_array(
                    name,
                    data=values,
                    chunks=values.shape,
                    dimension_names=(name,),
                    attributes=coordinate_attributes(name),
                )
            group.create_array(
                "spatial_ref",
                data=np.array(0, dtype=np.int64),
                attributes=grid_mapping(zone.epsg, zone.bounds, zone.cell),
            )
        for file in sorted(path.rglob("*")):
            sync(file)

    def _compare(self) -> None:
        import zarr

        for zone in self.zones.values():
            chunk = chunk_side(zone.shard_side)
            expected = {
                "shape": (self._bands, *zone.shape),
                "shards": (self._bands, zone.shard_side, zone.shard_side),
                "chunks": (self._bands, chunk, chunk),
                "dtype": np.dtype(self._dtype),
                "bounds": list(zone.bounds),
            }
            try:
                array = zarr.open_array(str(self.path), path=f"{zone.name}/{ARRAY}", mode="r")
            except (OSError, ValueError, KeyError) as error:
                raise RunDirectoryError(
                    f"`{self.path}` cannot be opened as this run's grid store ({error}). Choose "
                    "another output.dir, or remove the store to write it anew."
                ) from error
            found = {
                "shape": array.shape,
                "shards": array.shards,
                "chunks": array.chunks,
                "dtype": array.dtype,
                "bounds": array.attrs.get("spatial:bbox"),
            }
            for key, value in expected.items():
                if found[key] != value:
                    raise RunDirectoryError(
                        f"`{self.path}/{zone.name}`: {key} is {found[key]} there and {value} in "
                        "this run. Choose another output.dir."
                    )
