"""Label rasters beside composites, for probes and for TerraTorch tasks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import shapely
from torchgeo.datasets import IntersectionDataset, RasterDataset

from thor_geo.datasets import PlanDataset, WindowDataset
from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import Block, blocks_meeting
from thor_geo.ground.plan import Plan


class LabelRaster(RasterDataset):
    """A raster of integer labels; samples hold ``mask`` int64 (H, W)."""

    is_image = False


def check_labels(labels: Path | None, stage: str) -> Path:
    """Return the label raster.

    Args:
        labels: Its path.
        stage: What it is needed for, for the message.

    Raises:
        ConfigError: If there is none.
    """
    if labels is None:
        raise ConfigError("labels", None, f"`{stage}` needs a target", "Give a label raster.")
    if not labels.exists():
        raise ConfigError("labels", str(labels), "no such file", "Give a label raster.")
    return labels


def all_blocks(plan: Plan, block_size: int) -> list[Block]:
    """Return the blocks under all tiles of a plan, each once, as tiles first meet them.

    Args:
        plan: The tiles.
        block_size: Side of a block in pixels.
    """
    blocks = {
        block.id: block
        for tile in plan.tiles(range(len(plan)))
        for block in blocks_meeting(tile, block_size)
    }
    return list(blocks.values())


def with_labels(dataset: PlanDataset | WindowDataset, labels: Path) -> PlanDataset:
    """Return the dataset with masks added to its samples, and errors raised rather than recorded.

    Args:
        dataset: Tiles of composites.
        labels: Raster of integer labels; brought to each zone's CRS and resolution by the nearest
            pixel.
    """
    assert isinstance(dataset, PlanDataset), "a list of windows is refused before"
    zones = {
        epsg: IntersectionDataset(composites, LabelRaster(str(labels)), spatial_only=True)
        for epsg, composites in dataset.zones.items()
    }
    return PlanDataset(
        dataset.plan, zones, channels=dataset.channels, sensors=dataset.sensors, strict=True
    )


def labelled_tiles(dataset: PlanDataset, indices: Iterable[int]) -> list[int]:
    """Return those of some tiles whose interior meets the labels.

    Args:
        dataset: What `with_labels` returned.
        indices: Plan indices.
    """
    ground = {epsg: zone.index.geometry.union_all() for epsg, zone in dataset.zones.items()}
    kept = []
    for index in indices:
        tile = dataset.plan.tile(index)
        if ground[tile.epsg].intersection(shapely.box(*tile.bounds)).area > 0:
            kept.append(index)
    return kept
