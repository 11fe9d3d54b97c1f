"""Places of a run that are similar to given ones: tiles or cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.checks.overlap import redundant_tiles
from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import zone_name
from thor_geo.results.at_point import cell_at, tile_at
from thor_geo.results.cells import ZoneCells, zone_cells
from thor_geo.results.cog import RasterExtent
from thor_geo.results.cosine import Cosine, largest, unit_vectors
from thor_geo.results.map_cut import MapCut, Thumbnail
from thor_geo.results.search import CellSearch
from thor_geo.results.tables import square_polygons
from thor_geo.results.tilemap import tile_rasters
from thor_geo.results.tiles import read_tiles
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import Float64Array

if TYPE_CHECKING:
    import geopandas

LonLat = tuple[float, float]
#: Takes a zone and its cosines, window by window, and must exhaust them.
Consumer = Callable[[RasterExtent, Iterator[tuple[slice, slice, npt.NDArray[np.float32]]]], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarPlaces:
    """Places, the most similar first.

    Attributes:
        ids: Their ids.
        cosine: (n,) float32.
        epsg: EPSG codes of their zones, (n,).
        bounds: Left, bottom, right, top of their squares in that zone, metres, (n, 4).
        lonlat: Longitude and latitude of their centres, degrees, (n, 2).
        queries: Ids of the query places.
        query_bounds: EPSG code and square of each of them.
        compared: Number of places that were compared.
        rasters: Cosine of every place by zone, NaN without one; for large maps every n-th cell.
    """

    ids: tuple[str, ...]
    cosine: npt.NDArray[np.float32]
    epsg: npt.NDArray[np.int64]
    bounds: Float64Array
    lonlat: Float64Array
    queries: tuple[str, ...]
    query_bounds: tuple[tuple[int, tuple[float, float, float, float]], ...]
    compared: int
    rasters: dict[int, tuple[RasterExtent, npt.NDArray[np.float32]]] = field(repr=False)

    def table(self) -> geopandas.GeoDataFrame:
        """Return rank, id, cosine, lon, lat and footprint of the places (OGC:CRS84)."""
        import geopandas

        geometry = np.empty(len(self.ids), dtype=object)
        for epsg in np.unique(self.epsg).tolist():
            geometry[self.epsg == epsg] = square_polygons(epsg, self.bounds[self.epsg == epsg])
        columns: dict[str, Any] = {
            "rank": np.arange(1, len(self.ids) + 1),
            "id": list(self.ids),
            "cosine": self.cosine,
            "lon": self.lonlat[:, 0],
            "lat": self.lonlat[:, 1],
        }
        return geopandas.GeoDataFrame(columns, geometry=geometry, crs=LONLAT)


def similar_tiles(
    opened: OpenedRun,
    places: Sequence[LonLat],
    ids: Sequence[str],
    k: int,
    *,
    window: int | None = None,
) -> SimilarPlaces:
    """Find the tiles most similar to the mean direction of some.

    Tiles whose ground lies wholly in another zone's primary tiles are skipped, and so are the query
    tiles.

    Args:
        opened: A run with pooled files.
        places: Longitude and latitude in degrees of places; the tile that holds one is meant.
        ids: Ids of tiles.
        k: How many to find.
        window: Which time window; may be left out if there is only one.

    Raises:
        ConfigError: If a place or an id is not in the run.
        RunDirectoryError: If the run has no vectors, or they cannot be read.
    """
    plan = opened.plan
    tiles = read_tiles(opened, window=window, progress=True)
    queries = [tile_at(tiles, plan, place, "--at") for place in places]
    if ids:
        number = {plan.tile(index).id: k for k, index in enumerate(tiles.index.tolist())}
        for tile_id in ids:
            if tile_id not in number:
                tile = next((tile for tile in number if tile_id.startswith(f"{tile}_")), None)
                raise ConfigError(
                    "--tile",
                    tile_id,
                    "no tile with an embedding has this id",
                    "Give its place: --at."
                    if tile is None
                    else f"It is a row's id; give its tile_id, {tile}.",
                )
            queries.append(number[tile_id])
    cosine = Cosine(tiles.vectors)
    similarity = cosine.similarity(mean_direction(tiles.vectors[queries]))
    produced = np.zeros(len(plan), dtype=np.bool_)
    produced[tiles.index] = True
    candidate = ~redundant_tiles(plan, produced)[tiles.index]
    candidate[queries] = False
    candidates = np.flatnonzero(candidate)
    order = largest(similarity, candidates, k)
    return SimilarPlaces(
        ids=tuple(plan.tile(index).id for index in tiles.index[order].tolist()),
        cosine=similarity[order],
        epsg=tiles.epsg[order].astype(np.int64),
        bounds=tiles.bounds[order],
        lonlat=tiles.lonlat[order],
        queries=tuple(plan.tile(int(tiles.index[position])).id for position in queries),
        query_bounds=tuple(
            (int(tiles.epsg[position]), tuple(tiles.bounds[position].tolist()))
            for position in queries
        ),
        compared=len(candidates),
        rasters=tile_rasters(plan, tiles.index, similarity, np.nan),
    )


def similar_cells(
    opened: OpenedRun,
    places: Sequence[LonLat],
    k: int,
    consume: Consumer | None = None,
    *,
    window: int | None = None,
) -> SimilarPlaces:
    """Find the cells most similar to the mean direction of some; see `CellSearch`.

    Args:
        opened: A run with maps.
        places: Longitude and latitude in degrees; the cell that holds one is meant.
        k: How many to find.
        consume: Receives every zone's cosines.
        window: Which time window; may be left out if there is only one.

    Raises:
        ConfigError: If a place is not in the run.
        RunDirectoryError: If the run has no maps, or they cannot be read.
    """
    zones = zone_cells(opened, window=window)
    queries = [cell_at(zones, opened.plan, place, "--at") for place in places]
    query = mean_direction(np.stack([vector for *_, vector in queries]))
    search = CellSearch(query, k, {(epsg, row, col) for epsg, row, col, _ in queries})
    rasters = {}
    for epsg, zone in zones.items():
        crop = MapCut.from_plan(opened.plan, zone)
        thumbnail = Thumbnail(crop.extent.shape)
        windows = thumbnail.copying(crop(search.search(zone)))
        if consume is None:
            for _ in windows:
                pass
        else:
            consume(crop.extent, windows)
        rasters[epsg] = (crop.extent, thumbnail.values)
    cells = search.cells
    bounds, lonlat = np.empty((len(cells), 4)), np.empty((len(cells), 2))
    for epsg, zone in zones.items():
        in_zone = cells[:, 0] == epsg
        bounds[in_zone] = cell_bounds(zone, cells[in_zone, 1], cells[in_zone, 2])
        x, y = bounds[in_zone][:, 0] + zone.cell / 2, bounds[in_zone][:, 1] + zone.cell / 2
        lonlat[in_zone] = np.stack(transformer(f"EPSG:{epsg}", LONLAT).transform(x, y), axis=1)
    squares_asked = []
    for epsg, row, col, _ in queries:
        square = cell_bounds(zones[epsg], np.array([row]), np.array([col]))[0]
        squares_asked.append((epsg, tuple(square.tolist())))
    return SimilarPlaces(
        ids=tuple(cell_id(*cell) for cell in cells.tolist()),
        cosine=search.cosine,
        epsg=cells[:, 0],
        bounds=bounds,
        lonlat=lonlat,
        queries=tuple(cell_id(epsg, row, col) for epsg, row, col, _ in queries),
        query_bounds=tuple(squares_asked),
        compared=search.seen,
        rasters=rasters,
    )


def mean_direction(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the mean of vectors of length one, (D,) float32.

    Args:
        vectors: (n, D), finite; n > 0.
    """
    mean: npt.NDArray[np.float32] = unit_vectors(vectors).mean(axis=0, dtype=np.float32)
    return mean


def cell_id(epsg: int, row: int, col: int) -> str:
    """Return the name of a cell: zone, row and column in its map, e.g. ``utm32n:12:40``."""
    return f"{zone_name(epsg)}:{row}:{col}"


def cell_bounds(zone: ZoneCells, rows: npt.NDArray[Any], cols: npt.NDArray[Any]) -> Float64Array:
    """Return left, bottom, right, top of cells, metres, (n, 4).

    Args:
        zone: The map.
        rows: Rows, (n,).
        cols: Columns, (n,).
    """
    left, top = zone.bounds[0] + cols * zone.cell, zone.bounds[3] - rows * zone.cell
    return np.stack([left, top - zone.cell, left + zone.cell, top], axis=1)
