"""Names of the 100 km squares of the Military Grid Reference System: those of Sentinel-2 tiles."""

from __future__ import annotations

from pyproj import Transformer

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"


def mgrs_tile(epsg: int, x: float, y: float) -> str:
    """Return the name of the square around a point, such as ``32VPM``.

    Args:
        epsg: EPSG code of a UTM zone.
        x: Easting in metres, 100 000 to 900 000.
        y: Northing in metres.
    """
    zone = epsg % 100
    _, lat = Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True).transform(x, y)
    band = _BANDS[min(int((lat + 80) // 8), len(_BANDS) - 1)]
    column = _COLUMNS[(zone - 1) % 3][int(x // 100_000) - 1]
    # Rows repeat every 2000 km, and start at F in even zones.
    row = _ROWS[(int(y // 100_000) + (5 if zone % 2 == 0 else 0)) % 20]
    return f"{zone:02d}{band}{column}{row}"
