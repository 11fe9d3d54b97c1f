"""Two runs compared: rasters of the change, a table of the tiles and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.area import LONLAT
from thor_geo.ground.lattice import Bounds, zone_name
from thor_geo.pictures.sheet import save_png
from thor_geo.results.cells import ZoneCells, zone_cells
from thor_geo.results.change_picture import ChangeRaster, draw_change
from thor_geo.results.changes import SharedTiles, cell_distances, shared_tiles, shared_zones
from thor_geo.results.cog import run_tags, write_cog
from thor_geo.results.map_cut import MapCut, Thumbnail
from thor_geo.results.tables import ranking_lines, square_polygons, write_table
from thor_geo.results.tilemap import tile_rasters
from thor_geo.results.tiles import Tiles, read_tiles
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.target import atomic_target, check_target

if TYPE_CHECKING:
    import geopandas

_BAND = "cosine distance"
# Tags that files have for the earlier run, too.
_TAGS_OF_BOTH = frozenset({f"THOR_GEO_{key}" for key in ("START", "END", "RUN", "MODEL")})


@dataclass(frozen=True, kw_only=True, eq=False)
class RunComparison:
    """Two runs that `check_comparable` passes, and the folder that the comparison goes to.

    Attributes:
        before: The run that is compared to.
        after: The run whose lattice and tags the files have.
        windows: Which time window of each; None if there is only one.
        folder: Where the files go.
        overwrite: Whether earlier files may be replaced.
    """

    before: OpenedRun
    after: OpenedRun
    windows: tuple[int | None, int | None] = (None, None)
    folder: Path
    overwrite: bool = False

    def write(self, most: int, report: Callable[[str], None]) -> list[Path]:
        """Compare the runs and write the files.

        Args:
            most: How many of the most changed tiles to list, and to outline in the picture.
            report: Takes the summary of the tiles as text, before the maps are read.

        Returns:
            The files.

        Raises:
            ConfigError: If a file exists already.
            RunDirectoryError: If the runs have no place in common, or a file cannot be read or
                written.
        """
        runs = (self.before, self.after)
        zones: dict[int, tuple[ZoneCells, ZoneCells]] = {}
        if all(run.grid for run in runs):
            maps = [zone_cells(run, window=k) for run, k in zip(runs, self.windows, strict=True)]
            zones = shared_zones(maps[1], maps[0])
        tifs = {epsg: self._tif(epsg, "cells") for epsg in zones}
        table_path = self.folder / "change.parquet" if all(run.pooled for run in runs) else None
        picture = self.folder / "change.png"
        for path in (*tifs.values(), picture, *([] if table_path is None else [table_path])):
            for run in runs:
                check_target(run.run, path, folder=False, overwrite=self.overwrite)
        rasters: dict[int, ChangeRaster] = {}
        outlined: list[tuple[int, Bounds]] = []
        written: list[Path] = []
        tiles = shared = None
        if table_path is not None:
            tiles, shared = self._read_tiles()
            report(self._summary(tiles, shared, most))
            rasters = self._write_tile_rasters(tiles, shared)
            written += [self._tif(epsg, "tiles") for epsg in rasters]
        for epsg, (later, earlier) in zones.items():
            rasters[epsg] = self._write_cells(tifs[epsg], later, earlier)
            written.append(tifs[epsg])
        if not any(np.isfinite(raster.values).any() for raster in rasters.values()):
            raise RunDirectoryError(
                f"`{self.before.run.path}` and `{self.after.run.path}` have no place with an "
                "embedding in common. Compare runs whose areas overlap, both with output.pooled "
                "or output.grid."
            )
        if table_path is not None and tiles is not None and shared is not None:
            order = _most_changed_first(shared)
            table = _table(self.after, tiles, shared.ours[order], shared.distance[order])
            write_table(self.after.run, table_path, table, overwrite=self.overwrite)
            written.append(table_path)
            outlined = [
                (int(tiles.epsg[tile]), tuple(tiles.bounds[tile].tolist()))
                for tile in shared.ours[order[:most]].tolist()
            ]
        self._write_picture(picture, rasters, outlined)
        return [*written, picture]

    def _tif(self, epsg: int, unit: str) -> Path:
        return self.folder / f"{zone_name(epsg)}_change_{unit}.tif"

    def _read_tiles(self) -> tuple[Tiles, SharedTiles]:
        tiles = read_tiles(self.after, window=self.windows[1], progress=True)
        earlier = read_tiles(self.before, window=self.windows[0], progress=True)
        return tiles, shared_tiles(tiles, earlier)

    def _summary(self, tiles: Tiles, shared: SharedTiles, most: int) -> str:
        lines = [
            f"{len(shared.distance):,} tiles have an embedding in both {self.before.run.path} and "
            f"{self.after.run.path}"
        ]
        if len(shared.distance):
            median, ninth, largest = np.quantile(shared.distance, (0.5, 0.9, 1)).tolist()
            lines.append(
                f"  cosine distance: median {median:.5f}, 90 % below {ninth:.5f}, largest "
                f"{largest:.5f}"
            )
            order = _most_changed_first(shared)[:most]
            ours = shared.ours[order]
            ids = [self.after.plan.tile(index).id for index in tiles.index[ours].tolist()]
            lines += ["", *ranking_lines(ids, tiles.lonlat[ours], shared.distance[order], "change")]
        return "\n".join(lines)

    def _tags(self) -> dict[str, str]:
        earlier = run_tags(self.before, self.windows[0])
        return {
            **run_tags(self.after, self.windows[1]),
            **{f"{key}_BEFORE": earlier[key] for key in earlier if key in _TAGS_OF_BOTH},
        }

    def _write_tile_rasters(self, tiles: Tiles, shared: SharedTiles) -> dict[int, ChangeRaster]:
        index = tiles.index[shared.ours]
        rasters = {}
        for epsg, (extent, values) in tile_rasters(
            self.after.plan, index, shared.distance, np.nan
        ).items():
            rasters[epsg] = ChangeRaster(extent, values, "tile")
            height, width = extent.shape
            write_cog(
                self.after.run,
                self._tif(epsg, "tiles"),
                extent,
                [(slice(0, height), slice(0, width), values[None])],
                bands=[_BAND],
                tags=self._tags(),
                overwrite=self.overwrite,
            )
        return rasters

    def _write_cells(self, path: Path, later: ZoneCells, earlier: ZoneCells) -> ChangeRaster:
        crop = MapCut.from_plan(self.after.plan, later)
        thumbnail = Thumbnail(crop.extent.shape)
        parts = thumbnail.copying(crop(cell_distances(later, earlier)))
        write_cog(
            self.after.run,
            path,
            crop.extent,
            ((rows, cols, values[None]) for rows, cols, values in parts),
            bands=[_BAND],
            tags=self._tags(),
            overwrite=self.overwrite,
        )
        return ChangeRaster(crop.extent, thumbnail.values, "cell")

    def _write_picture(
        self, path: Path, rasters: Mapping[int, ChangeRaster], outlined: list[tuple[int, Bounds]]
    ) -> None:
        figure = draw_change((self.before, self.after), self.windows, rasters, outlined)
        with atomic_target(
            self.after.run, path, folder=False, overwrite=self.overwrite
        ) as temporary:
            save_png(figure, temporary)


def _most_changed_first(shared: SharedTiles) -> npt.NDArray[np.int64]:
    return np.argsort(-shared.distance, kind="stable")


def _table(
    after: OpenedRun,
    tiles: Tiles,
    positions: npt.NDArray[np.int64],
    distance: npt.NDArray[np.float32],
) -> geopandas.GeoDataFrame:
    """Return the tiles at some positions, the most changed first, with their footprints."""
    import geopandas

    geometry = np.empty(len(positions), dtype=object)
    for epsg in np.unique(tiles.epsg[positions]).tolist():
        in_zone = tiles.epsg[positions] == epsg
        geometry[in_zone] = square_polygons(epsg, tiles.bounds[positions][in_zone])
    columns = {
        "rank": np.arange(1, len(positions) + 1),
        "id": [after.plan.tile(index).id for index in tiles.index[positions].tolist()],
        "change": distance,
        "lon": tiles.lonlat[positions, 0],
        "lat": tiles.lonlat[positions, 1],
        "primary": tiles.primary[positions],
    }
    return geopandas.GeoDataFrame(columns, geometry=geometry, crs=LONLAT)
