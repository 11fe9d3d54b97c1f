"""CompositeDataModule: an area and a window in, batches of normalised tiles out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset, Subset

from thor_geo.datamodules.feed import Feed, FeedSpec, warn_of_crowding
from thor_geo.datamodules.labels import all_blocks, check_labels, labelled_tiles, with_labels
from thor_geo.datamodules.planned import PlannedDataModule
from thor_geo.datamodules.sampler import refuse_lightnings_sampler
from thor_geo.datamodules.sensors import Sensors, as_sentinel1, sentinel2_of
from thor_geo.datamodules.source import Connection, Source, SourceSpec, cache_folder, expanded
from thor_geo.datamodules.splits import check_fractions, check_split, split_tiles
from thor_geo.datamodules.windows import check_windows, refuse_training
from thor_geo.datasets import PlanDataset, WindowDataset
from thor_geo.ground.area import Area, AreaSpec
from thor_geo.ground.lattice import Block, Bounds, Lattice
from thor_geo.ground.plan import Plan
from thor_geo.sources.earthengine import RECIPE_VERSION
from thor_geo.sources.earthengine.spec import CredentialsKind
from thor_geo.sources.stac import Sign
from thor_geo.sources.stac.recipe import stac_spec
from thor_geo.specs import (
    CloudMask,
    CloudScoreBand,
    Composite,
    NodataFill,
    Normalize,
    Windows,
    check_least,
)
from thor_geo.specs.bands import S2_DEFAULT_BANDS
from thor_geo.specs.sentinel1 import Sentinel1Spec
from thor_geo.transforms import THORNormalize
from thor_geo.transforms.statistics import Statistics


class CompositeDataModule(PlannedDataModule):
    """Tiles of composites over an area, for prediction and for training with labels.

    Batches hold ``image`` (B, C, H, W), normalised float32 on the device, the planes of Sentinel-2
    before those of Sentinel-1; ``observations`` (B, S, H, W) uint8, one plane for each sensor;
    ``tile`` (B,) int64, index in the plan; with `labels`, ``mask`` (B, H, W); and the lists
    ``error`` and ``scenes``. With `windows` a batch is of one window, whose index ``window`` lists
    for each tile: the windows of some tiles come one after the other.
    """

    def __init__(
        self,
        area: AreaSpec,
        start: str | None = None,
        end: str | None = None,
        windows: Sequence[Sequence[str]] | None = None,
        source: Source = "earthengine",
        project: str | None = None,
        credentials: CredentialsKind = "auto",
        service_account_file: Path | None = None,
        url: str | None = None,
        emulator_archive: Path | None = None,
        stac_url: str | None = None,
        stac_collection: str | None = None,
        stac_assets: Mapping[str, str] | None = None,
        stac_offset: int | None = None,
        stac_sign: Sign = "none",
        collection: str = "COPERNICUS/S2_SR_HARMONIZED",
        bands: Sequence[str] = S2_DEFAULT_BANDS,
        cloudy_pct: float = 30.0,
        composite: Composite = "median",
        percentile: float | None = None,
        mask: CloudMask = "none",
        scl_classes: Sequence[int] | None = None,
        cloud_score_band: CloudScoreBand | None = None,
        cloud_score_threshold: float | None = None,
        scenes: Sequence[str] | None = None,
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
        cache_dir: Path | None = None,
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

        Args:
            area: Where; a dict of AreaSpec's fields will do.
            start: First day of the window, YYYY-MM-DD.
            end: Day after the window's last, YYYY-MM-DD.
            windows: Several windows in place of start and end, each [start, end], in ascending
                order; one embedding for each, and a time axis in the maps.
            source: ``earthengine``; ``emulator`` for a folder of scenes on this machine; ``stac``
                for a STAC API or a static STAC catalogue.
            project: Cloud project registered for Earth Engine.
            credentials: ``auto``, ``user``, ``service_account`` or ``application_default``.
            service_account_file: Path of a service account's JSON key.
            url: Another endpoint than Earth Engine's high-volume one.
            emulator_archive: Folder of scenes for the emulator; None generates one.
            stac_url: Root of a STAC API, or address or path of a static catalogue.
            stac_collection: Its collection; None for all items of a static catalogue.
            stac_assets: Where bands are, if metadata does not tell: ``{B4: red, B8: KEY#2}``.
            stac_offset: DN to add to all reflectances; None for what each item says.
            stac_sign: ``none``, or ``planetary_computer`` to have its files' addresses signed.
            collection: Earth Engine image collection.
            bands: Earth Engine band names, in the order of the planes; none for Sentinel-1 alone.
            cloudy_pct: Scenes cloudier than this percentage are left out.
            composite: ``median``, ``mean`` or ``percentile`` over the scenes that pass; ``mosaic``
                lays the least cloudy one on top.
            percentile: Which one, 0 to 100, for ``composite: percentile``.
            mask: Cloudy pixels are masked by ``scl`` (scene classification, Level-2A),
                ``cloud_score_plus`` or ``none``.
            scl_classes: Classes that ``mask: scl`` removes; None for 3, 8, 9, 10.
            cloud_score_band: ``cs`` or ``cs_cdf``, for ``cloud_score_plus``; None for cs_cdf.
            cloud_score_threshold: Least score of a clear pixel, 0 to 1; None for 0.6.
            scenes: Only these scenes, by ``system:index``; each must pass dates and cloudy_pct.
            sentinel1: Sentinel-1, too: a dict of Sentinel1Spec's fields; {} takes their defaults.
            normalize: ``thor_stats`` (pre-training z-scores), ``dataset`` (z-scores by
                `statistics`), ``unit_scale`` (0..1), ``none``, or ``log1p_p99`` (rs-embed's scaling
                of Sentinel-1, for comparison only).
            statistics: File that ``thor-geo stats`` wrote, for ``dataset``.
            clamp_z: Clamp z-scores to -5..5, as in pre-training.
            nodata_fill: Pixels without observation: ``value``, the fill as if it were measured, or
                ``mean`` of the tile's observed pixels, as in pre-training.
            tile_size: Side of a tile in pixels.
            stride: Distance of tiles in pixels; None for `tile_size`. Less overlaps them.
            resolution: Pixel size in metres.
            shard_tiles: Side of a shard in tiles.
            anchor: Upper-left corner (x, y) of some tile in metres, for data on an odd grid.
            block_size: Side in pixels of the blocks that are fetched and cached.
            batch_size: Tiles per batch; batches never cross a shard.
            num_workers: DataLoader workers.
            cache_dir: Where blocks are kept; None for $THOR_GEO_CACHE or ~/.cache/thor-geo.
            concurrency: Requests in flight over all ranks, and over the jobs that run at once (a
                project may have 40).
            fetch_workers: Most requests in flight of one rank; None for its share of `concurrency`.
            ahead: Blocks the prefetch process may be ahead of the model.
            clamp: Clamp values outside 0..10000; false stops the run at them.
            strict: Stop at the first tile that cannot be produced, instead of recording it.
            labels: Raster of integer labels, for fit, validate and test.
            split: Shares of train, val and test.
            split_side: Side in tiles of the squares that are split.

        Raises:
            ConfigError: If a setting is invalid, or does not go with `windows`.
        """
        check_fractions(split)
        check_least(0, num_workers=num_workers)
        check_least(64, block_size=block_size)
        check_least(
            1, batch_size=batch_size, concurrency=concurrency, ahead=ahead, split_side=split_side
        )
        if fetch_workers is not None:
            check_least(1, fetch_workers=fetch_workers)
        super().__init__()
        self.area_spec = area if isinstance(area, AreaSpec) else AreaSpec(**area)
        self.windows = Windows.of(start, end, windows)
        check_windows(self.windows, scenes=scenes, labels=labels)
        sentinel2 = sentinel2_of(
            bands,
            collection=collection,
            scale_m=resolution,
            cloudy_pct=cloudy_pct,
            composite=composite,
            percentile=percentile,
            mask=mask,
            scl_classes=scl_classes,
            cloud_score_band=cloud_score_band,
            cloud_score_threshold=cloud_score_threshold,
            scenes=scenes,
        )
        self.sensors = Sensors(
            resolution=resolution, sentinel2=sentinel2, sentinel1=as_sentinel1(sentinel1)
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
        stac = None
        if source == "stac":
            every = self.sensors.by_kind.values()
            stac = stac_spec(every, stac_url, stac_collection, stac_assets, stac_offset, stac_sign)
        spec = SourceSpec(
            source=source,
            collections={k: sensor.collection for k, sensor in self.sensors.by_kind.items()},
            cache_dir=cache_folder(cache_dir),
            project=project,
            credentials=credentials,
            service_account_file=expanded(service_account_file),
            url=url,
            emulator_archive=expanded(emulator_archive),
            pool_size=concurrency,
            linked=() if sentinel2 is None else sentinel2.linked,
            stac=stac,
        )
        self.feed = Feed(
            FeedSpec(source=spec, sensors=self.sensors, windows=self.windows, block_size=block_size)
        )
        self.statistics = expanded(statistics)
        self.normalize = THORNormalize(
            self.sensors.selection,
            mode=normalize,
            statistics=None if self.statistics is None else Statistics.read(self.statistics),
            clamp_z=clamp_z,
            nodata_fill=nodata_fill,
        )
        self.block_size = block_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.concurrency = concurrency
        self.fetch_workers = fetch_workers
        self.ahead = ahead
        self.clamp = clamp
        self.strict = strict
        self.labels = expanded(labels)
        self.split = split
        self.split_side = split_side
        self._with_labels: PlanDataset | None = None
        self.splits: dict[str, npt.NDArray[np.int64]] = {}

    def connect(self) -> Connection:
        """Connect to the source; later calls return the same connection.

        A run's first process calls it before it launches others, so that they share one emulator.
        """
        return self.feed.connect()

    def load_plan(self) -> Plan:
        """Plan the area; later calls return the same plan.

        Raises:
            AreaError: If the area is invalid or holds no tile.
        """
        if self.plan is None:
            self.plan = Plan.from_area(self.area, self.lattice)
        return self.plan

    @cached_property
    def area(self) -> Area:
        """The area, read once."""
        return self.area_spec.load()

    def setup(self, stage: str) -> None:
        """Plan the area, connect to the source, and sign in.

        Raises:
            ConfigError: If Lightning's own sampler is on; or, for a stage that trains or tests,
                labels are missing, or there is a list of windows.
        """
        plan = self.load_plan()
        if stage == "predict":
            refuse_lightnings_sampler(self.trainer)
        else:
            refuse_training(self.windows, stage)
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
            "source": self.feed.spec.source.source,
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
            window: Index of the time window.

        Returns:
            (height, width, 3) uint8, or None; see `composite_picture`.
        """
        lattice, span = self.load_plan().lattices[0], self.windows.spans[window]
        return self.feed.picture(lattice, epsg, bounds, shape, span)

    def fetch_cost(self) -> dict[str, float]:
        """Return what fetching has cost this process so far; see `FetchStats`."""
        return self.feed.cost()

    def _dataset(self, blocks: Iterable[Block], *, strict: bool) -> PlanDataset | WindowDataset:
        return self.feed.dataset(
            self.load_plan(), self.area.zones(), blocks, clamp=self.clamp, strict=strict
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
