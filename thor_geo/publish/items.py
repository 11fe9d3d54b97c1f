"""The items of a run: one for each UTM zone and time window, one for a table of places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.lattice import zone_name
from thor_geo.publish.facts import RunFacts
from thor_geo.publish.footprint import box_of, geojson, outline, surrounding_box
from thor_geo.publish.lineage import lineage, packages, runtime_parameters
from thor_geo.publish.stac import (
    COLLECTION,
    FILE,
    GEOJSON,
    JSON_TYPE,
    MODEL,
    PARQUET,
    PROCESSING,
    PROJECTION,
    RASTER,
    VERSION,
    ZARR,
    ZARR_STORE,
    common_assets,
    file_fields,
    link,
    period,
    source_links,
    time_text,
)
from thor_geo.runs.fingerprint import JSON
from thor_geo.runs.grid_layout import ARRAY
from thor_geo.runs.pooled import window_name
from thor_geo.specs import TemporalSpec
from thor_geo.support.jsontext import parse_json

_UP = "../"


@dataclass(frozen=True, kw_only=True)
class ItemPart:
    """The part of a run that an item describes.

    Attributes:
        id: Id of the item, and the stem of its file.
        geometry: Its ground in longitude and latitude, cut at the antimeridian.
        span: Its time window.
        epsg: EPSG code of its zone; None for a table of places.
        time: Its place on the time axis; None where there is no such axis.
        vectors: Paths of its files of vectors, relative to the run.
        tiles: Tiles, or places, with an embedding.
    """

    id: str
    geometry: BaseGeometry
    span: TemporalSpec
    epsg: int | None
    time: int | None
    vectors: tuple[str, ...]
    tiles: int


def item_parts(facts: RunFacts) -> Iterator[ItemPart]:
    """Yield what is to have an item; zones and windows without an embedding have none.

    Args:
        facts: The run.
    """
    opened = facts.opened
    plan = opened.plan
    if opened.places:
        rows = facts.embedded[:, 0]
        yield ItemPart(
            id="places",
            geometry=surrounding_box(plan.footprints()[rows]),
            span=opened.span,
            epsg=None,
            time=None,
            vectors=facts.vectors,
            tiles=int(rows.sum()),
        )
        return
    shard_zone = plan.shards.zone
    for k, lattice in enumerate(plan.lattices):
        in_zone = plan.zone == k
        zone = zone_name(lattice.epsg)
        vectors = tuple(
            name for name, at in zip(facts.vectors, shard_zone.tolist(), strict=False) if at == k
        )
        for index, span in enumerate(opened.windows):
            chosen = in_zone & facts.embedded[:, index]
            if not chosen.any():
                continue
            yield ItemPart(
                id=f"{zone}_{window_name(span)}" if opened.windows.listed else zone,
                geometry=outline(lattice, plan.col[chosen], plan.row[chosen]),
                span=span,
                epsg=lattice.epsg,
                time=index if opened.windows.listed else None,
                vectors=vectors,
                tiles=int(np.count_nonzero(chosen)),
            )


def item(facts: RunFacts, part: ItemPart, collection: str, *, model: bool) -> dict[str, JSON]:
    """Return an item.

    Args:
        facts: The run.
        part: What it describes.
        collection: Id of its collection.
        model: Whether the model has an item of its own.

    Raises:
        RunDirectoryError: If the metadata of its map cannot be read.
    """
    start, end = period(part.span.start, part.span.end)
    extensions = [PROJECTION, PROCESSING]
    properties: dict[str, JSON] = {
        "title": f"{part.id}: {part.tiles:,} {'places' if facts.opened.places else 'tiles'}",
        "datetime": None,
        "start_datetime": start,
        "end_datetime": end,
        "gsd": facts.about["gsd"],
        "processing:level": "L4",
        "processing:lineage": lineage(facts),
        "processing:datetime": time_text(facts.finished),
        "processing:software": packages(facts),
        "emb:runtime_parameters": runtime_parameters(facts),
    }
    quantisation = facts.about.get("quantization")
    if quantisation is not None:
        # The extension has room for one scale, and none for the array of scales of ours.
        names = ("method", "original_dtype", "quantized_dtype")
        properties["emb:quantization"] = {name: quantisation[name] for name in names}
    assets: dict[str, JSON] = {}
    if part.epsg is None:
        properties["proj:code"] = None  # places of several zones, each in its own
        if facts.opened.grid:
            assets["maps"] = _place_maps(facts)
    else:
        properties["proj:code"] = f"EPSG:{part.epsg}"
    if part.epsg is not None and facts.maps:
        placed, assets[ARRAY] = _zone_map(facts, part.epsg, part.time)
        properties |= placed
        extensions += [RASTER, ZARR_STORE]
    elif part.vectors:
        assets[ARRAY] = {
            "href": f"{_UP}pooled",
            "type": PARQUET,
            "title": "Vectors",
            "description": "A GeoParquet dataset: its files are the assets below.",
            "roles": ["data"],
        }
    else:
        assets[ARRAY] = assets.pop("maps")
    for name in part.vectors:
        assets[_stem(name)] = _vector_file(facts, name)
    if part.vectors:
        extensions.append(FILE)
    links = [
        *(link(rel, f"{_UP}{COLLECTION}", JSON_TYPE) for rel in ("root", "parent", "collection")),
        *source_links(facts, "derived_from"),
    ]
    if model:
        named = link("derived_from", f"{_UP}{MODEL}", GEOJSON, "the model")
        assert isinstance(named, dict)
        links.append({**named, "mlm:name": facts.model["model_key"]})
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": sorted(extensions),
        "id": part.id,
        "collection": collection,
        "geometry": geojson(part.geometry),
        "bbox": box_of(part.geometry),
        "properties": properties,
        "links": links,
        "assets": {**assets, **common_assets(facts, _UP)},
    }


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".parquet")


def _vector_file(facts: RunFacts, name: str) -> JSON:
    rows = "places" if facts.opened.places else "tiles"
    windows = ", in all time windows" if facts.opened.windows.listed else ""
    return {
        "href": f"{_UP}{name}",
        "type": PARQUET,
        "title": f"Vectors of shard {_stem(name)}",
        "description": f"GeoParquet: a row for each of its {rows}{windows}, with `embedding`.",
        "roles": ["data"],
        **file_fields(facts, name),
    }


def _place_maps(facts: RunFacts) -> JSON:
    return {
        "href": f"{_UP}{facts.opened.run.place_store.name}",
        "type": ZARR,
        "title": "Maps of the places",
        "description": "Zarr: `embeddings (place, band, y, x)`, in the order of plan.parquet.",
        "roles": ["data"],
    }


def _zone_map(facts: RunFacts, epsg: int, time: int | None) -> tuple[dict[str, JSON], JSON]:
    """Return where a zone's map lies, by the names of the projection extension, and its asset."""
    run, zone = facts.opened.run, zone_name(epsg)
    try:
        group = parse_json((run.grid / zone / "zarr.json").read_bytes())
        array = parse_json((run.grid / zone / ARRAY / "zarr.json").read_bytes())
        attributes, shape = array["attributes"], array["shape"]
        placed: dict[str, JSON] = {
            f"proj:{name}": attributes[f"spatial:{name}"] for name in ("bbox", "shape", "transform")
        }
        bands, cell = int(shape[-3]), float(attributes["spatial:transform"][0])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RunDirectoryError(
            f"`{run.grid / zone}`: its metadata cannot be read ({type(error).__name__}: {error}). "
            f"`thor-geo validate {run.path}` says what is damaged."
        ) from error
    step = "" if time is None else f" Its window is number {time} on the axis `time`."
    int8 = facts.about["data_type"] == "int8"
    scaled = " A value is its code times `scale` of its cell." if int8 else ""
    asset: dict[str, Any] = {
        "href": f"{_UP}{run.grid.name}/{zone}",
        "type": ZARR,
        "title": "Map of embeddings",
        "description": f"A Zarr group with `{ARRAY} ({', '.join(array['dimension_names'])})`."
        f"{step}{scaled}",
        "roles": ["data"],
        "zarr:zarr_format": 3,
        "zarr:node_type": "group",
        "zarr:consolidated": "consolidated_metadata" in group,
        "data_type": facts.about["data_type"],
        "nodata": _nodata(array["fill_value"]),
        "raster:sampling": "area",
        "raster:spatial_resolution": cell,
        "bands": [{"name": str(band)} for band in range(bands)],
    }
    return placed, asset


def _nodata(fill_value: float | str) -> float | str:
    """Return a fill value of Zarr as STAC writes it."""
    return fill_value.lower() if isinstance(fill_value, str) else fill_value
