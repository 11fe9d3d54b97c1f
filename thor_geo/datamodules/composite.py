"""CompositeDataModule: an area or a table of places in, batches of normalised tiles out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset, Subset

from thor_geo.datamodules.feed import Feed, FeedSpec, warn_of_crowding
from thor_geo.datamodules.labels import all_blocks, check_labels, labelled_tiles, with_labels
from thor_geo.datamodules.places import PlaceTable, one_ground, refuse_beside_places, span_of
from thor_geo.datamodules.planned import PlannedDataModule
from thor_geo.datamodules.sampler import refuse_lightnings_sampler
from thor_geo.datamodules.sensors import Sensors, as_spec
from thor_geo.datamodules.source import CompositeSource, Connection, cache_location
from thor_geo.datamodules.splits import check_fractions, check_split, split_tiles
from thor_geo.datamodules.windows import check_windows, refuse_training
from thor_geo.datasets import PlaceDataset, PlanDataset, WindowDataset
from thor_geo.errors import ConfigError
from thor_geo.ground.area import Area, AreaSpec
from thor_geo.ground.blocks import NeededBlock
from thor_geo.ground.lattice import Bounds, Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import PlacesSpec
from thor_geo.ground.plan import Plan
from thor_geo.sources.earthengine import RECIPE_VERSION
from thor_geo.specs import NodataFill, Normalize, SensorSpec, Windows, check_least
from thor_geo.specs.sentinel1 import Sentinel1Spec
from thor_geo.specs.sources import (
    EarthEngineSpec,
    EmulatorSpec,
    StacSpec,
    chosen_source,
    expanded_path,
)
from thor_geo.storage import StoreOptions
from thor_geo.support.coverage import Coverage

# Frozen, so that all instances may share it.
_SENTINEL2 = SensorSpec()


class CompositeDataModule(PlannedDataModule):
    """Tiles of composites over an area or at places, for prediction and, with labels, training.

    Batches hold ``image`` (B, C, H, W), normalised float32 on the device, the planes of Sentinel-2
    before those of Sentinel-1; ``observations`` (B, S, H, W) uint8, one plane for each sensor;
    ``tile`` (B,) int64, index in the plan, and what else `PlanDataset` says of a tile; the list
    ``error``; and the list ``scenes`` or, with `labels`, ``mask`` (B, H, W). With `windows` a batch
    is of one window, whose index ``window`` lists for each tile: the windows of some tiles come one
    after the other. With `places` there is what `PlaceDataset` adds.
    """

    def __init__(
        self,
        area: AreaSpec | None = None,
        places: PlacesSpec | None = None,
        start: str | None = None,
        end: str | None = None,
        windows: Sequence[Sequence[str]] | None = None,
        earthengine: EarthEngineSpec | None = None,
        emulator: EmulatorSpec | None = None,
        stac: StacSpec | None = None,
        sentinel2: SensorSpec | None = _SENTINEL2,
        sentinel1: Sentinel1Spec | None = None,
        normalize: Normalize = "thor_stats",
        statistics: Path | None = None,
        clamp_z: bool = False,
        nodata_fill: NodataFill = "value",
        tile_size: int = 288,
        stride: int | None = None,
        resolution: int = 10,
        shard_tiles: int = 8,
        anchor: tuple[float, float] | None = None,
        block_size: int = 576,
        batch_size: int = 32,
        num_workers: int = 4,
        cache_dir: str | Path | None = None,
        cache_store: StoreOptions | None = None,
        concurrency: int = 40,
        fetch_workers: int | None = None,
        ahead: int = 64,
        clamp: bool = True,
        strict: bool = False,
        labels: Path | None = None,
        split: tuple[float, float, float] = (0.6, 0.2, 0.2),
        split_side: int = 2,
    ) -> None:
        """Initialize a new CompositeDataModule instance.

        The groups of settings, `area` to `sentinel1` and `cache_store`, also take a dict of their
        fields.

        Args:
            area: Where to embed: a box, a point, a polygon file or a table of points.
            places: In place of `area`, a table with a row for each place, which gets a tile centred
                on it, in a time window of its own.
            start: First day of the time window, YYYY-MM-DD.
            end: Day after the last day of the time window, YYYY-MM-DD.
            windows: Several time windows in place of start and end, each [first day, day after its
                last]. There is one embedding for each, and a time axis in the maps.
            earthengine: Composites from Google Earth Engine. Set this, `emulator` or `stac`.
            emulator: Composites from an emulated Earth Engine on this machine.
            stac: Composites from a STAC API or a static STAC catalogue.
            sentinel2: Bands and recipe of Sentinel-2. None for Sentinel-1 alone.
            sentinel1: Polarisations and recipe of Sentinel-1. None for Sentinel-2 alone; {} for the
                defaults.
            normalize: How pixels are normalised: ``thor_stats`` (z-scores by THOR's pre-training
                statistics), ``dataset`` (z-scores by `statistics`), ``unit_scale`` (0 to 1),
                ``none``, or ``log1p_p99`` (rs-embed's scaling of Sentinel-1, for comparison only).
            statistics: File that ``thor-geo stats`` wrote, for ``normalize: dataset``.
            clamp_z: Clamp z-scores to -5..5, as in pre-training.
            nodata_fill: What pixels without an observation become: ``value`` (the fill value, as if
                it were measured) or ``mean`` (of the tile's observed pixels, as in pre-training).
            tile_size: Side of a tile in pixels.
            stride: Distance between tiles in pixels. None for `tile_size`; less makes them overlap.
            resolution: Pixel size in metres.
            shard_tiles: Side of a shard in tiles.
            anchor: Upper-left corner (x, y) of some tile in metres, for data on an odd grid.
            block_size: Side in pixels of the blocks that are fetched and cached.
            batch_size: Tiles per batch; batches never cross a shard.
            num_workers: Processes that read cached composites.
            cache_dir: Folder where composites are kept, or its address in an object store
                (s3://bucket/cache, gs://, az://); None for $THOR_GEO_CACHE, or ~/.cache/thor-geo.
            cache_store: How the object store of `cache_dir` is reached.
            concurrency: Requests in flight over all processes, and all jobs that run at once; an
                Earth Engine project may have 40.
            fetch_workers: Most requests in flight per process. None for an equal share.
            ahead: Number of blocks that fetching may be ahead of the model.
            clamp: Clamp values outside the sensor's valid range. False stops the run at them.
            strict: Stop at the first tile that cannot be produced, instead of recording it.
            labels: Raster of integer labels in any CRS, for training and testing.
            split: Shares of the tiles for training, validation and test.
            split_side: Side in tiles of the squares that are split.

        Raises:
            ConfigError: If a setting is invalid, or does not go with `windows`.
        """
        check_fractions(split)
        check_least(64, block_size=block_size)
        check_least(1, concurrency=concurrency, ahead=ahead, fetch_workers=fetch_workers)
        check_least(1, split_side=split_side)
        super().__init__(batch_size=batch_size, num_workers=num_workers, strict=strict)
        self.area_spec, places_spec = one_ground(area, places)
        self.sensors = Sensors.on_grid(
            resolution,
            as_spec(SensorSpec, sentinel2, "sentinel2"),
            as_spec(Sentinel1Spec, sentinel1, "sentinel1"),
        )
        if places_spec is None:
            self.windows = Windows.from_dates(start, end, windows)
            check_windows(self.windows, sentinel2=self.sensors.sentinel2, labels=labels)
        else:
            refuse_beside_places(stride=stride, anchor=anchor, windows=windows, labels=labels)
            self._table = PlaceTable(
                places_spec,
                start=start,
                end=end,
                earliest=self.sensors.earliest,
                generated=lambda: self.source.places_table(),
            )
        #: The first sensor, whose planes come first.
        self.sensor = next(iter(self.sensors.by_kind.values()))
        # The zone is a placeholder: the plan makes one lattice for each of the area's zones.
        self.lattice = Lattice(
            epsg=32601,
            tile_size=tile_size,
            stride=stride,
            resolution=resolution,
            shard_tiles=shard_tiles,
            anchor=anchor,
        )
        self.source = CompositeSource(
            source=chosen_source(
                earthengine=as_spec(EarthEngineSpec, earthengine, "earthengine"),
                emulator=as_spec(EmulatorSpec, emulator, "emulator"),
                stac=as_spec(StacSpec, stac, "stac"),
            ),
            sensors=self.sensors,
            cache_dir=cache_location(cache_dir, as_spec(StoreOptions, cache_store, "cache_store")),
            pool_size=concurrency,
        )
        self._set_normalisation(
            self.sensors.selection, normalize, statistics, clamp_z=clamp_z, nodata_fill=nodata_fill
        )
        self.block_size, self.clamp = block_size, clamp
        self.concurrency, self.fetch_workers, self.ahead = concurrency, fetch_workers, ahead
        self.labels, self.split, self.split_side = expanded_path(labels), split, split_side
        self._with_labels: PlanDataset | None = None
        self.splits: dict[str, npt.NDArray[np.int64]] = {}

    def connect(self) -> Connection:
        """Connect to the source; later calls return the same connection.

        A run's first process calls it before it launches others, so that they share one emulator.
        """
        return self.feed.connect()

    @cached_property
    def feed(self) -> Feed:
        """Where composites come from, with the window of all rows where there is a table."""
        if self._table is not None:
            self.load_plan()  # whose rows give the windows
        return Feed(FeedSpec(source=self.source, windows=self.windows, block_size=self.block_size))

    def load_plan(self) -> Plan:
        """Plan the area or the table; later calls return the same plan.

        Raises:
            AreaError: If the area is invalid or holds no tile.
            ConfigError: If the table cannot be read, or has a row that cannot be embedded.
        """
        if self.plan is None and self._table is not None:
            self.plan = self._table.plan(
                self.lattice, self.sensors.selection, block_size=self.block_size
            )
            #: The time windows; of a table one, from the first start to the last end.
            self.windows = span_of(self.plan)
        if self.plan is None:
            assert self.area is not None
            self.plan = Plan.from_area(self.area, self.lattice)
        return self.plan

    @cached_property
    def area(self) -> Area | None:
        """The area, read once; None for a table of places."""
        return None if self.area_spec is None else self.area_spec.load()

    def setup(self, stage: str) -> None:
        """Plan the area or the table, connect to the source, and sign in.

        Raises:
            ConfigError: If Lightning's own sampler is on; or, for a stage that trains or tests,
                labels are missing, or there is a list of windows.
        """
        plan = self.load_plan()
        if stage == "predict":
            refuse_lightnings_sampler(self.trainer)
        else:
            refuse_training(self.windows, stage)
            if self._table is not None:
                raise ConfigError(
                    "data.places",
                    str(self._table.spec.file),
                    f"a table of places is for predict, not for {stage}",
                    "Train on data.area with data.labels, or use `thor-geo probe` on the run.",
                )
            check_labels(self.labels, stage)
            self.splits = split_tiles(plan, self.split, side=self.split_side)
        # Before weights are downloaded, and a directory is bound to a project that turns out wrong.
        rank, world_size = self._rank()
        concurrency = self.request_slots(rank, world_size)
        if rank == 0:
            warn_of_crowding(self.job.running * world_size, self.concurrency)
        self.feed.start(concurrency=concurrency, ahead=self.ahead)

    def request_slots(self, rank: int = 0, world_size: int = 1) -> int:
        """Return how many requests a rank may have in flight.

        Args:
            rank: Rank within this job.
            world_size: Ranks of a job.
        """
        share = self.job.share(self.concurrency, rank=rank, world_size=world_size)
        return share if self.fetch_workers is None else min(share, self.fetch_workers)

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this rank's unfinished shards, in order, and start to fetch their blocks."""
        sampler = self._unfinished(self.load_plan(), len(self.windows))
        dataset = self._dataset(sampler.blocks(self.block_size), strict=self.strict)
        return self._loader(dataset, batch_sampler=sampler)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return shuffled tiles of the training split, with masks."""
        return self._labelled("train")

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return tiles of the validation split, with masks."""
        return self._labelled("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return tiles of the test split, with masks."""
        return self._labelled("test")

    def on_before_batch_transfer(
        self, batch: dict[str, Any], dataloader_idx: int
    ) -> dict[str, Any]:
        """Raise what stopped a worker, as it was, or the prefetch process."""
        self.feed.check()
        return super().on_before_batch_transfer(batch, dataloader_idx)

    def teardown(self, stage: str) -> None:
        """End the prefetch process, and the emulator if this process started it."""
        self.feed.close()
        self._with_labels = None

    def on_exception(self, exception: BaseException) -> None:
        """End what was started: Lightning calls no teardown after an error."""
        self.teardown("predict")

    def settings(self) -> dict[str, Any]:
        """Return everything of the data that changes the numbers."""
        return {
            **self.sensors.settings(self.connect().catalogues),
            **self.windows.settings(),
            **self.place_settings(),
            **self.normalize.settings(),
            "tile_size": self.lattice.tile_size,
            "stride": self.lattice.step,
            "resolution": self.lattice.resolution,
            "batch_size": self.batch_size,
            "recipe_version": RECIPE_VERSION,
            # A tile's scenes are those of all blocks it touches.
            "block_size": self.block_size,
        }

    def info(self) -> dict[str, Any]:
        """Return what a reader of the outputs wants to know besides the settings."""
        return {
            "source": self.source.name,
            "normalization": self.normalize.mode,
            "statistics": None if self.statistics is None else self.statistics.name,
            "scenes": "pinned per block at its first request, kept in the cache",
            **self.windows.settings(),
            **self.sensors.info(),
        }

    def truecolour(
        self, epsg: int, bounds: Bounds, shape: tuple[int, int], window: int = 0
    ) -> npt.NDArray[np.uint8] | None:
        """Return a picture of cached composites, for a quicklook.

        Args:
            epsg: UTM zone.
            bounds: Left, bottom, right, top in metres, on the pixel grid.
            shape: Height and width of the picture in pixels.
            window: Index of the time window, of a table of places among the plan's.

        Returns:
            (height, width, 3) uint8, or None; see `composite_picture`.
        """
        plan = self.load_plan()
        spans = plan.windows if isinstance(plan, PlacePlan) else self.windows.spans
        return self.feed.picture(plan.lattices[0], epsg, bounds, shape, spans[window])

    def fetch_cost(self) -> dict[str, float]:
        """Return what fetching has cost this process so far; see `FetchStats`."""
        return self.feed.cost()

    def coverage(self) -> Coverage | None:
        """Return where and when the source's scenes are; see `CompositeSource.coverage`."""
        return self.source.coverage()

    def left_out(self, tiles: Iterable[int]) -> dict[str, str]:
        """Return the scenes that are left out of the composites of some tiles, and why.

        Args:
            tiles: Indices in the plan; their composites are in the cache, unless they failed.
        """
        return self.feed.left_out(self.load_plan(), tiles)

    def _dataset(
        self, blocks: Iterable[NeededBlock], *, strict: bool
    ) -> PlanDataset | WindowDataset | PlaceDataset:
        plan = self.load_plan()
        if isinstance(plan, PlacePlan):
            return self.feed.place_dataset(
                plan,
                blocks,
                polygons=None if self._table is None else self._table.places.polygons,
                clamp=self.clamp,
                strict=strict,
                every_scene=self.strict,
            )
        assert self.area is not None
        return self.feed.dataset(
            plan,
            self.area.zones(),
            blocks,
            clamp=self.clamp,
            strict=strict,
            every_scene=self.strict,
        )

    def _labelled(self, stage: str) -> DataLoader[dict[str, Any]]:
        plan, labels = self.load_plan(), check_labels(self.labels, stage)
        if self._with_labels is None:  # one prefetch process serves all stages
            blocks = all_blocks(plan, self.block_size)
            self._with_labels = with_labels(self._dataset(blocks, strict=True), labels)
        indices = labelled_tiles(self._with_labels, self.splits[stage].tolist())
        check_split(indices, self.split, stage=stage, tiles=len(plan))
        subset: Dataset[dict[str, Any]] = Subset(self._with_labels, indices)
        return self._loader(subset, batch_size=self.batch_size, shuffle=stage == "train")
