"""Whether a file on a server ends too early: GDAL does not say why a part of it did not arrive.

A server that refuses a part of a file and a file that lacks the part look the same to whoever
reads it by GDAL. So the length that the server states is compared to where the file says that its
pixels are.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from thor_geo.sources.stac.sampling import FORGETFUL, GDAL_OPTIONS
from thor_geo.sources.stac.spec import is_remote

#: Bytes of a TIFF's header, with the address of its first directory.
_HEADER = 16

_LENGTH = re.compile(r"bytes\s+\d+-\d+/(\d+)")


def cut_short(href: str, number: int, timeout_s: float) -> str | None:
    """Return how a TIFF on a server is too short for its own header, as a clause.

    Args:
        href: Its address, signed.
        number: Number of the band that is needed, from 1.
        timeout_s: Seconds to wait for an answer.

    Returns:
        The clause; None if the file is whole, or that cannot be told now.
    """
    if not is_remote(href):  # a store that only GDAL can log in to
        return None
    header, length = _start(href, timeout_s)
    if length is None:
        return None
    needed = max(_directory_end(header), _last_byte(href, number))
    if length >= needed:
        return None
    return f"it is cut short: its server has {length:,} bytes of at least {needed:,}"


def _start(href: str, timeout_s: float) -> tuple[bytes, int | None]:
    """Return the first bytes of a file and its length; None if the server does not state it."""
    import requests

    asked = {"Range": f"bytes=0-{_HEADER - 1}", "Accept-Encoding": "identity"}
    try:
        with requests.get(href, headers=asked, timeout=timeout_s, stream=True) as answer:
            stated = answer.headers.get("Content-Length")
            if answer.status_code == 206:
                match = _LENGTH.fullmatch(answer.headers.get("Content-Range", "").strip())
                stated = None if match is None else match[1]
            elif answer.status_code != 200:
                stated = None
            if stated is None or not stated.isdecimal():
                return b"", None
            return next(answer.iter_content(_HEADER), b""), int(stated)
    except requests.RequestException:
        return b"", None


def _directory_end(header: bytes) -> int:
    """Return where at least the first directory of a TIFF ends; 0 if it is no TIFF's header."""
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if order is None or len(header) < _HEADER:
        return 0
    (version,) = struct.unpack(f"{order}H", header[2:4])
    if version == 42:
        return int(struct.unpack(f"{order}I", header[4:8])[0]) + 2
    return int(struct.unpack(f"{order}Q", header[8:16])[0]) + 8 if version == 43 else 0


def _last_byte(href: str, number: int) -> int:
    """Return where the last tile of a band at full resolution ends; 0 if that cannot be told."""
    try:
        with (
            rasterio.Env(**GDAL_OPTIONS, **FORGETFUL),
            rasterio.open(href, OVERVIEW_LEVEL="NONE") as file,
        ):
            tiles = [place for place, _ in file.block_windows(number)]
            return max((_tile_end(file, number, *place) for place in tiles), default=0)
    except (RasterioError, IndexError):
        return 0


def _tile_end(file: Any, number: int, row: int, column: int) -> int:
    where, size = (
        file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=number)
        for what in ("OFFSET", "SIZE")
    )
    return int(where) + int(size) if where and size else 0
