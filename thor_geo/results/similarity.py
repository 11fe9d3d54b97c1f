"""Places of a run that are similar to given ones: tiles or cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.checks.overlap import redundant_tiles
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import zone_name
from thor_geo.results.at_point import cell_at
from thor_geo.results.cells import ZoneCells, zone_cells
from thor_geo.results.cog import RasterExtent
from thor_geo.results.cosine import Cosine, largest, unit_vectors
from thor_geo.results.index_search import NeighbourIndex
from thor_geo.results.map_cut import MapCut, Thumbnail
from thor_geo.results.query_tiles import query_tiles
from thor_geo.results.search import Cell, CellSearch
from thor_geo.results.tables import square_polygons
from thor_geo.results.tilemap import tile_rasters
from thor_geo.results.tiles import check_pooled, tile_ground, tile_parts
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.similar_index import pack_cells, unpack_cells
from thor_geo.support.arrays import Float32Array, Float64Array, Int64Array

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
        compared: Number of places that were compared, or that are in the index.
        rasters: Cosine of every place by zone, NaN without one; for large maps every n-th cell.
            Empty if an index answered: it leaves most of them out.
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
    index: NeighbourIndex | None = None,
) -> SimilarPlaces:
    """Find the tiles most similar to the mean direction of some.

    Tiles whose ground lies wholly in another zone's primary tiles are skipped, and so are the query
    tiles. Memory holds one shard's vectors at a time.

    Args:
        opened: A run with pooled files.
        places: Longitude and latitude in degrees of places; the tile that holds one is meant.
        ids: Ids of tiles.
        k: How many to find.
        window: Which time window; may be left out if there is only one.
        index: The index of the run's tiles; without it, all vectors are read.

    Raises:
        ConfigError: If a place or an id is not in the run.
        RunDirectoryError: If the run has no vectors, or they cannot be read.
    """
    plan, time = opened.plan, opened.time_index(window)
    check_pooled(opened)
    queries = query_tiles(opened, places, ids, time)
    asked = np.array([query.tile for query in queries])
    direction = mean_direction(np.stack([query.vector for query in queries]))
    rasters: dict[int, tuple[RasterExtent, Float32Array]] = {}
    if index is not None:
        order, cosine = index.nearest(direction, k, set(asked.tolist()))
        compared = index.searched - sum(map(index.holds, set(asked.tolist())))
    else:
        tiles, similarity = _tile_cosines(opened, direction, window)
        produced = np.zeros(len(plan), dtype=np.bool_)
        produced[tiles] = True
        candidate = ~redundant_tiles(plan, produced)[tiles]
        candidate[np.isin(tiles, asked)] = False
        candidates = np.flatnonzero(candidate)
        found = largest(similarity, candidates, k)
        order, cosine, compared = tiles[found], similarity[found], len(candidates)
        rasters = tile_rasters(plan, tiles, similarity, np.nan)
    ground, grounds_asked = tile_ground(plan, order), tile_ground(plan, asked)
    return SimilarPlaces(
        ids=tuple(plan.tile(tile).id for tile in order.tolist()),
        cosine=cosine,
        epsg=ground.epsg.astype(np.int64),
        bounds=ground.bounds,
        lonlat=ground.lonlat,
        queries=tuple(plan.tile(query.tile).id for query in queries),
        query_bounds=tuple(
            (int(epsg), tuple(square.tolist()))
            for epsg, square in zip(grounds_asked.epsg, grounds_asked.bounds, strict=True)
        ),
        compared=compared,
        rasters=rasters,
    )


def _tile_cosines(
    opened: OpenedRun, direction: Float32Array, window: int | None
) -> tuple[Int64Array, Float32Array]:
    """Return indices of all tiles with an embedding, and their cosines to a direction."""
    tiles, cosines = [], []
    for _, part in tile_parts(opened, window=window, progress=True):
        if part is not None and len(part[0]):
            tiles.append(part[0])
            cosines.append(Cosine(part[1]).similarity(direction))
    return np.concatenate(tiles), np.concatenate(cosines)


def similar_cells(
    opened: OpenedRun,
    places: Sequence[LonLat],
    k: int,
    consume: Consumer | None = None,
    *,
    window: int | None = None,
    index: NeighbourIndex | None = None,
) -> SimilarPlaces:
    """Find the cells most similar to the mean direction of some; see `CellSearch`.

    Args:
        opened: A run with maps.
        places: Longitude and latitude in degrees; the cell that holds one is meant.
        k: How many to find.
        consume: Receives every zone's cosines; only without an index.
        window: Which time window; may be left out if there is only one.
        index: The index of the run's cells; without it, all maps are read.

    Raises:
        ConfigError: If a place is not in the run.
        RunDirectoryError: If the run has no maps, or they cannot be read.
    """
    zones = zone_cells(opened, window=window)
    queries = [cell_at(zones, opened.plan, place, "--at") for place in places]
    query = mean_direction(np.stack([vector for *_, vector in queries]))
    asked = {(epsg, row, col) for epsg, row, col, _ in queries}
    rasters: dict[int, tuple[RasterExtent, Float32Array]] = {}
    if index is not None:
        packed = {int(pack_cells(e, np.int64(row), np.int64(col))) for e, row, col in asked}
        places_found, cosine = index.nearest(query, k, packed)
        cells = unpack_cells(places_found)
        compared = index.searched - sum(_in_strip(zones[cell[0]], cell) for cell in asked)
    else:
        search = CellSearch(query, k, asked)
        rasters = _search_zones(opened, zones, search, consume)
        cells, cosine, compared = search.cells, search.cosine, search.seen
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
        cosine=cosine,
        epsg=cells[:, 0],
        bounds=bounds,
        lonlat=lonlat,
        queries=tuple(cell_id(epsg, row, col) for epsg, row, col, _ in queries),
        query_bounds=tuple(squares_asked),
        compared=compared,
        rasters=rasters,
    )


def _search_zones(
    opened: OpenedRun,
    zones: Mapping[int, ZoneCells],
    search: CellSearch,
    consume: Consumer | None,
) -> dict[int, tuple[RasterExtent, Float32Array]]:
    """Search all zones; return their cosines, of large maps those of every n-th cell."""
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
    return rasters


def _in_strip(zone: ZoneCells, cell: Cell) -> bool:
    """Return whether a cell counts in its zone."""
    _, row, col = cell
    return bool(zone.in_strip(slice(row, row + 1), slice(col, col + 1)).all())


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
