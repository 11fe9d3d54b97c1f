"""Fetching: the scenes of a block, and its pixels, in requests the service can answer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from thor_geo.errors import BlockError, EarthEngineError
from thor_geo.ground.lattice import Block
from thor_geo.sources.asking import TooLargeError
from thor_geo.sources.earthengine._sensors import parse_scenes
from thor_geo.sources.earthengine._split import (
    MAX_BYTES,
    MAX_SIDE,
    MIN_SIDE,
    BlockWindow,
    may_quarter,
    request_bytes,
)
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.recipe import DTYPE
from thor_geo.sources.policy import FetchStats, TruncatedError
from thor_geo.sources.scenes import AnyScene, Scene, Sentinel1Scene, pixel_grid
from thor_geo.sources.service import BlockPixels
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec


@overload
def fetch_scenes(
    client: EarthEngineClient,
    sensor: SensorSpec,
    window: TemporalSpec,
    block: Block,
    stats: FetchStats | None = None,
    *,
    order: int = 0,
) -> tuple[Scene, ...]: ...


@overload
def fetch_scenes(
    client: EarthEngineClient,
    sensor: Sentinel1Spec,
    window: TemporalSpec,
    block: Block,
    stats: FetchStats | None = None,
    *,
    order: int = 0,
) -> tuple[Sentinel1Scene, ...]: ...


def fetch_scenes(
    client: EarthEngineClient,
    sensor: AnySensor,
    window: TemporalSpec,
    block: Block,
    stats: FetchStats | None = None,
    *,
    order: int = 0,
) -> tuple[AnyScene, ...]:
    """List the scenes of a block, in one request.

    Args:
        client: Access to Earth Engine.
        sensor: Collection and filters.
        window: Time window.
        block: The area.
        stats: Counts what it cost.
        order: Who is served first, see `EarthEngineClient.call`.

    Returns:
        The scenes, sorted by index; none is an answer.

    Raises:
        BlockError: If the service failed too often, or cannot list the scenes.
        EarthEngineError: If it refused.
    """
    import ee

    from thor_geo.sources.earthengine._expression import prepared_query

    stats = FetchStats() if stats is None else stats
    subject = f"the scenes of block {block.id}"
    client.connect()
    query = prepared_query(sensor, window, block)
    try:
        answer = client.call(lambda: ee.data.computeValue(query), subject, stats, order=order)
    except TooLargeError as error:
        raise BlockError(
            f"Earth Engine could not list {subject}: {error}. Make the time window shorter."
        ) from error
    return parse_scenes(sensor, answer)


def fetch_block(
    client: EarthEngineClient,
    block: Block,
    image: Any,
    bands: Sequence[str],
    stats: FetchStats | None = None,
    *,
    order: int = 0,
    dtype: str = DTYPE,
) -> BlockPixels:
    """Fetch a block's pixels.

    What exceeds the service's size limit is asked for in quarters from the start; what exceeds its
    memory or time is quartered when it says so, down to `MIN_SIDE` pixels, and the size that
    worked is where the next blocks begin.

    Args:
        client: Access to Earth Engine.
        block: The block.
        image: An `ee.Image`, or its prepared graph.
        bands: Names of all its bands, in order.
        stats: Counts what it cost.
        order: Who is served first, see `EarthEngineClient.call`.
        dtype: Data type of all its bands, uint16 or int16.

    Returns:
        Pixels (bands, size, size), of that data type.

    Raises:
        BlockError: If the service failed too often, or even the smallest piece is too large.
        EarthEngineError: If it refused, or answered with other pixels than were asked for.
    """
    stats = FetchStats() if stats is None else stats
    pixels: BlockPixels = np.empty((len(bands), block.size, block.size), dtype=dtype)
    whole = BlockWindow(row=0, col=0, height=block.size, width=block.size)
    _fetch_window(client, block, image, bands, whole, pixels, stats, order)
    return pixels


def _fetch_window(
    client: EarthEngineClient,
    block: Block,
    image: Any,
    bands: Sequence[str],
    window: BlockWindow,
    pixels: BlockPixels,
    stats: FetchStats,
    order: int,
) -> None:
    limit = request_bytes(window.height, window.width, len(bands), pixels.itemsize)
    # The size limit holds at any side; what the service can compute is only worth halving so far.
    must_split = limit > MAX_BYTES or window.side > MAX_SIDE
    if not must_split and (client.sizes.allows(window) or not may_quarter(window)):
        subject = (
            f"block {block.id}, {window.width} x {window.height} px at {window.col, window.row}"
        )
        body = _request(block, image, bands, window)
        try:
            part = client.call(
                lambda: _compute(body, bands, window, stats, pixels.dtype),
                subject,
                stats,
                order=order,
            )
        except TooLargeError as error:
            client.sizes.refused(window)
            if not may_quarter(window):
                raise BlockError(
                    f"Earth Engine cannot compute even {subject}: {error}. It is not split below "
                    f"{MIN_SIDE} px: make the time window shorter, or `cloudy_pct` smaller."
                ) from error
        else:
            client.sizes.answered()
            pixels[(slice(None), *window.slices)] = part
            return
    stats.splits += 1
    for quarter in window.quarters():
        _fetch_window(client, block, image, bands, quarter, pixels, stats, order)


def _request(block: Block, image: Any, bands: Sequence[str], window: BlockWindow) -> dict[str, Any]:
    grid = pixel_grid(block)
    affine = grid["affineTransform"]
    grid["dimensions"] = {"width": window.width, "height": window.height}
    # Multiples of whole metres: exact in floating point.
    affine["translateX"] += window.col * affine["scaleX"]
    affine["translateY"] += window.row * affine["scaleY"]
    # NPY rather than the client's NUMPY_NDARRAY, which is the same on the wire: the client would
    # decode it inside the request, where a damaged body looks like a bug.
    return {"expression": image, "fileFormat": "NPY", "grid": grid, "bandIds": list(bands)}


def _compute(
    body: dict[str, Any],
    bands: Sequence[str],
    window: BlockWindow,
    stats: FetchStats,
    dtype: np.dtype[Any],
) -> BlockPixels:
    import ee

    raw = ee.data.computePixels(body)
    stats.bytes += len(raw)
    return decode(raw, bands, window.height, window.width, dtype)


def decode(
    raw: bytes, bands: Sequence[str], height: int, width: int, dtype: npt.DTypeLike = DTYPE
) -> BlockPixels:
    """Decode and check one answer.

    Args:
        raw: A structured NPY array (height, width) with one field per band.
        bands: Names of the bands that were asked for.
        height: Rows that were asked for.
        width: Columns that were asked for.
        dtype: Data type of every band that was asked for.

    Returns:
        Pixels (bands, height, width), of that data type.

    Raises:
        TruncatedError: If *raw* is not a complete NPY array.
        EarthEngineError: If bands, shape or dtype are not what was asked for.
    """
    try:
        table = np.load(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise TruncatedError(f"{len(raw)} bytes are not an NPY array ({error})") from error
    names = table.dtype.names or ()
    if names != tuple(bands):
        raise EarthEngineError(
            f"Earth Engine answered with the bands {list(names)} where {list(bands)} were asked "
            "for. The service changed, or another server answers at this endpoint."
        )
    if table.shape != (height, width):
        raise EarthEngineError(
            f"Earth Engine answered with {table.shape} pixels where {(height, width)} were asked "
            "for. The service changed, or another server answers at this endpoint."
        )
    wanted = np.dtype(dtype)
    wrong = {name: str(table.dtype[name]) for name in names if table.dtype[name] != wanted}
    if wrong:
        raise EarthEngineError(
            f"Earth Engine answered with the data types {wrong} where {wanted} was asked for. "
            "The service changed, or another server answers at this endpoint."
        )
    return np.stack([table[name] for name in names])
