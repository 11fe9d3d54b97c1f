"""Tables of places, as GIS tools open them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.target import atomic_target
from thor_geo.support.antimeridian import cut_rings

if TYPE_CHECKING:
    import geopandas

#: Drivers by suffix; None is GeoParquet.
DRIVERS = {".parquet": None, ".gpkg": "GPKG", ".geojson": "GeoJSON"}


def check_suffix(argument: str, path: Path) -> None:
    """Refuse a table of another kind than those in `DRIVERS`.

    Args:
        argument: Name of the argument, for the message.
        path: The file to make.

    Raises:
        ConfigError: If its suffix is not one of them.
    """
    if path.suffix.lower() not in DRIVERS:
        raise ConfigError(
            argument, str(path), "unknown kind of table", f"Use one of {', '.join(DRIVERS)}."
        )


def write_table(
    run: RunDirectory, path: Path, table: geopandas.GeoDataFrame, *, overwrite: bool
) -> None:
    """Write a table as GeoParquet, GeoPackage or GeoJSON, by its suffix.

    Args:
        run: The run it is made from, whose own files are never replaced.
        path: The file.
        table: Geometries in longitude and latitude.
        overwrite: Whether an existing file may be replaced.

    Raises:
        ConfigError: If it exists, or is one of the run's own files.
        RunDirectoryError: If it cannot be written.
    """
    driver = DRIVERS[path.suffix.lower()]
    with atomic_target(run, path, folder=False, overwrite=overwrite) as temporary:
        if driver is None:
            table.to_parquet(temporary, index=False, schema_version="1.1.0", compression="zstd")
            return
        # Drivers require their own suffix, and layers are named after files.
        named = temporary.with_name(temporary.name + path.suffix)
        try:
            table.to_file(named, driver=driver, layer=path.stem, index=False)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def ranking_lines(
    ids: Sequence[str], lonlat: npt.NDArray[np.float64], values: npt.NDArray[Any], name: str
) -> list[str]:
    """Return lines for reading: rank, id, longitude, latitude and a value, below their names.

    Args:
        ids: Ids of the places, the first rank first.
        lonlat: Degrees, (n, 2).
        values: One for each place, (n,).
        name: Name of the values.
    """
    width = max(map(len, ids), default=2)
    lines = [f"  {'rank':>4}  {'id':<{width}}  {'lon':>10}  {'lat':>9}  {name:>8}"]
    for rank, (place, (lon, lat), value) in enumerate(
        zip(ids, lonlat.tolist(), values.tolist(), strict=True), start=1
    ):
        lines.append(f"  {rank:>4}  {place:<{width}}  {lon:>10.5f}  {lat:>9.5f}  {value:>8.5f}")
    return lines


def square_polygons(epsg: int, bounds: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Return rectangles of a UTM zone as polygons in longitude and latitude, (n,).

    Args:
        epsg: EPSG code of the zone.
        bounds: Left, bottom, right, top, metres, (n, 4).
    """
    left, bottom, right, top = bounds.T
    x = np.stack([left, right, right, left, left], axis=1)
    y = np.stack([bottom, bottom, top, top, bottom], axis=1)
    rings = np.stack(transformer(f"EPSG:{epsg}", LONLAT).transform(x, y), axis=-1)
    return cut_rings(rings)
