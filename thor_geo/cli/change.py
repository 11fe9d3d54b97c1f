"""``thor-geo change``: how far embeddings moved between two runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.area import LONLAT
from thor_geo.ground.lattice import zone_name
from thor_geo.pictures.sheet import save_png
from thor_geo.results.cells import zone_cells
from thor_geo.results.change_picture import ChangeRaster, draw_change
from thor_geo.results.changes import (
    SharedTiles,
    cell_distances,
    check_comparable,
    shared_tiles,
    shared_zones,
)
from thor_geo.results.cog import run_tags, write_cog
from thor_geo.results.map_cut import MapCut, Thumbnail
from thor_geo.results.tables import ranking_lines, square_polygons, write_table
from thor_geo.results.tilemap import tile_rasters
from thor_geo.results.tiles import Tiles, read_tiles
from thor_geo.runs.opened_run import WINDOW, OpenedRun, open_run
from thor_geo.runs.target import atomic_target, check_target
from thor_geo.support.redact import redact

if TYPE_CHECKING:
    import geopandas

_EXAMPLE = """\
examples:
  thor-geo change out/oslo-2021 out/oslo-2022
  thor-geo change out/oslo-2021 out/oslo-2022 --to change -k 50 --overwrite

Change is the cosine distance of the two embeddings of a place, 1 - cos: 0 where they point the same
way. Only the time window, the area and the scenes of the runs may differ. What both cover is
compared, and written to a folder:

  utm32n_change_cells.tif   for each cell of the maps, a COG for each UTM zone; NaN where either run
                            has no embedding
  utm32n_change_tiles.tif   for each tile, likewise
  change.parquet            the tiles as GeoParquet, the most changed first
  change.png                a picture of them
"""


def main(args: Sequence[str]) -> int:
    """Compare two runs, and print the tiles that changed most.

    Args:
        args: Arguments after ``thor-geo change``.

    Returns:
        0.

    Raises:
        ConfigError: If a file exists already.
        RunDirectoryError: If a directory holds no run, or the two cannot be compared.
    """
    parser = argparse.ArgumentParser(
        prog="thor-geo change",
        description="Tell how far embeddings moved between two runs of the same model.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, metavar="OUT_A", help="a run directory")
    parser.add_argument("after", type=Path, metavar="OUT_B", help="another, of another time")
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="where the files go (default: OUT_B/change)"
    )
    parser.add_argument(
        "-k", type=int, default=10, metavar="N", help="how many tiles are told (default 10)"
    )
    for one in "ab":
        told = f"{WINDOW}: of OUT_{one.upper()}"
        parser.add_argument(f"--window-{one}", type=int, metavar="N", help=told)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier comparison")
    options = parser.parse_args(args)
    if options.k < 0:
        parser.error("-k: give 0 or more")
    before, after = open_run(options.before), open_run(options.after)
    check_comparable(before, after)
    windows = options.window_a, options.window_b
    for run, window in zip((before, after), windows, strict=True):
        run.time(window)  # says which windows there are
    folder = options.after / "change" if options.to is None else options.to.expanduser()
    written = compare(
        before, after, folder, k=options.k, windows=windows, overwrite=options.overwrite
    )
    for path in written:
        print(redact(f"  written   {path}"))
    return 0


def compare(
    before: OpenedRun,
    after: OpenedRun,
    folder: Path,
    *,
    k: int,
    windows: tuple[int | None, int | None] = (None, None),
    overwrite: bool = False,
) -> list[Path]:
    """Compare two runs that `check_comparable` passes; print the table and write the files.

    Args:
        before: The run that is compared to.
        after: The run of which the lattice and the tags are.
        folder: Where the files go.
        k: Tiles to print, and to outline.
        windows: Which time window of each; None where there is but one.
        overwrite: Whether earlier files may be replaced.

    Returns:
        The files.

    Raises:
        ConfigError: If a file exists already.
        RunDirectoryError: If they have no place in common, or a file cannot be read or written.
    """
    vectors, maps = (
        all(getattr(run, kind) for run in (before, after)) for kind in ("pooled", "grid")
    )
    zones = {}
    if maps:
        ours, theirs = zone_cells(after, window=windows[1]), zone_cells(before, window=windows[0])
        zones = shared_zones(ours, theirs)
    tifs = [folder / f"{zone_name(epsg)}_change_cells.tif" for epsg in zones]
    for path in (*tifs, folder / "change.png", *([folder / "change.parquet"] if vectors else [])):
        for run in (before, after):
            check_target(run.run, path, folder=False, overwrite=overwrite)
    tags = {
        **run_tags(after, windows[1]),
        **{
            f"{key}_BEFORE": v for key, v in run_tags(before, windows[0]).items() if key in _OF_BOTH
        },
    }
    written: list[Path] = []
    tiles, shared = None, None
    rasters: dict[int, ChangeRaster] = {}
    if vectors:
        tiles = read_tiles(after, window=windows[1], progress=True)
        shared = shared_tiles(tiles, read_tiles(before, window=windows[0], progress=True))
        print(redact(_told(before, after, tiles, shared, k)))
        index = tiles.index[shared.ours]
        for epsg, (extent, values) in tile_rasters(
            after.plan, index, shared.distance, np.nan
        ).items():
            rasters[epsg] = ChangeRaster(extent, values, "tile")
            path = folder / f"{zone_name(epsg)}_change_tiles.tif"
            whole = (slice(0, extent.shape[0]), slice(0, extent.shape[1]), values[None])
            write_cog(
                after.run, path, extent, [whole], bands=[_BAND], tags=tags, overwrite=overwrite
            )
            written.append(path)
    for path, (epsg, (later, earlier)) in zip(tifs, zones.items(), strict=True):
        crop = MapCut.from_plan(after.plan, later)
        thumbnail = Thumbnail(crop.extent.shape)
        parts = thumbnail.copying(crop(cell_distances(later, earlier)))
        write_cog(
            after.run,
            path,
            crop.extent,
            ((rows, cols, values[None]) for rows, cols, values in parts),
            bands=[_BAND],
            tags=tags,
            overwrite=overwrite,
        )
        written.append(path)
        rasters[epsg] = ChangeRaster(crop.extent, thumbnail.values, "cell")
    if not any(np.isfinite(raster.values).any() for raster in rasters.values()):
        raise RunDirectoryError(
            f"`{before.run.path}` and `{after.run.path}` have no place with an embedding in "
            "common. Compare runs whose areas overlap, both with output.pooled or output.grid."
        )
    outlined: list[tuple[int, tuple[float, float, float, float]]] = []
    if tiles is not None and shared is not None:
        order = np.argsort(-shared.distance, kind="stable")
        table = _table(after, tiles, shared, order)
        write_table(after.run, folder / "change.parquet", table, overwrite=overwrite)
        written.append(folder / "change.parquet")
        outlined = [
            (int(tiles.epsg[one]), tuple(tiles.bounds[one].tolist()))
            for one in shared.ours[order[:k]].tolist()
        ]
    figure = draw_change((before, after), windows, rasters, outlined)
    picture = folder / "change.png"
    with atomic_target(after.run, picture, folder=False, overwrite=overwrite) as temporary:
        save_png(figure, temporary)
    return [*written, picture]


_BAND = "cosine distance"
# Tags that are told of the earlier run, too.
_OF_BOTH = frozenset({f"THOR_GEO_{key}" for key in ("START", "END", "RUN", "MODEL")})


def _told(before: OpenedRun, after: OpenedRun, tiles: Tiles, shared: SharedTiles, k: int) -> str:
    order = np.argsort(-shared.distance, kind="stable")[:k]
    lines = [
        f"{len(shared.distance):,} tiles have an embedding in both {before.run.path} and "
        f"{after.run.path}"
    ]
    if len(shared.distance):
        q = np.quantile(shared.distance, (0.5, 0.9, 1)).tolist()
        lines.append(
            f"  cosine distance: median {q[0]:.5f}, 90 % below {q[1]:.5f}, largest {q[2]:.5f}"
        )
        ids = [after.plan.tile(int(tiles.index[one])).id for one in shared.ours[order].tolist()]
        lonlat = tiles.lonlat[shared.ours[order]]
        lines += ["", *ranking_lines(ids, lonlat, shared.distance[order], "change")]
    return "\n".join(lines)


def _table(
    after: OpenedRun, tiles: Tiles, shared: SharedTiles, order: npt.NDArray[np.int64]
) -> geopandas.GeoDataFrame:
    import geopandas

    ours = shared.ours[order]
    geometry = np.empty(len(ours), dtype=object)
    for epsg in np.unique(tiles.epsg[ours]).tolist():
        of = tiles.epsg[ours] == epsg
        geometry[of] = square_polygons(epsg, tiles.bounds[ours][of])
    columns = {
        "rank": np.arange(1, len(ours) + 1),
        "id": [after.plan.tile(index).id for index in tiles.index[ours].tolist()],
        "change": shared.distance[order],
        "lon": tiles.lonlat[ours, 0],
        "lat": tiles.lonlat[ours, 1],
        "primary": tiles.primary[ours],
    }
    return geopandas.GeoDataFrame(columns, geometry=geometry, crs=LONLAT)
