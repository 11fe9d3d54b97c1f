"""What is to be embedded, and pixels of places, fetched into the runs' own cache."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import shapely
import torch
from shapely.geometry.base import BaseGeometry

from thor_geo.api._cut import Cut
from thor_geo.api._place import Place, Spatial
from thor_geo.api._request import EmbeddingRequest
from thor_geo.composites import BlockStore, DirectSource
from thor_geo.datamodules.source import CompositeSource, disconnect
from thor_geo.datasets import CompositeDataset
from thor_geo.errors import ConfigError, InputError
from thor_geo.ground.images import pad_with_mask
from thor_geo.ground.lattice import Block, Lattice, blocks_meeting
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import AnyArray
from thor_geo.transforms import InputReport, inspect_input


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What a cut takes of an image.

    Attributes:
        pixels: (C, h, w), as stored or as given.
        observations: (S, h, w) uint8: observations behind each pixel of each sensor; of given
            pixels 1 where there is one, 0 where there is padding.
        scenes: Ids of the scenes behind it, or None for given pixels.
        left_out: Why scenes that could not be used are not among them, by id.
        catalogues: Where the scenes of each sensor are from; see `Connection`.
    """

    pixels: AnyArray
    observations: npt.NDArray[np.uint8]
    scenes: tuple[str, ...] | None
    catalogues: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EmbeddingItem:
    """One place or image.

    Attributes:
        cut: How it goes through the encoder.
        place: Where it is; None for an image without a place.
        image: Its pixels (C, H, W), unless they are fetched.
        raster: Path of the file that the pixels are from, if any.
    """

    cut: Cut
    place: Place | None
    image: AnyArray | None = None
    raster: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of what was asked for, or given."""
        if self.image is not None:
            return self.image.shape[1], self.image.shape[2]
        assert self.place is not None
        return self.place.rect.height, self.place.rect.width

    def corner(self, resolution: int) -> tuple[float, float]:
        """Return easting and northing of the upper left corner of what the cut takes, metres.

        The coordinates of an image without a place begin at its lower left corner.

        Args:
            resolution: Pixel size in metres.
        """
        if self.place is not None:
            left, _, _, top = self.cut.rect(self.place.rect).bounds
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
            place = Place.from_spatial(spatial, request.resolution)
            rect = place.rect
            cut = request.cutter.cut(rect.height, rect.width, origin=(rect.top, rect.left))
            items.append(EmbeddingItem(cut=cut, place=place))
    return items


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


def place_canvases(
    items: Sequence[EmbeddingItem],
    source: CompositeSource,
    *,
    window: TemporalSpec,
    threads: int,
    block_size: int = 576,
) -> Generator[Canvas, None, None]:
    """Fetch what is missing of all places, then yield them one after the other.

    Blocks are those of runs over the same area: they share the cache.

    Args:
        items: The places and how they are cut.
        source: Where composites come from, with bands and recipes.
        window: Time window.
        threads: How many blocks are fetched at once.
        block_size: Side of a block in pixels.

    Raises:
        BlockError: If a block could not be produced.
        AuthenticationError: If there are no usable credentials.
        ProjectError: If the project is missing or may not be used.
        EarthEngineError: If the service refused.
        CacheError: If the cache cannot be used.
    """
    sensors = source.sensors.by_kind
    connection = source.connect()
    try:
        direct = {
            kind: DirectSource(
                BlockStore(
                    source.cache_dir,
                    sensor=sensor,
                    window=window,
                    catalogue=connection.catalogues[kind],
                ),
                connection.session,
                concurrency=threads,
            )
            for kind, sensor in sensors.items()
        }
        places = [item.place for item in items if item.place is not None]
        rects = [item.cut.rect(p.rect) for item, p in zip(items, places, strict=True)]
        blocks = {block.id: block for rect in rects for block in blocks_meeting(rect, block_size)}
        for each in direct.values():
            missing = [block for block in blocks.values() if not each.store.has(block)]
            _fetch(each, missing, threads)
        for place, rect in zip(places, rects, strict=True):
            lattice = Lattice(epsg=place.epsg, resolution=source.sensors.resolution)
            composites = [
                CompositeDataset(
                    direct[kind],
                    place.geometry,
                    lattice=lattice,
                    sensor=sensor,
                    window=window,
                    block_size=block_size,
                ).read(rect)
                for kind, sensor in sensors.items()
            ]
            # One data type for all: uint16 reflectance is clamped where it leaves int16's range.
            yield Canvas(
                pixels=composites[0].image
                if len(composites) == 1
                else np.concatenate([_signed(composite.image) for composite in composites]),
                observations=np.stack([composite.observations for composite in composites]),
                scenes=tuple(sorted({scene for each in composites for scene in each.scenes})),
                left_out=_left_out(direct.values(), blocks_meeting(rect, block_size)),
                catalogues=tuple(connection.catalogues[kind] for kind in sensors),
            )
    finally:
        disconnect(connection)


def _left_out(sources: Iterable[DirectSource], blocks: Iterable[Block]) -> dict[str, str]:
    """Return why scenes that could not be used are missing from blocks, by id."""
    pinned = [source.store.pinned(block) for block in blocks for source in sources]
    reasons = [pair for each in pinned if each is not None for pair in each.left_out.items()]
    return dict(sorted(reasons))


def _signed(image: AnyArray) -> npt.NDArray[np.int16]:
    # Reflectance above 32767 is above the valid range, to which a normalisation clamps.
    return np.minimum(image, np.iinfo(np.int16).max).astype(np.int16)


def _fetch(source: DirectSource, missing: Sequence[Block], threads: int) -> None:
    if not missing:
        return
    source.connect()
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="thor-geo-fetch") as pool:
        futures = [pool.submit(source.get, block) for block in missing]
        try:
            for future in futures:
                future.result()
        except BaseException:
            # Requests that have not begun are dropped; what is done stays cached.
            pool.shutdown(cancel_futures=True)
            raise
