"""Pixels that the caller has: arrays and raster files, by whatever names their bands have."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import torch

from thor_geo.api._bands import picked_planes
from thor_geo.api._canvas import Canvas
from thor_geo.api._items import EmbeddingItem, inspected, naming, padded
from thor_geo.api._place import Place, Spatial
from thor_geo.api._raster import RasterInput
from thor_geo.api._request import EmbeddingRequest
from thor_geo.datasets.units import file_units
from thor_geo.errors import AreaError, ConfigError, InputError, first_line
from thor_geo.specs import TemporalSpec
from thor_geo.specs.bands import STORAGE
from thor_geo.support.arrays import AnyArray, BoolArray
from thor_geo.transforms import check_input, observation_planes, unit_problem

_log = logging.getLogger(__name__)

_SCALE = (
    "`input_scale=1` says that values x 1 are reflectance 0..1, decibels or kelvin, and without it "
    "they are reflectance x 10,000, hundredths of a decibel or kelvin"
)


def image_items(
    request: EmbeddingRequest,
    images: Sequence[Any],
    spatials: Sequence[Spatial] | None,
    temporal: TemporalSpec | None,
) -> list[EmbeddingItem]:
    """Return arrays as items, checked and cut.

    Args:
        request: The settings.
        images: Arrays (C, H, W).
        spatials: Where each of them lies, or None.
        temporal: When they are from, or None.

    Raises:
        ConfigError: If there are more or fewer places than arrays, or an array is too large.
        AreaError: If a place is invalid, or not of the size of its pixels.
        BandError: If planes are named, and a band is missing or named twice.
        InputError: If pixels are of the wrong kind.
    """
    arrays = []
    for number, image in enumerate(images):
        with naming("input_chw", number, len(images)):
            arrays.append(_stored_array(image, request))
            if request.inspect == "error":
                inspected(arrays[-1], request)
    if spatials is not None and len(spatials) != len(arrays):
        raise ConfigError(
            "spatials",
            len(spatials),
            f"there are {len(arrays)} images",
            "Give one place for each image, or none at all.",
        )
    items = []
    for number, array in enumerate(arrays):
        place = None
        if spatials is not None:
            with naming("spatials", number, len(spatials)):
                place = Place.from_spatial(spatials[number], request.resolution, request.chip_unit)
                _check_size(place, array)
        with naming("input_chw", number, len(arrays)):
            cut = request.cutter.cut(*array.shape[1:])
            items.append(EmbeddingItem(cut=cut, place=place, window=temporal, image=array))
    return items


def raster_items(
    request: EmbeddingRequest, rasters: Sequence[RasterInput], temporal: TemporalSpec | None
) -> list[EmbeddingItem]:
    """Return raster files as items, read, checked and cut.

    Args:
        request: The settings.
        rasters: The files' headers.
        temporal: When they are from, or None.

    Raises:
        ConfigError: If a file is too large, cannot be read, or says nothing of its unit.
        BandError: If a band is missing.
        InputError: If pixels are of the wrong kind.
    """
    items = []
    for number, raster in enumerate(rasters):
        with naming("raster", number, len(rasters)):
            file = raster.file
            planes = raster.planes(request)
            cut = request.cutter.cut(file.height, file.width)
            array = _raster_pixels(raster, planes, request)
            if request.inspect == "error":
                inspected(array, request)
            items.append(
                EmbeddingItem(
                    cut=cut,
                    place=raster.place,
                    window=temporal,
                    image=array,
                    raster=str(file.path),
                )
            )
    return items


def given_canvases(
    items: Sequence[EmbeddingItem], request: EmbeddingRequest
) -> Generator[Canvas, None, None]:
    """Yield what the cuts take of given pixels; what lies beyond them is padding.

    A pixel counts as observed by a sensor unless all its bands are fill values or not finite.

    Args:
        items: The images.
        request: The settings.
    """
    fills = request.fill_values
    sensors = observation_planes(request.selection)
    for item in items:
        cut = item.cut
        assert item.image is not None
        rows, cols = slice(cut.top, cut.top + cut.height), slice(cut.left, cut.left + cut.width)
        part = item.image[:, rows, cols]
        pixels, mask = padded(part, cut.height, cut.width, fills)
        observations = np.zeros((max(sensors) + 1, *mask.shape), np.uint8)
        for plane, sensor, fill in zip(part, sensors, fills, strict=True):
            observations[sensor, : part.shape[1], : part.shape[2]] |= _has_data(plane, fill)
        if not observations.any():
            _log.warning(
                "No pixel of the input has data: all are fill values or not finite. Its embedding "
                "is that of an empty image."
            )
        yield Canvas(pixels=pixels, observations=observations, scenes=None)


def _has_data(plane: AnyArray, fill: float) -> BoolArray:
    seen: BoolArray = np.isfinite(plane)
    return seen if np.isnan(fill) else seen & (plane != fill)


def _stored_array(image: Any, request: EmbeddingRequest) -> AnyArray:
    """Return given pixels in stored units, one plane for each band of the selection.

    Raises:
        InputError: If channels, dimensions, dtype or unit are wrong.
        BandError: If planes are named, and a band is missing or named twice.
    """
    names = request.plane_names or (() if request.names else _coordinate_names(image))
    array = _numbers(image)
    try:
        if names and len(names) != len(array):
            raise InputError(
                f"pixels have {len(array)} planes, but {len(names)} are named. Name each of them."
            )
        check_input(torch.from_numpy(array), len(names) or len(request.selection.bands))
        if names:
            array = np.ascontiguousarray(array[picked_planes(names, request.selection)])
        array = _scaled(array, request)
        problem = unit_problem(torch.from_numpy(array), request.selection)
        if problem is not None:
            raise InputError(f"{problem}. Convert them, or say what they are: {_SCALE}.")
    except InputError as error:
        raise InputError(f"`input_chw`: {error}") from error
    return array


def _numbers(image: Any) -> AnyArray:
    """Return an image as an array of numbers in native byte order."""
    dims = getattr(image, "dims", None)
    if dims is not None and set(dims) == {"band", "y", "x"}:
        image = image.transpose("band", "y", "x")
    array: AnyArray = np.asarray(image)
    problem = None
    if array.ndim != 3 or array.size == 0:
        problem = f"pixels of shape {array.shape}: expected (channel, height, width)"
    elif not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        problem = f"pixels have dtype {array.dtype}: expected numbers"
    if problem is None:
        try:
            array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
            torch.from_numpy(array)
        except TypeError as error:  # NumPy has types that PyTorch does not
            problem = first_line(error)
    if problem is not None:
        raise InputError(f"`input_chw`: {problem}.")
    return array


def _coordinate_names(image: Any) -> tuple[str, ...]:
    """Return the names of the planes of an xarray.DataArray, where its bands have names."""
    coordinates = getattr(image, "coords", None)
    if coordinates is None or "band" not in coordinates:
        return ()
    labels = np.atleast_1d(np.asarray(coordinates["band"]))
    return tuple(map(str, labels)) if labels.dtype.kind in "UO" else ()


def _scaled(array: AnyArray, request: EmbeddingRequest) -> AnyArray:
    if request.input_scale is None:
        return array
    units = np.array([STORAGE[band.sensor].scale for band in request.selection.bands])
    factors = (request.input_scale / units)[:, None, None]
    return np.asarray(array * factors, dtype=np.float32)


def _raster_pixels(
    raster: RasterInput, planes: Sequence[int], request: EmbeddingRequest
) -> AnyArray:
    """Return some bands of a raster in stored units, NaN where it has no data."""
    file = replace(
        raster.file,
        count=len(planes),
        scales=tuple(raster.file.scales[k] for k in planes),
        offsets=tuple(raster.file.offsets[k] for k in planes),
    )
    scale = None if request.input_scale is None else [request.input_scale] * len(planes)
    units = file_units(file, request.selection.bands, scale)
    try:
        with rasterio.open(file.path) as source:
            values = source.read(indexes=[k + 1 for k in planes], masked=True)
    except (rasterio.errors.RasterioError, OSError) as error:
        raise ConfigError(
            "raster", str(file.path), f"it cannot be read ({first_line(error)})", "Repair it."
        ) from error
    array: npt.NDArray[np.float32] = units.apply(np.ma.getdata(values))
    array[np.ma.getmaskarray(values)] = np.nan
    if (problem := unit_problem(torch.from_numpy(array), request.selection)) is not None:
        raise InputError(f"`raster={file.path.name!r}`: {problem}. Say what they are: {_SCALE}.")
    return array


def _check_size(place: Place, array: AnyArray) -> None:
    if array.shape[1:] != (place.rect.height, place.rect.width):
        raise AreaError(
            "spatial",
            place.rect.bounds,
            f"it covers {place.rect.height} x {place.rect.width} px of the grid of "
            f"{place.rect.resolution} m that begins at the zone's origin, input_chw has "
            f"{array.shape[1]} x {array.shape[2]}",
            "Give the box of the pixels' outer edges in their UTM zone (an Area), on that grid, or "
            "leave spatial out.",
        )
