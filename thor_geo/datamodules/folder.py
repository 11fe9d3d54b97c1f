"""FolderDataModule: a folder of GeoTIFFs in, batches of normalised tiles out."""

from __future__ import annotations

import math
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader

from thor_geo.datamodules.places import PlaceTable, refuse_beside_places, span_of
from thor_geo.datamodules.planned import PlannedDataModule
from thor_geo.datamodules.sampler import refuse_lightnings_sampler
from thor_geo.datasets import FolderDataset, PlaceDataset, PlanDataset
from thor_geo.datasets.footprints import ZonedArea, covered_area, grid_anchors
from thor_geo.datasets.geotiff import RasterFile, content_sha256, find_files, read_headers
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Bounds, Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import PlacesSpec
from thor_geo.ground.plan import Plan
from thor_geo.specs import NodataFill, Normalize, Windows
from thor_geo.specs.bands import select_bands

_Group = TypeVar("_Group", AreaSpec, PlacesSpec)
# What a group of settings may hold, for messages.
_FIELDS = {
    "area": "bbox (with crs), point and buffer_m, file (with layer), or points",
    "places": "file, and what PlacesSpec has besides",
}


class FolderDataModule(PlannedDataModule):
    """Tiles of GeoTIFFs that are already there, of any of THOR's channels, for prediction.

    Batches hold ``image`` (B, C, H, W), normalised float32 on the device; ``observations``
    (B, S, H, W) uint8, one plane for each sensor: 1 where all its bands have data, else 0; ``tile``
    (B,) int64, index in the plan, and what else `PlanDataset` says of a tile; and the lists
    ``error`` and ``scenes`` (names of files).
    """

    def __init__(
        self,
        paths: str | list[str],
        bands: list[str],
        start: str | None = None,
        end: str | None = None,
        # No AreaSpec: where this class replaces another, the parser would keep that one's area.
        area: dict[str, Any] | None = None,
        places: dict[str, Any] | None = None,
        resolution: int = 10,
        scale: float | list[float] | None = None,
        offset: float | list[float] | None = None,
        nodata: float | None = None,
        normalize: Normalize = "thor_stats",
        statistics: Path | None = None,
        clamp_z: bool = False,
        nodata_fill: NodataFill = "value",
        tile_size: int = 288,
        stride: int | None = None,
        shard_tiles: int = 8,
        anchor: tuple[float, float] | None = None,
        batch_size: int = 32,
        num_workers: int = 4,
        strict: bool = False,
    ) -> None:
        """Initialize a new FolderDataModule instance; no file is looked at yet.

        Args:
            paths: A folder of GeoTIFFs, a glob, a file, or a list of them.
            bands: THOR channels or TerraTorch names of the files' bands, in their order.
            start: First day on which the pixels were taken, YYYY-MM-DD. Outputs carry it; nothing
                is filtered by it. None only where `places` have dates.
            end: Day after the last day on which the pixels were taken, YYYY-MM-DD.
            area: Only tiles that meet this area are embedded. It has the fields of AreaSpec. None
                for all ground that the files cover.
            places: In place of `area`, a table with a row for each place, which gets a tile centred
                on it; see PlacesSpec for its fields. Its dates are recorded, and filter nothing.
            resolution: Pixel size of the files in metres.
            scale: Factor of ``value x scale + offset``, which is reflectance 0..1, dB or kelvin;
                None for what the files say. One number, or one for each band; 0.01 is for
                reflectance in per cent.
            offset: Summand of ``value x scale + offset``; None for what the files say. One number,
                or one for each band.
            nodata: Value of pixels without data; None for what each file says.
            normalize: How pixels are normalised: ``thor_stats`` (z-scores by THOR's pre-training
                statistics), ``dataset`` (z-scores by `statistics`), ``unit_scale`` (0 to 1,
                Sentinel-2 only) or ``none``.
            statistics: File that ``thor-geo stats`` wrote, for ``normalize: dataset``.
            clamp_z: Clamp z-scores to -5..5, as in pre-training.
            nodata_fill: What pixels without data become: ``value`` (the fill value, as if it were
                measured) or ``mean`` (of the tile's other pixels, as in pre-training).
            tile_size: Side of a tile in pixels.
            stride: Distance between tiles in pixels. None for `tile_size`; less makes them overlap.
            shard_tiles: Side of a shard in tiles. A shard is computed and written as a whole.
            anchor: Upper-left corner (x, y) of some tile in metres. None for the usual tiles, on
                the files' own pixels.
            batch_size: Tiles per batch; batches never cross a shard.
            num_workers: Processes that read the files.
            strict: Stop at the first tile that cannot be read, instead of recording it.

        Raises:
            ConfigError: If a setting is invalid.
            BandError: If a band is unknown or named twice.
        """
        super().__init__(batch_size=batch_size, num_workers=num_workers, strict=strict)
        self.paths = paths
        self.band_names = tuple(bands)
        self.selection = select_bands(self.band_names)
        self.area_spec, places_spec = _as_group(AreaSpec, area), _as_group(PlacesSpec, places)
        if places_spec is None:
            self.windows = Windows.from_dates(start, end)
        else:
            refuse_beside_places(area=area, stride=stride, anchor=anchor)
            self._table = PlaceTable(places_spec, start=start, end=end, earliest=None)
        self.scale = _for_each_band("scale", scale, len(self.band_names))
        self.offset = _for_each_band("offset", offset, len(self.band_names))
        self.nodata = nodata
        # Zone and, unless it is given, anchor are placeholders: the files have their own.
        self.lattice = Lattice(
            epsg=32601,
            tile_size=tile_size,
            stride=stride,
            resolution=resolution,
            shard_tiles=shard_tiles,
            anchor=anchor,
        )
        self._set_normalisation(
            self.selection, normalize, statistics, clamp_z=clamp_z, nodata_fill=nodata_fill
        )

    @staticmethod
    def channels_of(bands: Sequence[str]) -> list[str]:
        """Return the names under which the model takes the files' bands: those that were given."""
        select_bands(bands)
        return list(bands)

    @cached_property
    def files(self) -> list[RasterFile]:
        """The files' headers, by name.

        Raises:
            ConfigError: If there are none, or one cannot be read or lies in no UTM zone.
        """
        return read_headers(find_files(self.paths), self.lattice.resolution)

    @cached_property
    def area(self) -> ZonedArea:
        """The ground that is planned, zone by zone: what the files cover, within the area.

        Raises:
            AreaError: If the area is invalid, or no file meets it.
        """
        return covered_area(self.files, None if self.area_spec is None else self.area_spec.load())

    @cached_property
    def zones(self) -> dict[int, FolderDataset]:
        """The dataset of each zone that is planned, by EPSG code.

        Raises:
            ConfigError: If a file has another number of bands, or its units are unknown.
        """
        return {
            epsg: FolderDataset(
                [file for file in self.files if file.epsg == epsg],
                self.selection,
                window=self.windows.span,
                scale=self.scale,
                offset=self.offset,
                nodata=self.nodata,
            )
            for epsg in (self.area.zones() if self._table is None else self._zones_of_places)
        }

    @property
    def _zones_of_places(self) -> list[int]:
        return [lattice.epsg for lattice in self.load_plan().lattices]

    def load_plan(self) -> Plan:
        """Read the files' headers and plan the ground they cover; later calls return the same plan.

        Raises:
            ConfigError: If the files are not what the settings say, or not on one grid.
            AreaError: If the area is invalid or holds no tile.
        """
        if self.plan is None:
            anchors = grid_anchors(self.files, self.lattice)
            if self._table is not None:
                self.plan = self._table.plan(
                    self.lattice, self.selection, block_size=None, anchors=anchors
                )
                #: When the pixels were taken; of a table, from the first start to the last end.
                self.windows = span_of(self.plan)
                return self.plan
            assert self.zones  # their files are checked
            anchor = None if self.lattice.anchor is not None else anchors
            self.plan = Plan.from_area(self.area, self.lattice, anchor)
        return self.plan

    def setup(self, stage: str) -> None:
        """Plan the ground.

        Raises:
            ConfigError: If Lightning's own sampler is on, or *stage* is not ``predict``.
        """
        if stage != "predict":
            raise ConfigError(
                "data",
                type(self).__name__,
                f"it has no labels, which `{stage}` needs",
                "Use CompositeDataModule with data.labels, or TorchGeo's own datamodules.",
            )
        refuse_lightnings_sampler(self.trainer)
        self.load_plan()

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this rank's unfinished shards, in order."""
        plan = self.load_plan()
        sampler = self._unfinished(plan)
        channels = len(self.band_names)
        sensors = next(iter(self.zones.values())).sensors
        dataset: PlanDataset
        if isinstance(plan, PlacePlan):
            assert self._table is not None
            dataset = PlaceDataset(
                plan,
                self.zones,
                polygons=self._table.places.polygons,
                channels=channels,
                sensors=sensors,
                dtype=torch.float32,
                strict=self.strict,
            )
        else:
            dataset = PlanDataset(
                plan,
                self.zones,
                channels=channels,
                sensors=sensors,
                dtype=torch.float32,
                strict=self.strict,
            )
        return self._loader(dataset, batch_sampler=sampler)

    @cached_property
    def content(self) -> str:
        """What tells the files' content apart; see `content_sha256`."""
        return content_sha256(self.files)

    def settings(self) -> dict[str, Any]:
        """Return everything of the data that changes the numbers."""
        nodata = self.nodata
        return {
            "files_sha256": self.content,
            "bands": list(self.band_names),
            **self.windows.settings(),
            **self.place_settings(),
            "scale": self.scale,
            "offset": self.offset,
            # JSON has no NaN.
            "nodata": "nan" if nodata is not None and math.isnan(nodata) else nodata,
            **self.normalize.settings(),
            "tile_size": self.lattice.tile_size,
            "stride": self.lattice.step,
            "resolution": self.lattice.resolution,
            "batch_size": self.batch_size,
        }

    def info(self) -> dict[str, Any]:
        """Return what a reader of the outputs wants to know besides the settings."""
        return {
            "source": "GeoTIFFs",
            "files": len(self.files),
            "normalization": self.normalize.mode,
            "statistics": None if self.statistics is None else self.statistics.name,
            "scenes": "names of the files that a tile meets",
            **self.windows.settings(),
        }

    def truecolour(
        self, epsg: int, bounds: Bounds, shape: tuple[int, int], window: int = 0
    ) -> npt.NDArray[np.uint8] | None:
        """Return a picture of the files, for a quicklook; see `FolderDataset.picture`.

        Args:
            epsg: UTM zone.
            bounds: Left, bottom, right, top in metres.
            shape: Height and width of the picture in pixels.
            window: Index of the time window of a table of places; files are the same in all.
        """
        return self.zones[epsg].picture(bounds, shape)


def _as_group(kind: type[_Group], fields: Mapping[str, Any] | None) -> _Group | None:
    """Return a group of settings from a dict of its fields; None for none.

    Raises:
        ConfigError: If a field is unknown, missing or invalid.
    """
    if fields is None or isinstance(fields, kind):
        return fields
    name = "area" if kind is AreaSpec else "places"
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    try:
        known = parser.parse_object(dict(fields))
    except ArgumentError as error:
        raise ConfigError(
            f"data.{name}",
            dict(fields),
            " ".join(str(error).split()).rstrip(".:"),
            f"Give {_FIELDS[name]}.",
        ) from error
    return kind(**known.as_dict())


def _for_each_band(
    name: str, value: float | Sequence[float] | None, bands: int
) -> list[float] | None:
    """Return a number for each band, or None.

    Raises:
        ConfigError: If there are more or fewer numbers than bands, or one is not finite.
    """
    if value is None:
        return None
    values = [float(value)] * bands if isinstance(value, int | float) else [*map(float, value)]
    if len(values) != bands or not all(map(math.isfinite, values)):
        raise ConfigError(
            name,
            value,
            f"not a finite number for each of the {bands} bands",
            "Give one number for all bands, or a list with one for each.",
        )
    return values
