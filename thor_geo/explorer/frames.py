"""The format of arrays for the page: a JSON header, then the arrays' bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

# JavaScript's typed arrays start at multiples of their item's size, which is at most this.
_ALIGN = 8


def pack_arrays(header: Mapping[str, Any], **arrays: npt.NDArray[Any]) -> bytes:
    """Return a header and arrays as one response body.

    The first four bytes are the length of the JSON that follows (uint32). The JSON holds *header*
    and ``arrays``: name, dtype, offset in bytes from the end of the JSON, and length in items. All
    numbers are little-endian, and arrays start at multiples of 8 bytes.

    Args:
        header: Values that JSON can hold.
        **arrays: Arrays of any shape, which the page gets flat.
    """
    described, parts, offset = [], [], 0
    for name, array in arrays.items():
        raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        described.append(
            {"name": name, "dtype": array.dtype.name, "offset": offset, "n": array.size}
        )
        padding = -len(raw) % _ALIGN
        parts += [raw, bytes(padding)]
        offset += len(raw) + padding
    text = json.dumps({**header, "arrays": described}, allow_nan=False).encode()
    text += b" " * (-(len(text) + 4) % _ALIGN)
    return b"".join([struct.pack("<I", len(text)), text, *parts])
