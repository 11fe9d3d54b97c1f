"""CompositeDataModule: an area and a window in, batches of normalised tiles out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Subset

from datamodules.feed import Feed, FeedSpec, warn_of_crowding
from datamodules.labels import all_blocks, check_labels, labelled_tiles, with_labels
from datamodules.ledger import Ledger
from datamodules.sampler import ShardBatchSampler, refuse_lightnings_sampler
from datamodules.source import Connection, Source, SourceSpec
from datamodules.splits import check_fractions, split_tiles
from thor_geo.area import Area, AreaSpec
from thor_geo.bands import S2_DEFAULT_BANDS
from thor_geo.datasets import PlanDataset, collate
from thor_geo.earthengine import RECIPE_VERSION
from thor_geo.earthengine.session import CredentialsKind
from thor_geo.errors import ConfigError
from thor_geo.grid import Block, Lattice
from thor_geo.job import Job
from thor_geo.plan import Plan
from thor_geo.specs import (
    Composite,
    Mask,
    Normalize,
    SensorSpec,
    TemporalSpec,
    check_choice,
)
from thor_geo.stac import Sign
from thor_geo.stac.recipe import stac_spec
from thor_geo.transforms import THORNormalize


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser()


class CompositeDataModule(LightningDataModule):
    """Tiles of composites over an area, for prediction and for training with labels.

    Batches hold ``image`` (B, C, H, W), normalised float32 on the device; ``observations``
    (B, 1, H, W) uint8; ``tile`` (B,) int64, index in the plan; with `labels`, ``mask`` (B, H, W);
    and the lists ``error`` and ``scenes``.
    """

    def __init__(
        self,
        area: AreaSpec,
        start: str,
        end: str,
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
        mask: Mask = "none",
        normalize: Normalize = "thor_stats",
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
            bands: Earth Engine band names, in the order of the planes.
            cloudy_pct: Scenes cloudier than this percentage are left out.
            composite: ``median`` or ``mean`` over the scenes that pass.
            mask: ``none``, or ``scl`` to mask cloud, cirrus and shadow pixels.
            normalize: ``thor_stats`` (pre-training z-scores), ``unit_scale`` (0..1) or ``none``.
            tile_size: Side of a tile in pixels.
            stride: Distance of tiles in pixels; None for `tile_size`.
            resolution: Pixel size in metres.
            shard_tiles: Side of a shard in tiles.
            anchor: Upper-left corner (x, y) of some tile in metres, for data on an odd grid.
            block_size: Side in pixels of the blocks that are fetched and cached.
            batch_size: Tiles per batch; batches never cross a shard.
            num_workers: DataLoader workers.
            cache_dir: Where blocks are kept; None for $THOR_GEO_CACHE or ~/.cache/thor-geo.
            concurrency: Requests in flight over all ranks, and over the jobs that run at once (a
                project may have 40).
            ahead: Blocks the prefetch process may be ahead of the model.
            clamp: Clamp values outside 0..10000; false stops the run at them.
            strict: Stop at the first tile that cannot be produced, instead of recording it.
            labels: Raster of integer labels, for fit, validate and test.
            split: Shares of train, val and test.
            split_side: Side in tiles of the squares that are split.

        Raises:
            ConfigError: If a setting is invalid.
        """
        check_choice("normalize", normalize, Normalize)
        check_fractions(split)
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("block_size", block_size, 64),
            ("concurrency", concurrency, 1),
            ("ahead", ahead, 1),
            ("split_side", split_side, 1),
        ):
            if value < least:
                raise ConfigError(name, value, f"less than {least}", f"Give {least} or more.")
        super().__init__()
        # More ranks than shards is no error. Lightning's constructor sets it on the instance.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.area_spec = area if isinstance(area, AreaSpec) else AreaSpec(**area)
        self.window = TemporalSpec.range(start, end)
        self.sensor = SensorSpec(
            collection=collection,
            bands=tuple(bands),
            scale_m=resolution,
            cloudy_pct=cloudy_pct,
            composite=composite,
            mask=mask,
        )
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
            stac = stac_spec(
                self.sensor, stac_url, stac_collection, stac_assets, stac_offset, stac_sign
            )
        folder = cache_dir or os.environ.get("THOR_GEO_CACHE", "~/.cache/thor-geo")
        spec = SourceSpec(
            source=source,
            collection=collection,
            cache_dir=Path(folder).expanduser(),
            project=project,
            credentials=credentials,
            service_account_file=_path(service_account_file),
            url=url,
            emulator_archive=_path(emulator_archive),
            pool_size=concurrency,
            stac=stac,
        )
        self.feed = Feed(
            FeedSpec(source=spec, sensor=self.sensor, window=self.window, block_size=block_size)
        )
        self.normalize_name: Normalize = normalize
        self.normalize = THORNormalize(self.sensor.selection, mode=normalize)
        self.block_size = block_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.concurrency = concurrency
        self.ahead = ahead
        self.clamp = clamp
        self.strict = strict
        self.labels = _path(labels)
        self.split = split
        self.split_side = split_side
        #: The part of the plan that this process, or its ranks, predict.
        self.job = Job()
        self.ledger: Ledger | None = None
        self.plan: Plan | None = None
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
            self.plan = Plan.of(self._area, self.lattice)
        return self.plan

    @cached_property
    def _area(self) -> Area:
        return self.area_spec.load()

    def setup(self, stage: str) -> None:
        """Plan the area, connect to the source, and sign in.

        Raises:
            ConfigError: If Lightning's own sampler is on, or labels are missing for a stage that
                needs them.
        """
        plan = self.load_plan()
        if stage == "predict":
            refuse_lightnings_sampler(self.trainer)
        else:
            check_labels(self.labels, stage)
            self.splits = split_tiles(plan, self.split, side=self.split_side)
        # Before weights are downloaded, and a directory is bound to a project that turns out wrong.
        rank, world_size = self._rank()
        concurrency = self.job.share(self.concurrency, rank=rank, world_size=world_size)
        if rank == 0:
            warn_of_crowding(self.job.running * world_size, self.concurrency)
        self.feed.start(concurrency=concurrency, ahead=self.ahead)

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this rank's unfinished shards, in order, and start to fetch their blocks."""
        plan = self.load_plan()
        if self.ledger is None:
            shards = np.asarray(self.job.part(len(plan.shards)), dtype=np.int64)
        else:
            shards = self.ledger.unfinished()
        rank, world_size = self._rank()
        sampler = ShardBatchSampler(
            plan, self.batch_size, rank=rank, world_size=world_size, shards=shards
        )
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

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Move what the model needs; float64 transforms stay behind (MPS has no float64)."""
        moved = {
            key: value.to(device, non_blocking=True)
            for key, value in batch.items()
            if key in ("image", "observations", "tile", "mask")
        }
        return {**batch, **moved}

    def on_before_batch_transfer(
        self, batch: dict[str, Any], dataloader_idx: int
    ) -> dict[str, Any]:
        """Raise what stopped a worker, as it was, or the prefetch process."""
        self.feed.check()
        for error in batch.get("fatal", ()):
            raise error
        return batch

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Normalise on the device, from int16."""
        batch["image"] = self.normalize(batch["image"])
        return batch

    def teardown(self, stage: str) -> None:
        """End the prefetch process, and the emulator if this process started it."""
        self.feed.close()
        self._with_labels = None

    def on_exception(self, exception: BaseException) -> None:
        """End what was started: Lightning calls no teardown after an error."""
        self.teardown("predict")

    def settings(self) -> dict[str, Any]:
        """Return everything of the data that changes the numbers."""
        means, stds = self.sensor.selection.statistics
        return {
            "collection": self.sensor.collection,
            "bands": list(self.sensor.bands),
            "start": self.window.start.isoformat(),
            "end": self.window.end.isoformat(),
            "cloudy_pct": self.sensor.cloudy_pct,
            "composite": self.sensor.composite,
            "mask": self.sensor.mask,
            "fill_value": self.sensor.fill_value,
            "normalize": self.normalize_name,
            "mean": list(means),
            "std": list(stds),
            "tile_size": self.lattice.tile_size,
            "stride": self.lattice.step,
            "resolution": self.lattice.resolution,
            "batch_size": self.batch_size,
            "catalogue": self.connect().catalogue,
            "recipe_version": RECIPE_VERSION,
            # A tile's scenes are those of all blocks it touches.
            "block_size": self.block_size,
        }

    def info(self) -> dict[str, Any]:
        """Return what a reader of the outputs wants to know besides the settings."""
        return {
            "source": self.feed.spec.source.source,
            "normalization": self.normalize_name,
            "scenes": "pinned per block at its first request, kept in the cache",
            "start": self.window.start.isoformat(),
            "end": self.window.end.isoformat(),
        }

    def truecolour(
        self, epsg: int, bounds: tuple[float, float, float, float], shape: tuple[int, int]
    ) -> npt.NDArray[np.uint8] | None:
        """Return a picture of cached composites, for a quicklook.

        Args:
            epsg: UTM zone.
            bounds: Left, bottom, right, top in metres, on the pixel grid.
            shape: Height and width of the picture in pixels.

        Returns:
            (height, width, 3) uint8, or None; see `composite_picture`.
        """
        return self.feed.picture(self.load_plan().lattices[0], epsg, bounds, shape)

    def fetch_cost(self) -> dict[str, float]:
        """Return what fetching has cost this process so far; see `FetchStats`."""
        return self.feed.cost()

    def _rank(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _dataset(self, blocks: Iterable[Block], *, strict: bool) -> PlanDataset:
        return self.feed.dataset(
            self.load_plan(), self._area.zones(), blocks, clamp=self.clamp, strict=strict
        )

    def _labelled(self, stage: str) -> DataLoader[dict[str, Any]]:
        plan, labels = self.load_plan(), check_labels(self.labels, stage)
        if self._with_labels is None:  # one prefetch process serves all stages
            blocks = all_blocks(plan, self.block_size)
            self._with_labels = with_labels(self._dataset(blocks, strict=True), labels)
        tiles = self.splits[stage].tolist()
        indices = labelled_tiles(self._with_labels, tiles, stage=stage, split=self.split)
        subset: Dataset[dict[str, Any]] = Subset(self._with_labels, indices)
        return self._loader(subset, batch_size=self.batch_size, shuffle=stage == "train")

    def _loader(
        self, dataset: Dataset[dict[str, Any]], **kwargs: Any
    ) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            dataset,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            **kwargs,
        )
