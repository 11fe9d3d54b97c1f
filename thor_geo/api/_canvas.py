"""Pixels of places, fetched into the runs' own cache."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from thor_geo.api._items import EmbeddingItem
from thor_geo.composites import DirectSource, block_store
from thor_geo.datamodules.source import CompositeSource, Connection, disconnect
from thor_geo.datasets import CompositeDataset
from thor_geo.ground.blocks import blocks_of
from thor_geo.ground.chips import Chip
from thor_geo.ground.fetch_units import alone_chips
from thor_geo.ground.lattice import Block, Lattice, Rect
from thor_geo.specs import TemporalSpec
from thor_geo.specs.bands import Sensor
from thor_geo.support.arrays import AnyArray

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


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


def place_canvases(
    items: Sequence[EmbeddingItem],
    source: CompositeSource,
    *,
    threads: int,
    block_size: int = 576,
) -> Generator[Canvas, None, None]:
    """Fetch what is missing of all places, then yield them one after the other.

    Blocks are those of runs over the same area or places: they share the cache.

    Args:
        items: The places and how they are cut, each with its time window.
        source: Where composites come from, with bands and recipes.
        threads: How many blocks are fetched at once.
        block_size: Side of a block in pixels.

    Raises:
        BlockError: If a block could not be produced.
        AuthenticationError: If there are no usable credentials.
        ProjectError: If the project is missing or may not be used.
        EarthEngineError: If the service refused.
        CacheError: If the cache cannot be used.
        StoreError: If it cannot, and lies in an object store.
    """
    connection = source.connect()
    try:
        pixels = _Pixels(source, connection, threads=threads, block_size=block_size)
        rects = pixels.fetch(items)
        for item, rect in zip(items, rects, strict=True):
            yield pixels.canvas(item, rect)
    finally:
        disconnect(connection)


class _Pixels:
    """Composites of places, by sensor and time window."""

    def __init__(
        self, source: CompositeSource, connection: Connection, *, threads: int, block_size: int
    ) -> None:
        self._source, self._connection = source, connection
        self._sensors = source.sensors.by_kind
        self._threads, self._block_size = threads, block_size
        self._direct: dict[tuple[Sensor, TemporalSpec], DirectSource] = {}

    def fetch(self, items: Sequence[EmbeddingItem]) -> list[Rect]:
        """Fetch what is missing; return what each item takes, a chip as it is fetched."""
        rects = self._looked_up(lambda pair: self._as_cached(*pair), list(self._fetched(items)))
        wanted = {
            (kind, item.window, block.id): (self._of(kind, item.window), block)
            for item, rect in zip(items, rects, strict=True)
            for block in blocks_of(rect, self._block_size)
            for kind in self._sensors
            if item.window is not None
        }
        pairs = list(wanted.values())
        here = self._looked_up(lambda pair: pair[0].store.has(pair[1]), pairs)
        _fetch([pair for pair, has in zip(pairs, here, strict=True) if not has], self._threads)
        return rects

    def _looked_up(self, look: Callable[[_Key], _Found], keys: Sequence[_Key]) -> list[_Found]:
        """Look things up in the cache: in an object store side by side, as each takes a while."""
        if self._connection.shared is None or not keys:
            return [look(key) for key in keys]
        with ThreadPoolExecutor(self._threads, thread_name_prefix="thor-geo-look") as pool:
            return list(pool.map(look, keys))

    def _fetched(self, items: Sequence[EmbeddingItem]) -> Iterator[tuple[EmbeddingItem, Rect]]:
        """Yield items with what they take; chips as a plan of all of them would fetch each."""
        rects = [item.rect for item in items]
        groups: dict[tuple[int, int, TemporalSpec | None], list[int]] = {}
        for k, (item, rect) in enumerate(zip(items, rects, strict=True)):
            if isinstance(rect, Chip):
                groups.setdefault((rect.size, rect.epsg, item.window), []).append(k)
        for (size, _, _), members in groups.items():
            chips = [rects[k] for k in members]
            alone = alone_chips(
                group=np.zeros(len(chips), dtype=np.int64),
                left=np.array([chip.left for chip in chips]),
                top=np.array([chip.top for chip in chips]),
                size=size,
                block_size=self._block_size,
            )
            for k, chip, by_itself in zip(members, chips, alone.tolist(), strict=True):
                assert isinstance(chip, Chip)
                rects[k] = replace(chip, alone=by_itself)
        yield from zip(items, rects, strict=True)

    def _as_cached(self, item: EmbeddingItem, rect: Rect) -> Rect:
        """Return a chip as part of the lattice's blocks where these are in the cache already."""
        if not (isinstance(rect, Chip) and rect.alone):
            return rect
        shared = replace(rect, alone=False)
        stores = [self._of(kind, item.window).store for kind in self._sensors]
        blocks = list(blocks_of(shared, self._block_size))
        return shared if all(each.has(b) for each in stores for b in blocks) else rect

    def _of(self, kind: Sensor, window: TemporalSpec | None) -> DirectSource:
        assert window is not None  # items whose pixels are fetched have one
        if (kind, window) not in self._direct:
            store = block_store(
                self._connection.cache,
                self._connection.shared,
                sensor=self._sensors[kind],
                window=window,
                catalogue=self._connection.catalogues[kind],
            )
            self._direct[kind, window] = DirectSource(
                store, self._connection.session, concurrency=self._threads
            )
        return self._direct[kind, window]

    def canvas(self, item: EmbeddingItem, rect: Rect) -> Canvas:
        """Return the pixels of an item."""
        place, window = item.place, item.window
        assert place is not None
        assert window is not None
        lattice = Lattice(epsg=place.epsg, resolution=self._source.sensors.resolution)
        sources = {kind: self._of(kind, window) for kind in self._sensors}
        composites = [
            CompositeDataset(
                sources[kind],
                place.geometry,
                lattice=lattice,
                sensor=sensor,
                window=window,
                block_size=self._block_size,
            ).read(rect)
            for kind, sensor in self._sensors.items()
        ]
        # One data type for all: uint16 reflectance is clamped where it leaves int16's range.
        return Canvas(
            pixels=composites[0].image
            if len(composites) == 1
            else np.concatenate([_signed(composite.image) for composite in composites]),
            observations=np.stack([composite.observations for composite in composites]),
            scenes=tuple(sorted({scene for each in composites for scene in each.scenes})),
            left_out=_left_out(sources.values(), blocks_of(rect, self._block_size)),
            catalogues=tuple(self._connection.catalogues[kind] for kind in self._sensors),
        )


def _left_out(sources: Iterable[DirectSource], blocks: Iterable[Block]) -> dict[str, str]:
    """Return why scenes that could not be used are missing from blocks, by id."""
    pinned = [source.store.pinned(block) for block in blocks for source in sources]
    reasons = [pair for each in pinned if each is not None for pair in each.left_out.items()]
    return dict(sorted(reasons))


def _signed(image: AnyArray) -> npt.NDArray[np.int16]:
    # Reflectance above 32767 is above the valid range, to which a normalisation clamps.
    return np.minimum(image, np.iinfo(np.int16).max).astype(np.int16)


def _fetch(missing: Sequence[tuple[DirectSource, Block]], threads: int) -> None:
    if not missing:
        return
    for source in dict.fromkeys(source for source, _ in missing):
        source.connect()  # once, before threads ask side by side
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="thor-geo-fetch") as pool:
        futures = [pool.submit(source.get, block) for source, block in missing]
        try:
            for future in futures:
                future.result()
        except BaseException:
            # Requests that have not begun are dropped; what is done stays cached.
            pool.shutdown(cancel_futures=True)
            raise
