"""The two functions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Unpack

from thor_geo.api._canvas import place_canvases
from thor_geo.api._encode import Encoder
from thor_geo.api._given import given_canvases, image_items, raster_items
from thor_geo.api._items import EmbeddingItem, place_items
from thor_geo.api._options import EmbeddingOptions, check_names
from thor_geo.api._place import Spatial, check_kinds
from thor_geo.api._raster import RasterInput, open_rasters
from thor_geo.api._request import EmbeddingRequest
from thor_geo.api._source import composite_source, refuse_fetching
from thor_geo.api._table import PlaceInput, TableItems
from thor_geo.api._wording import python_words
from thor_geo.api._work import embeddings
from thor_geo.api.result import Embedding
from thor_geo.errors import ConfigError
from thor_geo.specs import TemporalSpec
from thor_geo.specs.environment import VARIABLES
from thor_geo.support.arrays import AnyArray

_log = logging.getLogger(__name__)


def get_embedding(
    model: str | None = None,
    *,
    spatial: Spatial | None = None,
    temporal: TemporalSpec | None = None,
    input_chw: AnyArray | None = None,
    raster: str | Path | None = None,
    **options: Unpack[EmbeddingOptions],
) -> Embedding:
    """Return the embedding of one place, or of pixels that the caller has.

    Args:
        model: ``thor_v1_base`` or ``thor_1_0_base``, and likewise ``tiny``, ``small``, ``large``.
            None for the environment's, or ``thor_v1_base``.
        spatial: Where: a point with a buffer, a box, an area, or a polygon in longitude and
            latitude. With *input_chw*: where the pixels lie.
        temporal: Time window of the composite; needed where pixels are fetched, else recorded.
        input_chw: Pixels instead of fetched ones, (C, H, W), one plane for each band, in stored
            units: Sentinel-2 reflectance times 10,000, Sentinel-1 hundredths of a decibel,
            Sentinel-3 reflectance or kelvin; others with *input_scale*. NaN, infinite and
            out-of-range values are replaced and clamped as in a run. An xarray.DataArray (band, y,
            x) may name its bands in the coordinate ``band``.
        raster: A GeoTIFF in a UTM zone instead, which also says where it lies, its pixel size, and
            by its bands' descriptions which band is which.
        **options: Sensor, source, model and output; see `EmbeddingOptions`.

    Returns:
        The embedding: data and metadata. Where no scene shows anything it is NaN.

    Raises:
        ConfigError: If an option is unknown or out of range, before anything is fetched.
        AreaError: If the place is invalid.
        InputError: If given pixels are of the wrong kind, or fail the inspection.
        BandError: If a band is unknown or repeated.
        LayoutError: If patches do not divide the input.
        CheckpointError: If weights are missing or do not match.
        EarthEngineError: If Earth Engine refuses or fails (and its kinds: AuthenticationError,
            ProjectError, BlockError).
        StacError: If a STAC catalogue refuses, or its items are not what is needed.
    """
    if "places" in options:
        raise ConfigError(
            "places",
            "...",
            "a table has several places, and this returns one embedding",
            "Use get_embeddings_batch, or give a place as spatial.",
        )
    return get_embeddings_batch(
        model,
        spatials=None if spatial is None else [spatial],
        temporal=temporal,
        input_chw=None if input_chw is None else [input_chw],
        rasters=None if raster is None else [raster],
        **options,
    )[0]


def get_embeddings_batch(
    model: str | None = None,
    *,
    spatials: Sequence[Spatial] | None = None,
    places: PlaceInput | None = None,
    temporal: TemporalSpec | None = None,
    input_chw: Sequence[AnyArray] | None = None,
    rasters: Sequence[str | Path] | None = None,
    **options: Unpack[EmbeddingOptions],
) -> list[Embedding]:
    """Return the embeddings of several places or images: one model, full batches.

    Everything that is missing is fetched first, side by side. What was fetched stays in the cache
    if one place fails, so that the same call goes on from there.

    Args:
        model: As in `get_embedding`.
        spatials: The places.
        places: A table of places instead, each with its own chip of `image_size` pixels as in a run
            of places: a file, a DataFrame with columns ``lon`` and ``lat``, a GeoDataFrame, or a
            `PlacesSpec`. A dict has one of the first three as ``file``, and settings of
            `PlacesSpec`: ``{"file": frame, "date": "surveyed", "days": (-30, 30)}``.
        temporal: Time window of all; None where rows of *places* have their own.
        input_chw: Pixels instead of fetched ones, one array for each.
        rasters: GeoTIFFs instead, all with pixels of the same size.
        **options: Sensor, source, model and output; see `EmbeddingOptions`.

    Returns:
        One embedding for each place, row or image, in their order. Of a row of *places*, `meta` has
        ``place`` (the number of the row), ``id``, ``columns`` (those that are kept), ``offset_m``,
        and ``error``: why a row was skipped, whose data is NaN.

    Raises:
        ConfigError: As `get_embedding`, like all other errors.
    """
    check_names(options)
    with python_words({"model": model, **options}):
        opened, options = _opened(rasters, spatials, input_chw, options)
        request = EmbeddingRequest.from_options(model, options)
        check_kinds(spatials, temporal, input_chw)
        table = None
        if places is not None:
            _refuse_beside_table(spatials, input_chw, rasters)
            table = TableItems.read(places, temporal, request)
            items = table.items
        elif opened is not None:
            items = raster_items(request, opened, temporal)
        elif input_chw is not None:
            items = image_items(request, input_chw, spatials, temporal)
        else:
            items = place_items(request, spatials, temporal)
        if table is None:
            _warn_unused_size(request, items)
        if request.output.kind == "centre":
            for item in items:
                _ = item.point  # refuses places that are no points
        # Settings and weights are refused before anything is fetched.
        source = None
        if items[0].image is None:
            source = composite_source(options, request.sensors, request.fetch_workers)
        encoder = Encoder(request=request)
        for item in items:
            encoder.task(item.cut.image_size, item.cut.ground_cover)
        if source is None:
            return embeddings(items, given_canvases(items, request), encoder)
        canvases = place_canvases(items, source, threads=request.fetch_workers)
        with closing(canvases):  # ends an emulator that was started for it, whatever happens
            if table is None:
                return embeddings(items, canvases, encoder, source=source)
            found = []
            for shard in table.shards:
                pixels = islice(canvases, len(shard))
                found += embeddings(shard, pixels, encoder, source=source)
            return table.in_order(found, encoder)


def _refuse_beside_table(
    spatials: object | None, images: object | None, rasters: object | None
) -> None:
    given = {"spatials": spatials, "input_chw": images, "rasters": rasters}
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                name,
                "..." if name == "input_chw" else value,
                "there is a table of places as well",
                "Give one of them.",
            )


def _opened(
    rasters: Sequence[str | Path] | None,
    spatials: Sequence[Spatial] | None,
    images: Sequence[AnyArray] | None,
    options: EmbeddingOptions,
) -> tuple[list[RasterInput] | None, EmbeddingOptions]:
    """Return the headers of raster files, and the options with their pixel size.

    Raises:
        ConfigError: If there is something else to embed, too, or options that have no effect.
    """
    if images is not None or rasters is not None:
        refuse_fetching(options, "input_chw" if rasters is None else "raster")
    if rasters is None:
        return None, options
    if isinstance(rasters, str | Path):
        raise ConfigError(
            "rasters",
            str(rasters),
            "one file, not a list of them",
            "Give [path], or get_embedding.",
        )
    others = {
        "spatial": spatials,
        "input_chw": None if images is None else "pixels",
        "resolution": options.get("resolution"),
    }
    for name, value in others.items():
        if value is not None:
            raise ConfigError(
                name, value, "raster says it itself", "Leave it out, or leave raster out."
            )
    if not rasters:
        raise ConfigError("rasters", [], "nothing to embed", "Give at least one file.")
    opened = open_rasters(rasters)
    return opened, {**options, "resolution": round(opened[0].file.resolution)}


def _warn_unused_size(request: EmbeddingRequest, items: Sequence[EmbeddingItem]) -> None:
    """Say that an image size that was asked for has no effect.

    Raises:
        ConfigError: If the settings alone leave it without effect, and it is an argument.
    """
    origin = request.origins["image_size"]
    if origin == "default" or any(item.cut.mode != "native" for item in items):
        return
    if request.prep.mode == "native" and origin == "argument":
        raise ConfigError(
            "image_size",
            request.image_size,
            "input_prep=native keeps the pixels as they are",
            "Leave it out, or use input_prep='resize' or 'tile'.",
        )
    name = VARIABLES["image_size"].name if origin == "environment" else "image_size"
    sides = ", ".join(map(str, sorted({item.cut.image_size for item in items})))
    _log.warning(
        "%s=%d has no effect here: inputs of %s px fit as they are. input_prep='resize' or 'tile' "
        "uses it.",
        name,
        request.image_size,
        sides,
    )
