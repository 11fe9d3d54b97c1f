"""From a `SensorSpec` to what is asked of a catalogue, and to the key of the result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any

from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import Block
from thor_geo.sources.scenes import OBSERVATIONS, pixel_grid
from thor_geo.sources.stac.reduce import REDUCTIONS
from thor_geo.sources.stac.spec import CatalogueSpec
from thor_geo.specs import SensorSpec
from thor_geo.specs.sentinel1 import AnySensor, storage_of
from thor_geo.specs.sources import StacSpec
from thor_geo.support.jsontext import canonical_sha256

#: Goes into every key: raise it whenever the same settings give other pixels or other scenes.
STAC_RECIPE_VERSION = 3

#: Composites that are made, and masks that are applied.
COMPOSITES = (*REDUCTIONS, "mosaic")
MASKS = ("none", "scl")

# What `composite` honours; `collection` names Earth Engine's, and selects nothing here.
_KNOWN = frozenset(
    {
        "collection",
        "bands",
        "scale_m",
        "cloudy_pct",
        "composite",
        "mask",
        "scl_classes",
        "percentile",
        "scenes",
        "fill_value",
    }
)


def check_supported(sensor: AnySensor) -> SensorSpec:
    """Return a sensor; refuse what a STAC catalogue's scenes are not reduced by.

    Args:
        sensor: Bands and recipe.

    Raises:
        ConfigError: If a band, composite, mask or other setting is not supported.
    """
    if not isinstance(sensor, SensorSpec):
        raise ConfigError(
            "sentinel1",
            sensor.collection,
            "a STAC catalogue is read for Sentinel-2 only",
            "Leave it out, or take Earth Engine.",
        )
    for name, value, allowed in (
        ("composite", sensor.composite, COMPOSITES),
        ("mask", sensor.mask, MASKS),
    ):
        if value not in allowed:
            raise ConfigError(
                name,
                value,
                "not supported with a STAC catalogue",
                f"Choose from: {', '.join(allowed)}; or use Earth Engine.",
            )
    for field in fields(sensor):
        value = getattr(sensor, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if field.name not in _KNOWN and value != default:
            raise ConfigError(
                field.name,
                value,
                "not supported with a STAC catalogue",
                "Leave it out, or use Earth Engine.",
            )
    return sensor


def needed_bands(recipe: SensorSpec) -> tuple[str, ...]:
    """Return the bands that every item must have: the sensor's, and what its mask reads.

    Args:
        recipe: Bands and recipe.
    """
    return (*(("SCL",) if recipe.mask == "scl" else ()), *recipe.bands)


def catalogue_spec(
    source: StacSpec, sensors: Iterable[AnySensor], *, pool_size: int = 40
) -> CatalogueSpec:
    """Return how to read a catalogue for a sensor's composites; nothing is contacted.

    Args:
        source: The catalogue, as the user describes it.
        sensors: Bands and recipe; Sentinel-2 alone.
        pool_size: Connections to keep open.

    Raises:
        ConfigError: If a catalogue's scenes cannot be reduced to such composites.
    """
    checked, *_ = [check_supported(sensor) for sensor in sensors]  # a second one is refused
    both = sorted(set(checked.scenes or ()).intersection(source.exclude))
    if both:
        raise ConfigError(
            "stac.exclude",
            list(source.exclude),
            f"data.sentinel2.scenes names {', '.join(both)}, too",
            "Take them out of one of the two.",
        )
    return CatalogueSpec(
        url=source.url,
        collection=source.collection,
        assets=source.assets,
        offset=source.offset,
        sign=source.sign,
        pool_size=pool_size,
        exclude=source.exclude,
        bands=needed_bands(checked),
    )


def block_key(sensor: AnySensor, block: Block, ids: Sequence[str], catalogue: str) -> str:
    """Return the sha256 that names a block's pixels, as 64 hexadecimal digits.

    It covers the scenes, what is computed of them, grid, bands, data type, recipe version and
    catalogue, which covers the user's settings for its items. Addresses of files do not enter: they
    may be signed.

    Args:
        sensor: Bands and recipe.
        block: The block.
        ids: Ids of the pinned scenes, in the order in which they are composed.
        catalogue: Where the scenes are from, see `opening.catalogue_name`.
    """
    checked = check_supported(sensor)
    recipe: dict[str, Any] = {"composite": checked.composite, "mask": checked.mask}
    return canonical_sha256(
        {
            "recipe": f"stac-{STAC_RECIPE_VERSION}",
            "catalogue": catalogue,
            "scenes": list(ids),
            "reduction": {**recipe, **checked.options()},
            "grid": pixel_grid(block),
            "bands": [*sensor.bands, OBSERVATIONS],
            "dtype": storage_of(checked).disk,
            "fill": sensor.fill_value,
        }
    )
