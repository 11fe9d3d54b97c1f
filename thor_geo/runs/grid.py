"""Embedding maps: a Zarr v3 store with one group per UTM zone.

Each zone holds ``embeddings (band, y, x)``, north-up. One work shard is one Zarr shard and one
file, so writers never share a file. The side of its chunks divides its side.

int8 embeddings have ``scale (y_tile, x_tile)`` beside them, one value for each tile, also with one
file for each work shard: a value is embedding * scale. Where a tile failed, is empty or is not
planned, embeddings are -128 and the scale is NaN. Cells outside a cropped area are -128 as well.

A run with a list of time windows has ``embeddings (time, band, y, x)`` and ``scale (time, y_tile,
x_tile)``, with a file for each work shard and window.
"""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.crop import AreaCrop
from thor_geo.runs.georeference import array_attributes, coordinate_attributes, grid_mapping
from thor_geo.runs.quantise import DESCRIPTION, NODATA, quantise
from thor_geo.runs.shard import Dtype
from thor_geo.runs.times import TIME, time_attributes, time_coordinates
from thor_geo.runs.zarr_metadata import array_differences, consolidate
from thor_geo.runs.zone_grid import ZoneGrid, centre_trim, chunk_side, zone_grids
from thor_geo.specs import Windows
from thor_geo.support.files import sync, temporary_path, write_bytes

# With bits shuffled, embeddings shrink as much at the lowest level as with bytes shuffled at a high
# one, or more, in a fraction of the time.
_ZSTD_LEVEL = 1

ARRAY = "embeddings"
SCALE = "scale"


class GridStore:
    """The store of a run: created once, then filled with one file per shard and window (int8: two).

    Attributes:
        path: ``grid.zarr``.
        zones: Geometry by EPSG code.
    """

    def __init__(
        self,
        path: Path,
        plan: Plan,
        shape: tuple[int, int, int],
        dtype: Dtype = "float32",
        crop: AreaCrop | None = None,
        windows: Windows | None = None,
    ) -> None:
        """Initialize a new GridStore instance; nothing is read or written yet.

        Args:
            path: Directory of the store.
            plan: The plan.
            shape: (D', h, w), one tile's map, before it is trimmed to the tile's centre.
            dtype: Type of the values.
            crop: Which cells are written; None for the whole centre of every tile.
            windows: The time windows; None for a store without a time axis.

        Raises:
            ConfigError: If the halo of overlapping tiles is not a whole number of cells, or cells
                are not square.
        """
        self.path = path
        self.zones = zone_grids(plan, centre_trim(plan.lattices[0], shape[1:]).side)
        self._bands = shape[0]
        self._dtype = dtype
        self._crop = crop
        self._coordinates = {} if windows is None else time_coordinates(windows)
        self._times = len(self._coordinates[TIME][1]) if self._coordinates else None
        self._encoders: dict[tuple[int, str], tuple[Any, dict[str, Any]]] = {}

    def create(self, metadata: str) -> None:
        """Create groups, coordinates and attributes, or check existing ones.

        The whole store is built under another name and renamed, so one of several processes wins.

        Args:
            metadata: JSON text for the attribute ``thor_geo``.

        Raises:
            RunDirectoryError: If a store of another layout exists.
        """
        if not self.path.exists():
            temporary = temporary_path(self.path)
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

    def write(
        self, shard: Shard, values: npt.NDArray[Any], time: int | None = None
    ) -> tuple[Path, ...]:
        """Write a shard's map; equal values give equal bytes, and no other file is touched.

        Args:
            shard: The shard.
            values: (D', k s, k s) for s cells a tile, row 0 = north, all NaN in tiles without an
                embedding. Cells outside the crop are set to NaN in place.
            time: Index of the time window; None in a store without a time axis.

        Returns:
            The shard's files: its embeddings, and for int8 their scales.

        Raises:
            OSError: If the store's metadata cannot be read, or a file cannot be written.
        """
        if self._crop is not None:
            values[:, ~self._crop.inside(self.zones[shard.epsg], shard)] = np.nan
        if self._dtype != "int8":
            return (self._put(shard, ARRAY, values, time),)
        k, side = self.zones[shard.epsg].shard_tiles, values.shape[1:]
        by_tile = values.reshape(-1, k, side[0] // k, k, side[1] // k)
        codes, scale = quantise(by_tile, axes=(0, 2, 4))
        return (
            self._put(shard, ARRAY, codes.reshape(values.shape), time),
            self._put(shard, SCALE, scale, time),
        )

    def embeddings_path(self, shard: Shard, time: int | None = None) -> Path:
        """Return the path of the file with a shard's embeddings (in a time window, if any)."""
        return self.path / array_file(self.zones[shard.epsg], shard, ARRAY, time)

    def _put(self, shard: Shard, name: str, values: npt.NDArray[Any], time: int | None) -> Path:
        """Write a shard's part of an array into its file."""
        zone = self.zones[shard.epsg]
        array, files = self._encoder(shard.epsg, name)
        height, width = values.shape[-2:]
        row, col = zone.shard_position(shard)
        first = () if time is None else (time,)
        where = slice(row * height, (row + 1) * height), slice(col * width, (col + 1) * width)
        array[*first, ..., *where] = values
        path = array_file(zone, shard, name, time)
        key = path.relative_to(PurePosixPath(zone.name, name)).as_posix()
        write_bytes(self.path / path, files.pop(key).to_bytes())
        return self.path / path

    def _encoder(self, epsg: int, name: str) -> tuple[Any, dict[str, Any]]:
        """Return an array of the zone in memory, and the files that writing to it makes.

        If zarr wrote to the store itself, it would first read the shard's old file, even to replace
        it whole, and fail if a crash had damaged that.
        """
        import zarr
        from zarr.core.buffer import default_buffer_prototype
        from zarr.storage import MemoryStore

        if (epsg, name) not in self._encoders:
            about = (self.path / self.zones[epsg].name / name / "zarr.json").read_bytes()
            files: dict[str, Any] = {
                "zarr.json": default_buffer_prototype().buffer.from_bytes(about)
            }
            # A shard full of NaN is a file too: its absence means "not done".
            with zarr.config.set({"array.write_empty_chunks": True}):
                array = zarr.open_array(MemoryStore(files), mode="r+")
            self._encoders[epsg, name] = array, files
        return self._encoders[epsg, name]

    def _build(self, path: Path, metadata: str) -> None:
        import zarr

        root = zarr.create_group(str(path), attributes={"thor_geo": metadata})
        for zone in self.zones.values():
            geometry = array_attributes(zone.epsg, zone.bounds, zone.cell, zone.shape)
            group = root.create_group(
                zone.name,
                attributes={"Conventions": "CF-1.11", "thor_geo": metadata, **geometry},
            )
            group.create_array(
                ARRAY,
                **array_layout(zone, ARRAY, self._bands, self._dtype, self._times),
                dimension_names=dimension_names(ARRAY, self._times),
                attributes={
                    "long_name": "THOR embedding",
                    "grid_mapping": "spatial_ref",
                    # So that xarray makes it a coordinate, which travels with the array.
                    "coordinates": "spatial_ref",
                    **quantised_attributes(self._dtype),
                    **geometry,
                },
            )
            coordinates = {"band": np.arange(self._bands), "y": zone.y, "x": zone.x}
            if self._dtype == "int8":
                self._build_scale(group, zone)
                coordinates |= {"y_tile": zone.y_tile, "x_tile": zone.x_tile}
            for name, values in coordinates.items():
                group.create_array(
                    name,
                    data=values,
                    chunks=values.shape,
                    dimension_names=(name,),
                    attributes=coordinate_attributes(name),
                )
            for name, (names, ends) in self._coordinates.items():
                group.create_array(
                    name,
                    data=ends,
                    chunks=ends.shape,
                    dimension_names=names,
                    attributes=time_attributes(name),
                )
            group.create_array(
                "spatial_ref",
                data=np.array(0, dtype=np.int64),
                attributes=grid_mapping(zone.epsg, zone.bounds, zone.cell),
            )
        consolidate(path)
        for file in sorted(path.rglob("*")):
            sync(file)

    def _build_scale(self, group: Any, zone: ZoneGrid) -> None:
        group.create_array(
            SCALE,
            **array_layout(zone, SCALE, self._bands, self._dtype, self._times),
            dimension_names=dimension_names(SCALE, self._times),
            attributes={"long_name": "what embeddings are multiplied by"},
        )

    def _compare(self) -> None:
        import zarr

        remedy = "Choose another output.dir, or remove the store so that it is written again."
        for zone, name in product(self.zones.values(), array_names(self._dtype)):
            path = f"{zone.name}/{name}"
            wanted = array_layout(zone, name, self._bands, self._dtype, self._times)
            try:
                array = zarr.open_array(str(self.path), path=path, mode="r")
                differences = array_differences(array, wanted)
                bounds = dict(array.attrs).get("spatial:bbox")
            except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
                raise RunDirectoryError(
                    f"`{self.path}`: {path} cannot be opened as this run's grid store ({error}). "
                    f"{remedy}"
                ) from error
            if name == ARRAY and bounds != list(zone.bounds):
                differences.append(("bounds", str(bounds), str(list(zone.bounds))))
            for key, actual, expected in differences:
                raise RunDirectoryError(
                    f"`{self.path}/{path}`: {key} is {actual} there and {expected} in this run. "
                    f"{remedy}"
                )


def array_file(zone: ZoneGrid, shard: Shard, name: str, time: int | None = None) -> PurePosixPath:
    """Return the path of the file with a shard's embeddings or scales, within the store.

    Args:
        zone: The shard's zone.
        shard: The shard.
        name: `ARRAY` or `SCALE`.
        time: Index of the time window; None in a store without a time axis.
    """
    row, col = map(str, zone.shard_position(shard))
    first = () if time is None else (str(time),)
    band = ("0",) if name == ARRAY else ()
    return PurePosixPath(zone.name, name, "c", *first, *band, row, col)


def array_names(dtype: Dtype) -> tuple[str, ...]:
    """Return the arrays that have a file for each shard: embeddings, and for int8 scales.

    Args:
        dtype: Type of the embeddings.
    """
    return (ARRAY, SCALE) if dtype == "int8" else (ARRAY,)


def dimension_names(name: str, times: int | None = None) -> tuple[str, ...]:
    """Return the names of an array's dimensions.

    Args:
        name: `ARRAY` or `SCALE`.
        times: Number of time windows; None without a time axis.
    """
    first = () if times is None else (TIME,)
    return first + (("band", "y", "x") if name == ARRAY else ("y_tile", "x_tile"))


def array_layout(
    zone: ZoneGrid, name: str, bands: int, dtype: Dtype, times: int | None = None
) -> dict[str, Any]:
    """Return the arguments of zarr that decide how an array's files are written and read.

    Args:
        zone: The zone.
        name: `ARRAY` or `SCALE`.
        bands: D', the length of an embedding.
        dtype: Type of the embeddings.
        times: Number of time windows, each in files of its own; None without a time axis.
    """
    length, unit = ((), ()) if times is None else ((times,), (1,))
    if name == SCALE:
        k = zone.shard_tiles
        return {
            "shape": (*length, *zone.tiles),
            "chunks": (*unit, k, k),
            "shards": None,
            "dtype": "float32",
            "fill_value": np.nan,
            "compressors": compressors(dtype, name),
        }
    chunk = chunk_side(zone.shard_side)
    return {
        "shape": (*length, bands, *zone.shape),
        "chunks": (*unit, bands, chunk, chunk),
        "shards": (*unit, bands, zone.shard_side, zone.shard_side),
        "dtype": dtype,
        "fill_value": fill_value(dtype),
        "compressors": compressors(dtype, name),
    }


def compressors(dtype: Dtype, name: str = ARRAY) -> tuple[Any, ...]:
    """Return the codecs of an array's chunks: compression, and a checksum around it.

    Blosc trusts what it unpacks: damaged bytes give wrong numbers, or end the process. With the
    checksum, every reader gets an error instead. Scales, some hundred bytes, are not compressed.

    Args:
        dtype: Type of the embeddings.
        name: `ARRAY` or `SCALE`.
    """
    from zarr.codecs import BloscCodec, Crc32cCodec

    if name == SCALE:
        return (Crc32cCodec(),)
    blosc = BloscCodec(
        cname="zstd", clevel=_ZSTD_LEVEL, shuffle="bitshuffle", typesize=np.dtype(dtype).itemsize
    )
    return blosc, Crc32cCodec()


def fill_value(dtype: Dtype) -> float:
    """Return the value of cells without an embedding.

    Args:
        dtype: Type of the embeddings.
    """
    return NODATA if dtype == "int8" else np.nan


def quantised_attributes(dtype: Dtype) -> dict[str, Any]:
    """Return the attributes that mark int8 embeddings; none for other types.

    Args:
        dtype: Type of the embeddings.
    """
    if dtype != "int8":
        return {}
    # CF's _FillValue makes xarray read float32 with NaN instead of int8 with -128.
    return {"_FillValue": NODATA, "comment": f"int8 codes: {DESCRIPTION['formula']}"}
