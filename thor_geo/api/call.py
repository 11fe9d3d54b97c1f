"""The two functions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Unpack

from thor_geo.api._encode import Encoder
from thor_geo.api._items import given_canvases, items_to_embed, place_canvases
from thor_geo.api._options import EmbeddingOptions, check_names
from thor_geo.api._place import Spatial
from thor_geo.api._request import EmbeddingRequest
from thor_geo.api._source import composite_source, refuse_fetching
from thor_geo.api._work import embeddings
from thor_geo.api.result import Embedding
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import AnyArray
from thor_geo.transforms import observation_planes


def get_embedding(
    model: str | None = None,
    *,
    spatial: Spatial | None = None,
    temporal: TemporalSpec | None = None,
    input_chw: AnyArray | None = None,
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
            Sentinel-3 reflectance or kelvin. NaN, infinite and out-of-range values are replaced
            and clamped as in a run.
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
    return get_embeddings_batch(
        model,
        spatials=None if spatial is None else [spatial],
        temporal=temporal,
        input_chw=None if input_chw is None else [input_chw],
        **options,
    )[0]


def get_embeddings_batch(
    model: str | None = None,
    *,
    spatials: Sequence[Spatial] | None = None,
    temporal: TemporalSpec | None = None,
    input_chw: Sequence[AnyArray] | None = None,
    **options: Unpack[EmbeddingOptions],
) -> list[Embedding]:
    """Return the embeddings of several places or images: one model, full batches.

    Everything that is missing is fetched first, side by side. What was fetched stays in the cache
    if one place fails, so that the same call goes on from there.

    Args:
        model: As in `get_embedding`.
        spatials: The places.
        temporal: Time window of all.
        input_chw: Pixels instead of fetched ones, one array for each.
        **options: Sensor, source, model and output; see `EmbeddingOptions`.

    Returns:
        One embedding for each place or image, in their order.

    Raises:
        ConfigError: As `get_embedding`, like all other errors.
    """
    check_names(options)
    request = EmbeddingRequest.from_options(model, options)
    if input_chw is not None:
        refuse_fetching(options)
    items = items_to_embed(request, spatials, temporal, input_chw)
    # Settings and weights are refused before anything is fetched.
    source = None
    if input_chw is None:
        source = composite_source(options, request.sensors, request.fetch_workers)
    encoder = Encoder(request=request)
    for item in items:
        encoder.task(item.cut.image_size, item.cut.ground_cover)
    if source is None:
        sensors = max(observation_planes(request.selection)) + 1
        canvases = given_canvases(items, request.fill_values, sensors)
        return embeddings(items, canvases, encoder, window=temporal)
    assert temporal is not None  # items_to_embed refuses places without a window
    canvases = place_canvases(items, source, window=temporal, threads=request.fetch_workers)
    with closing(canvases):  # ends an emulator that was started for it, whatever happens
        return embeddings(items, canvases, encoder, window=temporal, source=source)
