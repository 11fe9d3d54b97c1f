# Parameters carry the API's names: that is how arguments are bound.
# ruff: noqa: N803
"""Image collections: selecting scenes, listing them, reducing them to one image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._filters import as_filter
from thor_geo.emulator._functions import expect, function, strings
from thor_geo.emulator._geometry import Footprint
from thor_geo.emulator._graph import Function
from thor_geo.emulator._images import Image, ImageBand
from thor_geo.emulator._raster import Frame, MaskedRaster, Node, cast
from thor_geo.emulator._reducers import (
    SIMPLE,
    Reducer,
    ReducerOutput,
    ToList,
    mosaic,
    simple_reducer,
)


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Images in order.

    Args:
        images: The images.
        asset_id: Id of the collection if it comes straight from the archive.
    """

    images: tuple[Image, ...]
    asset_id: str | None = None


def _images(collection: Any, argument: str = "collection") -> tuple[Image, ...]:
    return expect(collection, Collection, argument).images


@function("Collection.filter")
def _filter(collection: Any, filter: Any) -> Collection:
    passes = as_filter(filter)
    return Collection(images=tuple(image for image in _images(collection) if passes(image)))


@function("Collection.map")
def _map(collection: Any, baseAlgorithm: Any, dropNulls: Any = False) -> Collection:
    apply = expect(baseAlgorithm, Function, "baseAlgorithm")
    mapped = []
    for image in _images(collection):
        result = apply(image)
        if result is None and dropNulls is True:
            continue
        if not isinstance(result, Image):
            raise RequestError("A mapped function must return an Image.")
        mapped.append(_keep_index(result, image))
    return Collection(images=tuple(mapped))


def _keep_index(result: Image, source: Image) -> Image:
    """Elements of a mapped collection keep their index whatever the function returns."""
    index = source.properties.get("system:index")
    if index is None or result.properties.get("system:index") == index:
        return result
    return replace(result, properties={**result.properties, "system:index": index})


@function("Collection.size")
def _size(collection: Any) -> int:
    return len(_images(collection))


@function("Collection.first")
def _first(collection: Any) -> Image | None:
    images = _images(collection)
    return images[0] if images else None


@function("Collection.toList")
def _to_list(collection: Any, count: Any, offset: Any = 0) -> list[Image]:
    start = expect(offset, int, "offset")
    return list(_images(collection)[start : start + expect(count, int, "count")])


@function("Collection.limit")
def _limit(
    collection: Any, limit: Any = None, key: Any = None, ascending: Any = True
) -> Collection:
    """Also ``sort``; images without the property come last. The sort is stable."""
    images = list(_images(collection))
    if key is not None:
        name = expect(key, str, "key")
        valued = [image for image in images if image.properties.get(name) is not None]
        absent = [image for image in images if image.properties.get(name) is None]
        valued.sort(key=lambda image: image.properties[name], reverse=ascending is False)
        images = valued + absent
    stop = None if limit is None else expect(limit, int, "limit")
    return Collection(images=tuple(images[:stop]))


@function("ImageCollection.merge", "Collection.merge")
def _merge(collection1: Any, collection2: Any) -> Collection:
    """Indices get the prefixes 1_ and 2_, as the service gives them."""
    merged = []
    for prefix, collection in (("1", collection1), ("2", collection2)):
        for image in _images(collection, f"collection{prefix}"):
            index = f"{prefix}_{image.properties.get('system:index', '')}"
            merged.append(replace(image, properties={**image.properties, "system:index": index}))
    return Collection(images=tuple(merged))


@function("ImageCollection.fromImages")
def _from_images(images: Any) -> Collection:
    listed = [expect(image, Image, "images") for image in expect(images, list, "images")]
    indexed = [
        replace(image, properties={"system:index": str(number), **image.properties})
        for number, image in enumerate(listed)
    ]
    return Collection(images=tuple(indexed))


@function("Collection.reduceColumns")
def _reduce_columns(collection: Any, reducer: Any, selectors: Any) -> dict[str, Any]:
    """With ``Reducer.toList``: rows that lack a required property are dropped, as documented."""
    if not isinstance(reducer, ToList):
        raise RequestError("The emulator reduces columns with Reducer.toList only.")
    names = strings(selectors, "selectors")
    table = [[image.properties.get(name) for name in names] for image in _images(collection)]
    return {"list": reducer.rows(table, len(names))}


def _aggregate(name: str, apply: Callable[[list[Any]], Any]) -> None:
    """Register an aggregation over the values of one property; nulls are left out."""

    @function(f"AggregateFeatureCollection.{name}")
    def aggregate(collection: Any, property: Any) -> Any:
        """Aggregate the property's values that are not null."""
        key = expect(property, str, "property")
        values = [image.properties.get(key) for image in _images(collection)]
        return apply([value for value in values if value is not None])


_aggregate("array", list)
_aggregate("count", len)
_aggregate("first", lambda values: values[0] if values else None)
_aggregate("min", lambda values: min(values, default=None))
_aggregate("max", lambda values: max(values, default=None))
_aggregate("sum", sum)
_aggregate("mean", lambda values: float(np.mean(values)) if values else None)


def reduce_images(images: Sequence[Image], outputs: Sequence[ReducerOutput], suffix: bool) -> Image:
    """Return the image that reduces a collection pixel by pixel, band by band.

    Args:
        images: The collection; without images, the result has no bands.
        outputs: What to compute of each band.
        suffix: Whether the output's name is appended to the band's.

    Raises:
        RequestError: If the images do not all have the same bands.
    """
    if not images:
        return Image(bands=(), footprint=())
    names = images[0].names
    for image in images:
        if image.names != names:
            raise RequestError(
                "Expected a homogeneous image collection, but an image with incompatible bands was "
                f"encountered. Expected {names}, got {image.names}."
            )
    bands = []
    for position, name in enumerate(names):
        nodes = [image.bands[position].node for image in images]
        for output in outputs:
            label = f"{name}_{output.name}" if suffix else name
            bands.append(ImageBand(name=label, node=_reduced(nodes, output)))
    return Image(bands=tuple(bands), footprint=_union(images))


def _reduced(nodes: Sequence[Node], output: ReducerOutput) -> Node:
    common = np.result_type(*(node.dtype for node in nodes))
    dtype = common if output.dtype is None else np.dtype(output.dtype)

    def compute(frame: Frame) -> MaskedRaster:
        """Reduce the pixels of the frame."""
        stack = [frame.get(node) for node in nodes]
        values, mask = output.reduce(stack, frame.grid.shape)
        return MaskedRaster(cast(values, dtype), mask)

    return Node(dtype, compute)


def _union(images: Sequence[Image]) -> tuple[Footprint, ...] | None:
    """All footprints, each once; None as soon as one image is unbounded."""
    footprints: dict[Footprint, None] = {}
    for image in images:
        if image.footprint is None:
            return None
        footprints.update(dict.fromkeys(image.footprint))
    return tuple(footprints)


def _register_reduction(name: str) -> None:
    @function(f"reduce.{name}")
    def reduce(collection: Any) -> Image:
        """Reduce the collection band by band."""
        return reduce_images(_images(collection), simple_reducer(name).outputs, suffix=False)


for _name in ("median", "mean", "count", "sum", "min", "max"):
    assert _name in SIMPLE
    _register_reduction(_name)


@function("ImageCollection.reduce")
def _reduce(collection: Any, reducer: Any, parallelScale: Any = 1.0) -> Image:
    del parallelScale  # It trades memory for time; the result is the same.
    outputs = expect(reducer, Reducer, "reducer").outputs
    return reduce_images(_images(collection), outputs, suffix=True)


@function("ImageCollection.mosaic")
def _mosaic(collection: Any) -> Image:
    output = ReducerOutput(name="mosaic", reduce=mosaic, dtype=None)
    return reduce_images(_images(collection), [output], suffix=False)
