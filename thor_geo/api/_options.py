"""The options that both functions take, each explained once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

from thor_geo.api.prep import InputPrep, Mode
from thor_geo.errors import ConfigError
from thor_geo.specs import NodataFill, Normalize, OutputKind, OutputSpec
from thor_geo.specs.sentinel1 import AnySensor
from thor_geo.specs.sources import AnySource
from thor_geo.storage import StoreOptions

Inspect = Literal["report", "error"]
Backend = Literal["auto", "gee", "emulator", "stac"]

# Options that have moved into the specs of sources, which `backend` takes.
_MOVED = {
    "credentials": "EarthEngineSpec(credentials=...)",
    "service_account_file": "EarthEngineSpec(service_account_file=...)",
    "url": "EarthEngineSpec(url=...)",
    "emulator_archive": "EmulatorSpec(archive=...)",
    "stac_url": "StacSpec(url=...)",
    "stac_collection": "StacSpec(url=..., collection=...)",
    "stac_assets": "StacSpec(url=..., assets=...)",
    "stac_offset": "StacSpec(url=..., offset=...)",
    "stac_sign": "StacSpec(url=..., sign=...)",
}

# What the two functions take besides.
_ARGUMENTS = (
    *("model", "spatial", "spatials", "places", "temporal"),
    *("input_chw", "raster", "rasters"),
)


class EmbeddingOptions(TypedDict, total=False):
    """Options of `get_embedding` and `get_embeddings_batch`; all may be left out.

    What is left out or None and has an environment variable is taken from it; the result's `meta`
    says where each such value came from.

    Attributes:
        bands: Names of the planes of `input_chw` or the bands of `raster`: ``B2``, ``BLUE`` or
            ``S2:Blue``. With `sensor`, its bands are picked from among them, in any order; without,
            the model takes all of them. None where planes are the sensor's bands in its order, or
            have names themselves.
        resolution: Pixel size of `input_chw` in metres. None for the sensor's.
        input_scale: For given pixels in other than stored units: value x input_scale is reflectance
            0..1, decibels or kelvin. None for stored units, or what a raster file says.
        output: ``OutputSpec.pooled()`` (default), ``OutputSpec.grid()``, or for points
            ``OutputSpec.centre()``: the vector of the map's cell that holds the point. The words
            ``pooled``, ``grid`` and ``centre`` stand for their defaults.
        sensor: Collection, bands and recipe: a `SensorSpec` (by default the ten Sentinel-2 bands at
            10 and 20 m), a `Sentinel1Spec`, or both in a list.
        backend: Where pixels are fetched from: an `EarthEngineSpec`, `EmulatorSpec` or `StacSpec`.
            ``gee`` (or ``auto``, the default) and ``emulator`` stand for their defaults.
        project: Cloud project registered for Earth Engine; short for
            ``backend=EarthEngineSpec(project=...)``.
        input_prep: How pixels of any extent become inputs; see `InputPrep`. Default ``auto``.
        crop: Cut maps back to the area; cells whose centre lies outside become NaN. For maps only.
            Default False.
        inspect: ``report`` adds what was found in the raw pixels to `meta`, ``error`` also refuses
            bad ones. None (default) does not look.
        pretrained: Use the published weights (default); False gives seeded random ones.
        ckpt: Checkpoint file to load instead of the published weights.
        seed: Seed of random weights. Default 0.
        image_size: Side of tiles, and of resized inputs, in pixels. Default 288.
        patch_size: Side of a patch in pixels of each group's own grid. Default 16.
        normalize: ``thor_stats`` (default), ``dataset``, ``unit_scale``, ``log1p_p99``, ``none`` or
            ``raw``, which is another name for ``none``.
        statistics: File that ``thor-geo stats`` wrote, for ``normalize="dataset"``.
        clamp_z: Clamp z-scores to -5..5, as in pre-training. Default False.
        nodata_fill: What pixels without an observation become: ``value`` (default), the fill value
            as if it were measured, or ``mean``, the mean of the input's observed pixels.
        layers: Block, or blocks, whose tokens are taken, negative ones counted from the end; those
            of several stand side by side. Default -1.
        norm: Apply the final LayerNorm to the tokens. Default False.
        device: ``auto`` (default), ``cpu``, ``cuda`` or ``mps``.
        batch_size: Most inputs in a forward pass. None (default) is 32, and 8 on a CPU, whose
            caches hold no more.
        fetch_workers: Threads that fetch. Default 8.
        cache_dir: Folder where composites are kept, or its address in an object store
            (s3://bucket/cache, gs://, az://). None for $THOR_GEO_CACHE, or ~/.cache/thor-geo.
        cache_store: How the object store of `cache_dir` is reached; see `StoreOptions`.
    """

    bands: Sequence[str] | None
    resolution: int | None
    input_scale: float | None
    output: OutputSpec | OutputKind | None
    sensor: AnySensor | Sequence[AnySensor] | None
    backend: Backend | AnySource
    project: str | None
    input_prep: InputPrep | Mode
    crop: bool
    inspect: Inspect | None
    pretrained: bool | None
    ckpt: str | Path | None
    seed: int
    image_size: int | None
    patch_size: int | None
    normalize: Normalize | Literal["raw"] | None
    statistics: str | Path | None
    clamp_z: bool
    nodata_fill: NodataFill
    layers: int | Sequence[int]
    norm: bool
    device: str
    batch_size: int | None
    fetch_workers: int | None
    cache_dir: str | Path | None
    cache_store: StoreOptions | None


#: The options of a call, by name.
Options: TypeAlias = Mapping[str, Any]


def check_names(options: Options) -> None:
    """Refuse options that do not exist.

    Args:
        options: The options of a call.

    Raises:
        ConfigError: If one does not exist; names the nearest one, or where it has moved.
    """
    known = [*_ARGUMENTS, *EmbeddingOptions.__annotations__]
    for name, value in options.items():
        if name in _MOVED:
            spec = _MOVED[name]
            raise ConfigError(name, value, "moved into a spec", f"Pass backend={spec}.")
        if name not in EmbeddingOptions.__annotations__:
            near = get_close_matches(name, known, 1)
            remedy = f"Did you mean `{near[0]}`?" if near else f"Choose from: {', '.join(known)}."
            raise ConfigError(name, value, "there is no such option", remedy)
