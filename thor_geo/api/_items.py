"""What is to be embedded, checked and cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
import torch
from shapely.geometry.base import BaseGeometry

from thor_geo.api._cut import Cut
from thor_geo.api._place import Place, Spatial
from thor_geo.api._request import EmbeddingRequest
from thor_geo.datasets.places import covered_pixels
from thor_geo.errors import ConfigError, InputError
from thor_geo.ground.images import pad_with_mask
from thor_geo.ground.lattice import Rect
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import AnyArray, UInt8Array
from thor_geo.transforms import InputReport, inspect_input


@dataclass(frozen=True, kw_only=True)
class EmbeddingItem:
    """One place or image.

    Attributes:
        cut: How it goes through the encoder.
        place: Where it is; None for an image without a place.
        window: Time window of pixels that are fetched, or that the caller says there was.
        image: Its pixels (C, H, W), unless they are fetched.
        raster: Path of the file that the pixels are from, if any.
        polygon: The polygon over whose pixels the vector is pooled, and a point in it, in longitude
            and latitude; None for all pixels.
    """

    cut: Cut
    place: Place | None
    window: TemporalSpec | None = None
    image: AnyArray | None = None
    raster: str | None = None
    polygon: tuple[BaseGeometry, tuple[float, float]] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of what was asked for, or given."""
        if self.image is not None:
            return self.image.shape[1], self.image.shape[2]
        assert self.place is not None
        return self.place.rect.height, self.place.rect.width

    @property
    def within(self) -> UInt8Array | None:
        """The pixels of the cut that `polygon` covers, (h, w) with 1 for these; None without it."""
        if self.polygon is None:
            return None
        shape, point = self.polygon
        return covered_pixels(shape, self.rect, point)

    @property
    def rect(self) -> Rect:
        """What the cut takes of the place's pixel grid."""
        assert self.place is not None
        return self.cut.rect(self.place.rect)

    @property
    def point(self) -> tuple[float, float]:
        """Easting and northing of the point that was asked for, metres.

        Raises:
            ConfigError: If something else was.
        """
        if self.place is None or self.place.point is None:
            raise ConfigError(
                "output",
                "centre",
                "only a point has a cell of its own",
                "Give a PointBuffer or a table of places, or use output='pooled' or 'grid'.",
            )
        return self.place.point

    def corner(self, resolution: int) -> tuple[float, float]:
        """Return easting and northing of the upper left corner of what the cut takes, metres.

        The coordinates of an image without a place begin at its lower left corner.

        Args:
            resolution: Pixel size in metres.
        """
        if self.place is not None:
            left, _, _, top = self.rect.bounds
            return left, top
        assert self.image is not None
        height = self.image.shape[1]
        return float(self.cut.left * resolution), float((height - self.cut.top) * resolution)

    def area(self, resolution: int) -> BaseGeometry:
        """Return what was asked for, in the same coordinates: the area, or the whole image."""
        if self.place is not None:
            return self.place.geometry
        assert self.image is not None
        height, width = self.image.shape[1:]
        return shapely.box(0, 0, width * resolution, height * resolution)


def place_items(
    request: EmbeddingRequest, spatials: Sequence[Spatial] | None, temporal: TemporalSpec | None
) -> list[EmbeddingItem]:
    """Return places as items, checked and cut.

    Args:
        request: The settings.
        spatials: Places, or None.
        temporal: Time window of fetched pixels.

    Raises:
        ConfigError: If there is no place or no window, or options describe pixels of the caller's.
        AreaError: If a place is invalid.
    """
    refuse_own_pixels(request)
    if spatials is None or len(spatials) == 0:
        raise ConfigError(
            "spatial" if spatials is None else "spatials",
            spatials,
            "nothing to embed",
            "Give a place, or pixels as input_chw or raster.",
        )
    if temporal is None:
        raise ConfigError(
            "temporal",
            None,
            "a composite needs a time window",
            'Give e.g. TemporalSpec.range("2022-06-01", "2022-09-01").',
        )
    items = []
    for number, spatial in enumerate(spatials):
        with naming("spatials", number, len(spatials)):
            place = Place.from_spatial(spatial, request.resolution, request.chip_unit)
            rect = place.rect
            cut = request.cutter.cut(rect.height, rect.width, origin=(rect.top, rect.left))
            items.append(EmbeddingItem(cut=cut, place=place, window=temporal))
    return items


def refuse_own_pixels(request: EmbeddingRequest) -> None:
    """Refuse options that describe pixels of the caller's, in a call that has none.

    Args:
        request: The settings.

    Raises:
        ConfigError: If there is one.
    """
    for name, value in (
        ("bands", list(request.names or request.plane_names)),
        ("resolution", request.resolution if request.has_own_resolution else None),
        ("input_scale", request.input_scale),
    ):
        if value:
            raise ConfigError(
                name,
                value,
                "it describes the pixels of input_chw, and there are none",
                "Give input_chw, or a sensor=SensorSpec(bands=...) for fetched ones.",
            )


@contextmanager
def naming(argument: str, number: int, count: int) -> Iterator[None]:
    """Name in an error which of several places or images it is about.

    Args:
        argument: The argument that holds them.
        number: Its number in it.
        count: How many there are; 1 needs no number.
    """
    try:
        yield
    except ConfigError as error:
        if count == 1:
            raise
        name = f"{argument}[{number}]: {error.argument}"
        raise type(error)(name, error.value, error.problem, error.remedy) from error
    except InputError as error:
        if count == 1:
            raise
        raise InputError(f"{argument}[{number}]: {error}") from error


def inspected(pixels: AnyArray, request: EmbeddingRequest) -> InputReport:
    """Check raw pixels; refuse bad ones if the request asks for it.

    Args:
        pixels: (C, H, W).
        request: The settings.

    Raises:
        InputError: If *pixels* fail a strict inspection.
    """
    report = inspect_input(
        torch.from_numpy(pixels), request.selection, fill_value=request.fill_values
    )
    if request.inspect == "error":
        report.raise_if_bad()
    return report


def padded(
    chw: AnyArray, height: int, width: int, fills: Sequence[float]
) -> tuple[AnyArray, npt.NDArray[np.bool_]]:
    """Pad an image as `pad_with_mask` does, with a value for each plane.

    Args:
        chw: (C, H, W).
        height: Rows of the result.
        width: Columns of the result.
        fills: Value of padding, plane by plane; of integers NaN is 0.
    """
    out, mask = pad_with_mask(chw, height, width)
    for plane, fill in zip(out, fills, strict=True):
        if not mask.all() and (np.isfinite(fill) or np.issubdtype(out.dtype, np.floating)):
            plane[~mask] = fill
    return out, mask
