"""The two functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from thor_geo.api._encode import Encoder
from thor_geo.api._items import given_canvases, items_of, place_canvases
from thor_geo.api._place import Spatial
from thor_geo.api._request import EmbeddingRequest, Inspect, OutputKind
from thor_geo.api._source import Backend, Provider
from thor_geo.api._work import embeddings
from thor_geo.api.prep import InputPrep, Mode
from thor_geo.api.result import Embedding
from thor_geo.sources.earthengine.spec import CredentialsKind
from thor_geo.sources.stac import Sign
from thor_geo.specs import NodataFill, Normalize, OutputSpec, SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor
from thor_geo.support.arrays import AnyArray
from thor_geo.transforms import observation_planes


def get_embedding(
    model: str | None = None,
    *,
    spatial: Spatial | None = None,
    temporal: TemporalSpec | None = None,
    input_chw: AnyArray | None = None,
    bands: Sequence[str] | None = None,
    resolution: int | None = None,
    output: OutputSpec | OutputKind | None = None,
    sensor: AnySensor | Sequence[AnySensor] | None = None,
    backend: Backend = "auto",
    input_prep: InputPrep | Mode = "auto",
    crop: bool = False,
    inspect: Inspect | None = None,
    pretrained: bool | None = None,
    ckpt: str | Path | None = None,
    seed: int = 0,
    image_size: int | None = None,
    patch_size: int | None = None,
    normalize: Normalize | Literal["raw"] | None = None,
    statistics: str | Path | None = None,
    clamp_z: bool = False,
    nodata_fill: NodataFill = "value",
    layers: int | Sequence[int] = -1,
    norm: bool = False,
    device: str = "auto",
    batch_size: int = 32,
    fetch_workers: int | None = None,
    project: str | None = None,
    credentials: CredentialsKind = "auto",
    service_account_file: str | Path | None = None,
    url: str | None = None,
    emulator_archive: str | Path | None = None,
    stac_url: str | Path | None = None,
    stac_collection: str | None = None,
    stac_assets: Mapping[str, str] | None = None,
    stac_offset: int | None = None,
    stac_sign: Sign = "none",
    cache_dir: str | Path | None = None,
) -> Embedding:
    """Return the embedding of one place, or of pixels that the caller has.

    What is None and has an environment variable is taken from it, and else has the default that
    docs/python.md names; the result's `meta` says which.

    Args:
        model: ``thor_v1_base`` or ``thor_1_0_base``, and likewise ``tiny``, ``small``, ``large``.
        spatial: Where: a point with a buffer, a box, an area, or a polygon in longitude and
            latitude. With *input_chw*: where the pixels lie.
        temporal: Time window of the composite; needed where pixels are fetched, else recorded.
        input_chw: Pixels instead of fetched ones, (C, H, W), one plane for each band, in stored
            units: Sentinel-2 reflectance times 10,000, Sentinel-1 hundredths of a decibel,
            Sentinel-3 reflectance or kelvin. NaN, infinite and out-of-range values are replaced
            and clamped as in a run.
        bands: THOR channels or TerraTorch names of the planes of *input_chw*; None for the
            sensor's bands.
        resolution: Pixel size of *input_chw* in metres; None for the sensor's.
        output: ``OutputSpec.pooled()`` (default) or ``OutputSpec.grid()``; for their defaults the
            words ``pooled`` and ``grid`` will do.
        sensor: Collection, bands and recipe: a `SensorSpec` (by default the ten Sentinel-2 bands at
            10 and 20 m), a `Sentinel1Spec`, or both in a list.
        backend: ``gee``, ``emulator``, ``stac``, or ``auto``: the emulator where
            *emulator_archive* is given, STAC where *stac_url* is, else Earth Engine.
        input_prep: How pixels of any extent become inputs; see `InputPrep`.
        crop: Cut maps back to the area; cells whose centre lies outside become NaN. For maps only.
        inspect: ``report`` adds what was found in the raw pixels to `meta`, ``error`` also refuses
            bad ones.
        pretrained: Use the published weights; false gives seeded random ones.
        ckpt: Checkpoint file to load instead.
        seed: Seed of random weights.
        image_size: Side of tiles, and of resized inputs, pixels.
        patch_size: Side of a patch in pixels of each group's own grid.
        normalize: ``thor_stats``, ``dataset``, ``unit_scale``, ``log1p_p99``, ``none`` or ``raw``.
        statistics: File that ``thor-geo stats`` wrote, for ``dataset``.
        clamp_z: Clamp z-scores to -5..5, as in pre-training.
        nodata_fill: What pixels without observation become: ``value``, the fill as if it were
            measured, or ``mean``, the mean of the input's observed pixels.
        layers: Block, or blocks, whose tokens are taken, negative ones from the end; those of
            several stand side by side.
        norm: Apply the final LayerNorm to the tokens.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        batch_size: Most inputs in a forward pass.
        fetch_workers: Threads that fetch.
        project: Cloud project registered for Earth Engine.
        credentials: Kind of login.
        service_account_file: Path of a service account's JSON key.
        url: Another endpoint than Earth Engine's high-volume one.
        emulator_archive: Folder of scenes for the emulator; None generates one.
        stac_url: Root of a STAC API, or address or path of a static catalogue.
        stac_collection: Its collection; None for all items of a static catalogue.
        stac_assets: Where bands are, if metadata does not tell: ``{"B4": "red", "B8": "KEY#2"}``.
        stac_offset: DN to add to all reflectances; None for what each item says.
        stac_sign: ``none``, or ``planetary_computer`` to have its files' addresses signed.
        cache_dir: Where composites are kept; None for $THOR_GEO_CACHE or ~/.cache/thor-geo.

    Returns:
        The embedding: data and metadata. Where no scene shows anything it is NaN.

    Raises:
        ConfigError: If a setting is unknown or out of range, before anything is fetched.
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
        bands=bands,
        resolution=resolution,
        output=output,
        sensor=sensor,
        backend=backend,
        input_prep=input_prep,
        crop=crop,
        inspect=inspect,
        pretrained=pretrained,
        ckpt=ckpt,
        seed=seed,
        image_size=image_size,
        patch_size=patch_size,
        normalize=normalize,
        statistics=statistics,
        clamp_z=clamp_z,
        nodata_fill=nodata_fill,
        layers=layers,
        norm=norm,
        device=device,
        batch_size=batch_size,
        fetch_workers=fetch_workers,
        project=project,
        credentials=credentials,
        service_account_file=service_account_file,
        url=url,
        emulator_archive=emulator_archive,
        stac_url=stac_url,
        stac_collection=stac_collection,
        stac_assets=stac_assets,
        stac_offset=stac_offset,
        stac_sign=stac_sign,
        cache_dir=cache_dir,
    )[0]


def get_embeddings_batch(
    model: str | None = None,
    *,
    spatials: Sequence[Spatial] | None = None,
    temporal: TemporalSpec | None = None,
    input_chw: Sequence[AnyArray] | None = None,
    bands: Sequence[str] | None = None,
    resolution: int | None = None,
    output: OutputSpec | OutputKind | None = None,
    sensor: AnySensor | Sequence[AnySensor] | None = None,
    backend: Backend = "auto",
    input_prep: InputPrep | Mode = "auto",
    crop: bool = False,
    inspect: Inspect | None = None,
    pretrained: bool | None = None,
    ckpt: str | Path | None = None,
    seed: int = 0,
    image_size: int | None = None,
    patch_size: int | None = None,
    normalize: Normalize | Literal["raw"] | None = None,
    statistics: str | Path | None = None,
    clamp_z: bool = False,
    nodata_fill: NodataFill = "value",
    layers: int | Sequence[int] = -1,
    norm: bool = False,
    device: str = "auto",
    batch_size: int = 32,
    fetch_workers: int | None = None,
    project: str | None = None,
    credentials: CredentialsKind = "auto",
    service_account_file: str | Path | None = None,
    url: str | None = None,
    emulator_archive: str | Path | None = None,
    stac_url: str | Path | None = None,
    stac_collection: str | None = None,
    stac_assets: Mapping[str, str] | None = None,
    stac_offset: int | None = None,
    stac_sign: Sign = "none",
    cache_dir: str | Path | None = None,
) -> list[Embedding]:
    """Return the embeddings of several places or images: one model, full batches.

    Everything that is missing is fetched first, side by side. What was fetched stays in the cache
    if one place fails, so that the same call goes on from there.

    Args:
        model: As in `get_embedding`, like all that is not named here.
        spatials: The places.
        temporal: Time window of all.
        input_chw: Pixels instead of fetched ones, one array for each.
        bands: Bands of given pixels.
        resolution: Pixel size of given pixels.
        output: Vectors or maps.
        sensor: Collection, bands and recipe.
        backend: Where composites come from.
        input_prep: How pixels become inputs.
        crop: Cut maps back to the areas.
        inspect: Look at the raw pixels.
        pretrained: Use the published weights.
        ckpt: Checkpoint file to load instead.
        seed: Seed of random weights.
        image_size: Side of tiles and of resized inputs.
        patch_size: Side of a patch.
        normalize: Normalisation.
        statistics: Measured statistics.
        clamp_z: Clamp z-scores.
        nodata_fill: What pixels without observation become.
        layers: Blocks whose tokens are taken.
        norm: Apply the final LayerNorm.
        device: The device.
        batch_size: Most inputs in a forward pass.
        fetch_workers: Threads that fetch.
        project: Cloud project.
        credentials: Kind of login.
        service_account_file: Service account's JSON key.
        url: Another endpoint.
        emulator_archive: Folder of scenes for the emulator.
        stac_url: STAC API or static catalogue.
        stac_collection: Its collection.
        stac_assets: Where bands are.
        stac_offset: DN to add to all reflectances.
        stac_sign: Who signs the files' addresses.
        cache_dir: Where composites are kept.

    Returns:
        One embedding for each place or image, in their order.

    Raises:
        ConfigError: As `get_embedding`, like all other errors.
    """
    request = EmbeddingRequest.of(
        model,
        sensor=SensorSpec() if sensor is None else sensor,
        bands=bands,
        resolution=resolution,
        output="pooled" if output is None else output,
        input_prep=input_prep,
        crop=crop,
        inspect=inspect,
        device=device,
        batch_size=batch_size,
        seed=seed,
        statistics=statistics,
        clamp_z=clamp_z,
        nodata_fill=nodata_fill,
        layers=layers,
        norm=norm,
        settable={
            "ckpt": ckpt,
            "pretrained": pretrained,
            "image_size": image_size,
            "normalize": normalize,
            "patch_size": patch_size,
            "fetch_workers": fetch_workers,
        },
    )
    provider = Provider(
        backend=backend,
        project=project,
        credentials=credentials,
        service_account_file=service_account_file,
        url=url,
        emulator_archive=emulator_archive,
        stac_url=stac_url,
        stac_collection=stac_collection,
        stac_assets=stac_assets,
        stac_offset=stac_offset,
        stac_sign=stac_sign,
        cache_dir=cache_dir,
        fetch_workers=fetch_workers,
        given=input_chw is not None,
    )
    items = items_of(request, spatials, temporal, input_chw)
    # Settings and weights are refused before anything is fetched.
    source = (
        None if input_chw is not None else provider.spec(request.sensors, request.fetch_workers)
    )
    encoder = Encoder(request=request)
    for item in items:
        encoder.task(item.cut.image_size, item.cut.ground_cover)
    if source is None:
        sensors = max(observation_planes(request.selection)) + 1
        given = given_canvases(items, request.fill_values, sensors)
        return embeddings(items, given, encoder, window=temporal)
    assert temporal is not None  # items_of refuses places without a window
    canvases = place_canvases(
        items,
        source,
        sensors=request.sensors,
        window=temporal,
        threads=request.fetch_workers,
    )
    with closing(canvases):  # ends an emulator that was started for it, whatever happens
        return embeddings(items, canvases, encoder, window=temporal, source=source)
