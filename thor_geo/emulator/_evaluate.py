"""Evaluates expressions over the collections that are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thor_geo.emulator import (  # imported to register their functions
    _image_functions,  # noqa: F401
    _image_math,  # noqa: F401
)
from thor_geo.emulator._archive import Archive
from thor_geo.emulator._collections import Collection
from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._functions import REGISTRY, Date, call, expect, registered
from thor_geo.emulator._geometry import Geometry
from thor_geo.emulator._graph import Graph
from thor_geo.emulator._images import Image, ImageBand, pixel_type


class Catalog:
    """The collections that are served.

    Args:
        archives: Archive by collection id, such as ``COPERNICUS/S2_SR_HARMONIZED``.
        hide: Ids of scenes to leave out.
    """

    def __init__(self, archives: Mapping[str, Archive], hide: Sequence[str] = ()) -> None:
        self._collections = {
            asset_id: Collection(
                images=tuple(
                    image
                    for image in archive.as_collection(asset_id)
                    if image.properties["system:index"] not in hide
                ),
                asset_id=asset_id,
            )
            for asset_id, archive in archives.items()
        }
        self._by_id = {
            image.asset_id: image
            for collection in self._collections.values()
            for image in collection.images
        }
        # Loading depends on the archive, so these two are not in the common registry.
        self._registry = {
            **REGISTRY,
            "ImageCollection.load": registered(self._load_collection),
            "Image.load": registered(self._load_image),
        }

    @property
    def functions(self) -> dict[str, list[str]]:
        """Every supported function with its argument names."""
        return {name: list(entry.arguments) for name, entry in self._registry.items()}

    def evaluate(self, expression: Any) -> Any:
        """Return the value of an expression.

        Raises:
            RequestError: If the expression is malformed, unsupported or fails.
        """
        return Graph(expression, lambda name, args: call(name, args, self._registry)).evaluate()

    def _load_collection(self, id: Any) -> Collection:
        name = expect(id, str, "id")
        if name not in self._collections:
            raise RequestError(
                f"ImageCollection asset '{name}' not found (does not exist or caller does not have "
                f"access). This emulator serves: {', '.join(self._collections)}."
            )
        return self._collections[name]

    def _load_image(self, id: Any) -> Image:
        name = expect(id, str, "id")
        if name not in self._by_id:
            raise RequestError(
                f"Image asset '{name}' not found (does not exist or caller does not have access)."
            )
        return self._by_id[name]


def to_json(value: Any) -> Any:
    """Return a value as ``value:compute`` answers it.

    Raises:
        RequestError: If a value of this kind cannot be answered.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [to_json(item) for item in value]
        case dict():
            return {key: to_json(item) for key, item in value.items()}
        case Date():
            return {"type": "Date", "value": value.millis}
        case Image():
            return _image_json(value)
        case Collection():
            described = {"type": "ImageCollection", "bands": []}
            described.update({"id": value.asset_id} if value.asset_id else {})
            return {**described, "features": [_image_json(image) for image in value.images]}
        case Geometry():
            rings = [[*ring.tolist(), ring[0].tolist()] for ring in value.rings]
            return {"type": "Polygon", "coordinates": rings, "geodesic": value.geodesic}
        case _:
            raise RequestError(
                f"A result of type {type(value).__name__} is not supported by the emulator."
            )


def _image_json(image: Image) -> dict[str, Any]:
    described: dict[str, Any] = {"type": "Image", "bands": list(map(_band_json, image.bands))}
    if image.asset_id:
        described["id"] = image.asset_id
    properties = to_json(dict(image.properties))
    if image.footprint is not None and len(image.footprint) == 1:
        ring = {"type": "LinearRing", "coordinates": image.footprint[0].lonlat()}
        properties["system:footprint"] = ring
    described["properties"] = properties
    return described


def _band_json(band: ImageBand) -> dict[str, Any]:
    described: dict[str, Any] = {"id": band.name, "data_type": pixel_type(band.node.dtype)}
    if band.grid is None:
        # Constants and composites: one degree, WGS84.
        return {**described, "crs": "EPSG:4326", "crs_transform": [1, 0, 0, 0, 1, 0]}
    return {
        **described,
        "crs": band.grid.crs,
        "crs_transform": list(band.grid.transform),
        "dimensions": [band.grid.width, band.grid.height],
    }
