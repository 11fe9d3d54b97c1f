"""The layout of a grid store: arrays, dimensions, chunks, codecs, files and attributes.

Rules that GDAL and others rely on: each map, that is `embeddings` and `scale`, carries its own grid
mapping and ``proj:``/``spatial:`` attributes, and nothing else carries any; every array that is no
map has at most one dimension. The groups of zones carry no georeference for arrays to inherit.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from thor_geo.ground.plan import Shard
from thor_geo.runs.conventions import EmbeddingFacts
from thor_geo.runs.georeference import MAP_ATTRIBUTES, array_attributes
from thor_geo.runs.quantise import DESCRIPTION, NODATA
from thor_geo.runs.shard import Dtype
from thor_geo.runs.times import END, TIME
from thor_geo.runs.zone_grid import ZoneGrid, chunk_side

# With bits shuffled, embeddings shrink as much at the lowest level as with bytes shuffled at a high
# one, or more, in a fraction of the time.
_ZSTD_LEVEL = 1

ARRAY = "embeddings"
SCALE = "scale"


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
    """Return the names of a map's dimensions.

    Args:
        name: `ARRAY` or `SCALE`.
        times: Number of time windows; None without a time axis.
    """
    first = () if times is None else (TIME,)
    return first + (("band", "y", "x") if name == ARRAY else ("y", "x"))


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
        # One chunk for each shard: it is as large as a chunk of embeddings, or smaller.
        return {
            "shape": (*length, *zone.shape),
            "chunks": (*unit, zone.shard_side, zone.shard_side),
            "shards": None,
            "dtype": "float32",
            "fill_value": np.nan,
            "compressors": compressors("float32"),
        }
    chunk = chunk_side(zone.shard_side)
    return {
        "shape": (*length, bands, *zone.shape),
        "chunks": (*unit, bands, chunk, chunk),
        "shards": (*unit, bands, zone.shard_side, zone.shard_side),
        "dtype": dtype,
        "fill_value": fill_value(dtype),
        "compressors": compressors(dtype),
    }


def compressors(dtype: str) -> tuple[Any, ...]:
    """Return the codecs of chunks: compression, and a checksum around it.

    Blosc trusts what it unpacks: damaged bytes give wrong numbers, or end the process. With the
    checksum, every reader gets an error instead.

    Args:
        dtype: NumPy name of the type of the values.
    """
    from zarr.codecs import BloscCodec, Crc32cCodec

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


def map_attributes(zone: ZoneGrid, name: str, dtype: Dtype, times: int | None) -> dict[str, Any]:
    """Return the attributes of a map.

    Args:
        zone: The zone.
        name: `ARRAY` or `SCALE`.
        dtype: Type of the embeddings.
        times: Number of time windows; None without a time axis.
    """
    attributes: dict[str, Any] = {
        **MAP_ATTRIBUTES,
        **array_attributes(zone.epsg, zone.bounds, zone.cell, zone.shape),
    }
    if times is not None:
        attributes["coordinates"] += f" {END}"
    if name == SCALE:
        return {"long_name": "what the embeddings of a cell are multiplied by", **attributes}
    attributes["long_name"] = "THOR embedding"
    if dtype == "int8":
        attributes |= {
            # CF's _FillValue makes xarray read float32 with NaN instead of int8 with -128.
            "_FillValue": NODATA,
            "comment": f"int8 codes: {DESCRIPTION['formula']}",
            # Where the scale is, for programs (CF conventions 1.11, section 3.4).
            "ancillary_variables": SCALE,
        }
    return attributes


def embedding_facts(
    metadata: str, zone: ZoneGrid, bands: int, dtype: Dtype, resolution: float
) -> EmbeddingFacts:
    """Return what the root of the store says about the embeddings.

    Args:
        metadata: `RunDirectory.metadata`.
        zone: Any zone of the store.
        bands: D', the length of an embedding.
        dtype: Type of the embeddings.
        resolution: Side of a pixel of the model's input, metres.

    Raises:
        ValueError: If *metadata* is not JSON.
    """
    side = max(1, round(zone.cell / resolution))
    return EmbeddingFacts.from_metadata(
        metadata, dimensions=bands, dtype=dtype, gsd=resolution, side=side, stride=side
    )
