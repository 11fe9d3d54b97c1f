"""Images: named lazy bands with properties and a footprint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._geometry import Footprint
from thor_geo.emulator._raster import Grid, Node, constant_node

NO_BANDS_GUIDE = "https://developers.google.com/earth-engine/guides/debugging#no-bands"


@dataclass(frozen=True, kw_only=True)
class ImageBand:
    """A name for a node, and the grid its pixels come from (None where it has none of its own)."""

    name: str
    node: Node
    grid: Grid | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image, as the API's functions see it.

    Args:
        bands: Its bands, names unique.
        properties: Metadata, such as ``system:index``.
        footprint: Where the image lies; None if it is unbounded.
        asset_id: Full id if the image comes straight from a collection.
    """

    bands: tuple[ImageBand, ...]
    properties: Mapping[str, Any] = field(default_factory=dict)
    footprint: tuple[Footprint, ...] | None = None
    asset_id: str | None = None

    @property
    def names(self) -> list[str]:
        """Band names in order."""
        return [band.name for band in self.bands]

    def with_bands(self, bands: Sequence[ImageBand]) -> Image:
        """Return this image with other bands; properties and footprint stay."""
        return replace(self, bands=tuple(bands), asset_id=None)

    def derived(self, bands: Sequence[ImageBand]) -> Image:
        """Return the result of arithmetic on this image: of the properties, only the index stays.

        Earth Engine drops metadata (``system:time_start`` above all) in arithmetic.
        """
        kept = {k: v for k, v in self.properties.items() if k == "system:index"}
        return Image(bands=tuple(bands), properties=kept, footprint=self.footprint)

    def map_nodes(self, apply: Callable[[Node], Node]) -> tuple[ImageBand, ...]:
        """Return the bands with a function applied to every node."""
        return tuple(replace(band, node=apply(band.node)) for band in self.bands)

    def select(self, selectors: Sequence[str | int], names: Sequence[str] | None = None) -> Image:
        """Return some bands, optionally renamed.

        Args:
            selectors: Names, regular expressions (matched in full) or indices.
            names: New names, one per selected band.

        Raises:
            RequestError: If the image has no bands, a selector matches none, or the names do not
                match in number.
        """
        chosen = [band for selector in selectors for band in self._match(selector)]
        if names is not None:
            return self.with_bands(chosen).rename(names)
        return self.with_bands(unique_names(chosen))

    def _match(self, selector: str | int) -> list[ImageBand]:
        if not self.bands:
            raise RequestError(
                f"Band pattern '{selector}' was applied to an Image with no bands. "
                f"See {NO_BANDS_GUIDE}"
            )
        if isinstance(selector, int):
            if not 0 <= selector < len(self.bands):
                raise RequestError(f"Band index {selector} is out of bounds: {self.names}.")
            return [self.bands[selector]]
        # A name is taken literally before it is tried as a pattern.
        matched = [band for band in self.bands if band.name == selector]
        if not matched:
            try:
                pattern = re.compile(selector)
            except re.error as error:
                raise RequestError(f"Invalid band pattern '{selector}': {error}.") from None
            matched = [band for band in self.bands if pattern.fullmatch(band.name)]
        if not matched:
            raise RequestError(
                f"Band pattern '{selector}' did not match any bands. "
                f"Available bands: [{', '.join(self.names)}]"
            )
        return matched

    def rename(self, names: Sequence[str]) -> Image:
        """Return the image with other band names.

        Raises:
            RequestError: If the number of names is not the number of bands, or a name repeats.
        """
        if len(names) != len(self.bands):
            raise RequestError(
                f"The number of names ({len(names)}) must match the number of bands "
                f"({len(self.bands)})."
            )
        if len(set(names)) != len(names):
            raise RequestError(f"Band names must be unique, got {list(names)}.")
        pairs = zip(self.bands, names, strict=True)
        return self.with_bands([replace(band, name=name) for band, name in pairs])


def unique_names(bands: Sequence[ImageBand]) -> list[ImageBand]:
    """Return bands with a numerical suffix where a name repeats: ``foo`` then ``foo_1``."""
    taken: set[str] = set()
    result = []
    for band in bands:
        name, suffix = band.name, 0
        while name in taken:
            suffix += 1
            name = f"{band.name}_{suffix}"
        taken.add(name)
        result.append(replace(band, name=name))
    return result


def constant_image(value: Any) -> Image:
    """Return an image of constants: one band per number, ``constant``, ``constant_1``...

    Raises:
        RequestError: If the value is neither a number nor a list of numbers.
    """
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        raise RequestError(f"Parameter 'value' must be a number or a list of them, got {value!r}.")
    bands = [ImageBand(name="constant", node=constant_node(number)) for number in numbers]
    return Image(bands=tuple(unique_names(bands)))


def as_image(value: Any, argument: str) -> Image:
    """Return an image, promoting numbers to constants.

    Raises:
        RequestError: If the value is neither, or null (the first of an empty collection).
    """
    if isinstance(value, Image):
        return value
    if isinstance(value, int | float):
        return constant_image(value)
    raise RequestError(f"Parameter '{argument}' must be an Image, got {type(value).__name__}.")


def pair_bands(image1: Image, image2: Image) -> list[tuple[ImageBand, ImageBand, ImageBand]]:
    """Match the bands of two images for a function of two values.

    Returns:
        (left, right, the band that names the output) for each pair. One band is used against all of
        the other image's; otherwise bands go by name if the names are the same, by order if not.

    Raises:
        RequestError: If neither image has one band and their numbers differ, or one has none.
    """
    left, right = image1.bands, image2.bands
    if not left or not right:
        if left or right:
            raise RequestError(
                "If one image has no bands, the other must also have no bands. "
                f"Got {len(left)} and {len(right)}."
            )
        return []
    if len(left) == len(right):
        by_name = {band.name: band for band in right}
        if set(by_name) == set(image1.names):
            right = tuple(by_name[name] for name in image1.names)
        return [(a, b, a) for a, b in zip(left, right, strict=True)]
    if len(right) == 1:
        return [(a, right[0], a) for a in left]
    if len(left) == 1:
        return [(left[0], b, b) for b in right]
    raise RequestError(
        "Images must contain the same number of bands, or one of them a single band. "
        f"Got {len(left)} and {len(right)}."
    )


def pixel_type(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the API's description of a pixel type."""
    if dtype.kind == "f":
        return {"type": "PixelType", "precision": "double" if dtype.itemsize == 8 else "float"}
    limits = np.iinfo(dtype)
    bounds = {"min": int(limits.min), "max": int(limits.max)}
    return {"type": "PixelType", "precision": "int", **bounds}
