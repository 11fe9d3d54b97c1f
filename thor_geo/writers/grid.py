"""Embedding maps: a Zarr v3 store with one group per UTM zone.

Each zone holds ``embeddings (band, y, x)``, north-up. One work shard is one Zarr shard, hence one
file, so that writers never share any. Chunks within it are a divisor of its side.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.plan import Plan, Shard
from thor_geo.writers._files import beside, sync, write_bytes
from thor_geo.writers.georeference import array_attributes, coordinate_attributes, grid_mapping
from thor_geo.writers.layout import chunk_side, zone_grids
from thor_geo.writers.shard import Dtype

# At level 3 with byte shuffle, embeddings shrink most for the time it takes.
_ZSTD_LEVEL = 3

ARRAY = "embeddings"


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
        self._encoders: dict[int, tuple[Any, dict[str, Any]]] = {}

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
        array, files = self._encoder(shard.epsg)
        array[:, row * side : (row + 1) * side, col * side : (col + 1) * side] = values
        path = self.file_of(shard)
        write_bytes(path, files.pop(f"c/0/{row}/{col}").to_bytes())
        return path

    def file_of(self, shard: Shard) -> Path:
        """Return the path of a shard's file."""
        row, col = self.zones[shard.epsg].place(shard)
        return self.path / self.zones[shard.epsg].name / ARRAY / "c" / "0" / str(row) / str(col)

    def _encoder(self, epsg: int) -> tuple[Any, dict[str, Any]]:
        """Return the zone's array in memory, and the files that writing to it makes.

        Written to the store itself, zarr would first read the shard's old file, even to replace
        it whole, and fail where a crash has torn that.
        """
        import zarr
        from zarr.core.buffer import default_buffer_prototype
        from zarr.storage import MemoryStore

        if epsg not in self._encoders:
            about = (self.path / self.zones[epsg].name / ARRAY / "zarr.json").read_bytes()
            files: dict[str, Any] = {
                "zarr.json": default_buffer_prototype().buffer.from_bytes(about)
            }
            # A shard full of NaN is a file too: its absence means "not done".
            with zarr.config.set({"array.write_empty_chunks": True}):
                array = zarr.open_array(MemoryStore(files), mode="r+")
            self._encoders[epsg] = array, files
        return self._encoders[epsg]

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
        _consolidate(path)
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


def _consolidate(path: Path) -> None:
    """Repeat the metadata of all arrays at the store's root, where xarray looks for it first."""
    import zarr

    with warnings.catch_warnings():
        # zarr warns that this is no part of the Zarr v3 specification; readers that do not know
        # it ignore it, and without it xarray warns every user at `open_zarr`.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(str(path))
