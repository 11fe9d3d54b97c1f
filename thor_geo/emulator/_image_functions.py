# Parameters carry the API's names: that is how arguments are bound.
# ruff: noqa: N803
"""Functions on images: bands, masks, metadata. Arithmetic is in ``_image_math``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from thor_geo.emulator._collections import Collection
from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._functions import expect, function, strings
from thor_geo.emulator._geometry import Footprint
from thor_geo.emulator._images import (
    Image,
    ImageBand,
    as_image,
    constant_image,
    pixel_type,
    unique_names,
)
from thor_geo.emulator._raster import Frame, MaskedRaster, Node, cast, constant_node, masked_node
from thor_geo.support.arrays import BoolArray


@function("Image.constant")
def _constant(value: Any) -> Image:
    return constant_image(value)


@function("Image.select")
def _select(input: Any, bandSelectors: Any, newNames: Any = None) -> Image:
    selectors = bandSelectors if isinstance(bandSelectors, list) else [bandSelectors]
    if not all(isinstance(selector, str | int) for selector in selectors):
        raise RequestError(f"Band selectors must be strings or integers, got {selectors!r:.100}.")
    names = None if newNames is None else strings(newNames, "newNames")
    return as_image(input, "input").select(selectors, names)


@function("Image.rename")
def _rename(input: Any, names: Any) -> Image:
    return as_image(input, "input").rename(strings(names, "names"))


@function("Image.bandNames")
def _band_names(image: Any) -> list[str]:
    return as_image(image, "image").names


@function("Image.bandTypes")
def _band_types(image: Any) -> dict[str, Any]:
    return {band.name: pixel_type(band.node.dtype) for band in as_image(image, "image").bands}


@function("Image.addBands")
def _add_bands(dstImg: Any, srcImg: Any, names: Any = None, overwrite: Any = False) -> Image:
    target, source = as_image(dstImg, "dstImg"), as_image(srcImg, "srcImg")
    if names is not None:
        source = source.select(strings(names, "names"))
    if overwrite is not True:
        return target.with_bands(unique_names([*target.bands, *source.bands]))
    merged = {band.name: band for band in (*target.bands, *source.bands)}
    return target.with_bands(list(merged.values()))


@function("Image.cat")
def _cat(images: Any) -> Image:
    listed = [as_image(image, "images") for image in expect(images, list, "images")]
    if not listed:
        return Image(bands=())
    bands = [band for image in listed for band in image.bands]
    return listed[0].with_bands(unique_names(bands))


def _mask_bands(image: Image, mask: Image) -> list[tuple[ImageBand, Node]]:
    """Pair each band with the node that masks it.

    Raises:
        RequestError: If the mask has neither one band nor as many as the image.
    """
    if len(mask.bands) not in (1, len(image.bands)):
        raise RequestError(
            f"The mask must have one band or as many as the image ({len(image.bands)}), "
            f"got {len(mask.bands)}."
        )
    by = mask.bands * len(image.bands) if len(mask.bands) == 1 else mask.bands
    return [(band, other.node) for band, other in zip(image.bands, by, strict=True)]


@function("Image.updateMask")
def _update_mask(image: Any, mask: Any) -> Image:
    source = as_image(image, "image")
    pairs = _mask_bands(source, as_image(mask, "mask"))
    return source.with_bands([replace(b, node=masked_node(b.node, m)) for b, m in pairs])


@function("Image.selfMask")
def _self_mask(image: Any) -> Image:
    source = as_image(image, "image")
    return source.with_bands(source.map_nodes(lambda node: masked_node(node, node)))


@function("Image.mask")
def _mask(image: Any) -> Image:
    """The mask as an image, 0 or 1: the emulator's masks are never fractional."""

    def mask_node(node: Node) -> Node:
        """Return a node whose values are the mask."""

        def compute(frame: Frame) -> MaskedRaster:
            """Turn the mask into values, valid everywhere."""
            return MaskedRaster(frame.get(node).mask.astype(np.float32), np.array(True))

        return Node(np.float32, compute)

    source = as_image(image, "image")
    return source.with_bands(source.map_nodes(mask_node))


def _lies_in(frame: Frame, footprints: tuple[Footprint, ...]) -> BoolArray:
    """Which pixel centres lie in any of the footprints."""

    def compute() -> BoolArray:
        """Test the pixel centres, once per frame."""
        inside: BoolArray = np.zeros(frame.grid.shape, dtype=bool)
        for footprint in footprints:
            x, y = frame.coordinates(footprint.crs)
            left, bottom, right, top = footprint.bounds
            inside |= (x >= left) & (x < right) & (y > bottom) & (y <= top)
        return inside

    return frame.remember(("footprints", footprints), compute)


@function("Image.unmask")
def _unmask(input: Any, value: Any = None, sameFootprint: Any = True) -> Image:
    source = as_image(input, "input")
    filling = as_image(0 if value is None else value, "value")
    within = source.footprint if sameFootprint is True else None

    def unmask_node(node: Node, fill: Node) -> Node:
        """Return a node that takes masked pixels from the filling."""
        dtype = np.result_type(node.dtype, fill.dtype)

        def compute(frame: Frame) -> MaskedRaster:
            """Fill the masked pixels."""
            values, mask = frame.get(node)
            if mask.all():
                return MaskedRaster(cast(values, dtype), mask)
            new, new_mask = frame.get(fill)
            if within is not None:
                new_mask = new_mask & _lies_in(frame, within)
            merged = np.where(mask, cast(values, dtype), cast(new, dtype))
            return MaskedRaster(merged, mask | new_mask)

        return Node(dtype, compute)

    pairs = _mask_bands(source, filling)
    result = source.with_bands([replace(b, node=unmask_node(b.node, f)) for b, f in pairs])
    return result if sameFootprint is True else replace(result, footprint=None)


@function("Image.linkCollection")
def _link_collection(
    input: Any,
    imageCollection: Any,
    linkedBands: Any = None,
    linkedProperties: Any = None,
    matchPropertyName: Any = "system:index",
) -> Image:
    source = as_image(input, "input")
    candidates = expect(imageCollection, Collection, "imageCollection").images
    key = source.properties.get(expect(matchPropertyName, str, "matchPropertyName"))
    matches = [c for c in candidates if c.properties.get(matchPropertyName) == key]
    match = matches[0] if key is not None and matches else None
    bands = {band.name: band for band in source.bands}
    for name in [] if linkedBands is None else strings(linkedBands, "linkedBands"):
        if match is not None:
            bands[name] = replace(match.select([name]).bands[0], name=name)
        else:
            # "If a matching image is not found, any new or updated bands will be fully masked".
            dtype = candidates[0].select([name]).bands[0].node.dtype if candidates else np.uint8
            bands[name] = ImageBand(name=name, node=_masked(dtype))
    linked = [] if linkedProperties is None else strings(linkedProperties, "linkedProperties")
    copied = {name: match.properties.get(name) if match else None for name in linked}
    return replace(
        source.with_bands(list(bands.values())), properties={**source.properties, **copied}
    )


def _masked(dtype: Any) -> Node:
    zero = constant_node(0)
    return masked_node(
        Node(dtype, lambda frame: MaskedRaster(np.zeros((), dtype), np.array(True))), zero
    )


@function("Element.get", "Element.getNumber", "Element.getString")
def _get(object: Any, property: Any) -> Any:
    name = expect(property, str, "property")
    return expect(object, Image, "object").properties.get(name)


@function("Element.set")
def _set(object: Any, key: Any, value: Any = None) -> Image:
    image = expect(object, Image, "object")
    return replace(image, properties={**image.properties, expect(key, str, "key"): value})


@function("Element.setMulti")
def _set_multi(object: Any, properties: Any) -> Image:
    image = expect(object, Image, "object")
    added = expect(properties, dict, "properties")
    return replace(image, properties={**image.properties, **added})


@function("Element.propertyNames")
def _property_names(element: Any) -> list[str]:
    return sorted(expect(element, Image, "element").properties)


@function("Element.copyProperties", "Image.copyProperties")
def _copy_properties(destination: Any, source: Any, properties: Any = None) -> Image:
    """Without a list, all properties but those of the system, as on the service."""
    target, other = expect(destination, Image, "destination"), expect(source, Image, "source")
    if properties is None:
        names = [name for name in other.properties if not name.startswith("system:")]
    else:
        names = strings(properties, "properties")
    copied = {name: other.properties[name] for name in names if name in other.properties}
    return replace(target, properties={**target.properties, **copied})
