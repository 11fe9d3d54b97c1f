"""Arrays on their way to the page: a JSON header, then the arrays' bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

# JavaScript's typed arrays begin at multiples of their item's size; none is larger.
_ALIGN = 8


def packed(header: Mapping[str, Any], **arrays: npt.NDArray[Any]) -> bytes:
    """Return one body of a header and arrays.

    The first four bytes are the length of the JSON that follows (uint32); it holds *header* and
    ``arrays``: name, dtype and offset in bytes from the end of the JSON, and length in items.
    Everything is little-endian and begins at a multiple of 8 bytes, except the JSON.

    Args:
        header: Values that JSON can give.
        **arrays: Any shape; the page gets them flat.
    """
    told, parts, offset = [], [], 0
    for name, array in arrays.items():
        raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        told.append({"name": name, "dtype": array.dtype.name, "offset": offset, "n": array.size})
        padding = -len(raw) % _ALIGN
        parts += [raw, bytes(padding)]
        offset += len(raw) + padding
    text = json.dumps({**header, "arrays": told}, allow_nan=False).encode()
    text += b" " * (-(len(text) + 4) % _ALIGN)
    return b"".join([struct.pack("<I", len(text)), text, *parts])
