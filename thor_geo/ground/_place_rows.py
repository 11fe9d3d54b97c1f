"""From the file of a table of places to its rows."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT
from thor_geo.ground.geofile import GeoFile, read_geofile
from thor_geo.specs import TemporalSpec

if TYPE_CHECKING:
    from thor_geo.ground.places import Places, PlacesSpec


def read_places(spec: PlacesSpec, window: TemporalSpec | None, earliest: dt.date | None) -> Places:
    """Read and check a table; see `PlacesSpec.load`."""
    from thor_geo.ground.places import Places

    assert spec.file is not None  # `load` refuses it
    source = GeoFile(
        path=spec.file.expanduser(),
        argument="data.places.file",
        layer=spec.layer,
        layer_argument="data.places.layer",
    )
    frame = read_geofile(source)
    shapes = frame.geometry.to_crs(LONLAT).to_numpy()
    points = shapely.point_on_surface(shapes)
    starts, ends = _windows(spec, frame, window)
    names = [c for c in frame.columns if c != frame.geometry.name]
    kept = names if spec.keep is None else spec.keep
    ordered = list(dict.fromkeys([*([spec.id] if spec.id else []), *kept]))
    columns = pa.Table.from_pandas(pd.DataFrame(frame[ordered]), preserve_index=False)
    covered = {"datetime_start": starts.tobytes(), "datetime_end": ends.tobytes()}
    covered["geometry"] = shapely.get_coordinates(points).tobytes()
    covered |= {name: repr(columns[name].to_pylist()).encode() for name in ordered}
    return Places(
        source=str(source.path),
        lon=shapely.get_x(points),
        lat=shapely.get_y(points),
        starts=starts,
        ends=ends,
        columns=columns.replace_schema_metadata(),
        id=spec.id,
        polygons=shapes if spec.within else None,
        skipped={},
        digests={name: hashlib.sha256(value).hexdigest() for name, value in covered.items()},
    )


def _windows(spec: PlacesSpec, frame: Any, window: TemporalSpec | None) -> tuple[Any, Any]:
    def days(name: str) -> Any:
        return pd.to_datetime(frame[name]).to_numpy().astype("datetime64[D]")

    if spec.date is not None:
        day = days(spec.date)
        starts, ends = day + spec.days[0], day + spec.days[1] + 1
    elif spec.start is not None and spec.end is not None:
        starts, ends = days(spec.start), days(spec.end)
    elif spec.year is not None:
        starts = (frame[spec.year].to_numpy() - 1970).astype("datetime64[Y]")
        ends = starts + 1
    elif window is not None:
        starts, ends = (
            np.full(len(frame), np.datetime64(side.replace(tzinfo=None)))
            for side in (window.start, window.end)
        )
    else:
        raise ConfigError(
            "data.start",
            None,
            "places need a time window",
            "Give data.start and data.end, or name a column with data.places.date.",
        )
    return starts.astype("datetime64[us]"), ends.astype("datetime64[us]")
