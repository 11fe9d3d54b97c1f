"""From the file of a table of places to its rows, checked."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import shapely

from thor_geo.ground._place_columns import array_digest, column_digest, id_faults, kept_columns
from thor_geo.ground._place_points import locate
from thor_geo.ground._place_windows import row_windows
from thor_geo.ground._row_faults import RowFault, faults_error, reasons_by_row
from thor_geo.ground.geofile import GeoFile, read_geotable
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import ObjectArray
from thor_geo.support.words import counted

if TYPE_CHECKING:
    from thor_geo.ground.places import Places, PlacesSpec

_log = logging.getLogger(__name__)

_SKIP = "`data.places.on_bad_row: skip` goes on without such rows."


def read_places(
    spec: PlacesSpec,
    window: TemporalSpec | None,
    earliest: dt.date | None,
    content: bytes | None = None,
    *,
    aloud: bool = True,
) -> Places:
    """Read and check a table; see `PlacesSpec.load`.

    Args:
        spec: What the user says about the table; it names a file.
        window: Window of all rows; see `PlacesSpec.load`.
        earliest: Day of the sensor's first image; see `PlacesSpec.load`.
        content: The table as a Parquet file in memory, in place of the file.
        aloud: See `PlacesSpec.load`.

    Raises:
        ConfigError: See `PlacesSpec.load`.
    """
    from thor_geo.ground.places import RESERVED, Places

    assert spec.file is not None  # `load` refuses it
    source = GeoFile(
        path=spec.file.expanduser(),
        argument="data.places.file",
        layer=spec.layer,
        layer_argument="data.places.layer",
        crs=spec.crs,
        crs_argument="data.places.crs",
        content=content,
    )
    table = read_geotable(source)
    if not len(table):
        raise source.refusal("the table is empty", "Give at least one row.")
    # What is wrong with a column comes before what is wrong with rows.
    columns = kept_columns(spec, source, table.columns, RESERVED, text=table.lines is not None)
    starts, ends, faults = row_windows(spec, table.columns, window, earliest)
    located = locate(spec, source, table)
    faults = [*located.faults, *faults, *id_faults(spec, columns)]
    bad = np.zeros(len(table), dtype=np.bool_)
    for fault in faults:
        bad[fault.rows] = True
    if faults and (spec.on_bad_row == "fail" or bad.all()):
        hint = "" if bad.all() else _SKIP
        raise faults_error(source, faults, len(table), table.lines, hint)
    lon, lat = np.where(bad, np.nan, located.lon), np.where(bad, np.nan, located.lat)
    starts[bad] = ends[bad] = np.datetime64("NaT", "us")
    polygons = located.polygons
    if polygons is not None:
        polygons[bad] = None
    if aloud:
        _tell(source, faults, int(bad.sum()), len(table))
    digests = {
        "geometry": _geometry_digest(array_digest(lon, lat), polygons),
        "datetime_start": array_digest(starts),
        "datetime_end": array_digest(ends),
    }
    digests |= {name: column_digest(columns.column(name)) for name in columns.column_names}
    return Places(
        source=str(source.path),
        lon=lon,
        lat=lat,
        starts=starts,
        ends=ends,
        columns=columns,
        id=spec.id,
        polygons=polygons,
        skipped=reasons_by_row(faults),
        digests=digests,
    )


def _tell(source: GeoFile, faults: list[RowFault], skipped: int, count: int) -> None:
    if not skipped:
        return
    reasons = Counter[str]()
    for fault in faults:
        reasons[fault.problem] += len(fault.rows)
    shown = ", ".join(f"{problem} ({number:,})" for problem, number in reasons.most_common())
    _log.warning(
        "data.places.file: %s of %s in %s %s skipped: %s.",
        f"{skipped:,}",
        counted(count, "row"),
        source.path,
        "is" if skipped == 1 else "are",
        shown,
    )


def _geometry_digest(points: str, polygons: ObjectArray | None) -> str:
    if polygons is None:
        return points
    digest = hashlib.sha256(points.encode())
    for shape in polygons:
        wkb = b"" if shape is None else shapely.to_wkb(shape, byte_order=1)
        digest.update(len(wkb).to_bytes(8, "little") + wkb)
    return digest.hexdigest()
