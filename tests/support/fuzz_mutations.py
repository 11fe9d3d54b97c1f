"""Damaged inputs: valid files with bits flipped, parts lost, values replaced."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

#: Integers at the edges of what fields hold.
_EDGES = [
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
]
#: Numbers in texts: what a parser may take for a count, a size or a coordinate.
_NUMBERS = [b"0", b"-1", b"1e999", b"-1e308", b"NaN", b"99999999999999999999", b"1" * 5000, b""]


@st.composite
def damaged(draw: Draw, seeds: Sequence[bytes]) -> bytes:
    """Bytes of a file with one to four things wrong, mostly one."""
    data = bytearray(draw(st.sampled_from(list(seeds))))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        _damage(draw, data)
    return bytes(data)


def _damage(draw: Draw, data: bytearray) -> None:
    size = len(data)
    # Headers and footers decide more than what lies between.
    low, high = [(0, size), (0, min(size, 511)), (max(0, size - 1023), size)][
        draw(st.integers(0, 2))
    ]
    at = draw(st.integers(low, high))
    kind = draw(st.integers(0, 9))
    length = draw(st.integers(1, 64))
    if kind <= 2 and at < size:
        data[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == 3:
        width, order = draw(st.sampled_from("HIQ")), draw(st.sampled_from("<>"))
        value = draw(st.sampled_from(_EDGES)) % 256 ** struct.calcsize(width)
        data[at : at + struct.calcsize(width)] = struct.pack(order + width, value)
    elif kind == 4:
        del data[at:]
    elif kind == 5:
        del data[at : at + length]
    elif kind == 6:
        data[at:at] = draw(st.binary(min_size=1, max_size=length))
    elif kind == 7:
        data[at:at] = data[draw(st.integers(0, size)) :][: length * 16]
    elif kind == 8:
        data[at : at + length] = bytes(min(length, size - at))
    else:
        end = at
        while end < len(data) and chr(data[end]) in "0123456789.-+eE":
            end += 1
        data[at:end] = draw(st.sampled_from(_NUMBERS))


# What JSON's writer does not write; put in place of these texts.
_RAW = {
    "@nan@": "NaN",
    "@infinity@": "-Infinity",
    "@overflow@": "1e999",
    "@deep@": "[" * 100_000 + "]" * 100_000,
    "@deep objects@": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "@digits@": "9" * 5_000,
    "@surrogate@": '"\\ud800"',
    "@unfinished@": '"',
}
_ODD: list[Any] = [
    *_RAW,
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**64),
    10**300,
    1e308,
    -0.5,
    "",
    "a",
    "..",
    "../../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "C:\\a",
    "é" * 300,
    "x" * 5000,
    "1e999",
    "0" * 64,
    [],
    {},
    [[]],
    {"": None},
    [0] * 1000,
    ["a", None, {}],
    {"type": "Polygon"},
]


_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


#: JSON values that no field expects. One strategy for all draws: the same choices every time.
_ODD_VALUES = st.sampled_from(_ODD).map(copy.deepcopy) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def damaged_json(draw: Draw, seeds: Sequence[Any]) -> bytes:
    """The bytes of a JSON text with one to three values replaced, lost, added or misspelled."""
    value = damaged_values(draw, copy.deepcopy(draw(st.sampled_from(list(seeds)))))
    text = json.dumps(value)
    for token, raw in _RAW.items():
        text = text.replace(f'"{token}"', raw)
    kind = draw(st.integers(0, 11))
    if kind == 0 and text.startswith("{") and isinstance(value, dict) and value:
        again = json.dumps(draw(st.sampled_from(sorted(map(str, value)))))
        text = f"{{{again}: {json.dumps(draw(_ODD_VALUES))}, {text[1:]}"
    elif kind == 1:
        return text.encode("utf-16", errors="replace")
    elif kind == 2:
        return b"\xef\xbb\xbf" + text.encode()
    elif kind == 3:
        text += draw(st.sampled_from([" ", "\n\n", "{}", ",", "\0", "]", "// a"]))
    return text.encode("utf-8", errors="surrogatepass")


def damaged_values(draw: Draw, value: Any) -> Any:
    """Change one to three places of a JSON value."""
    root = [value]
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(_places(root)))
        kind = draw(st.integers(0, 9))
        if kind == 0 and holder is not root:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = holder.pop(key)
        elif kind == 2 and isinstance(holder[key], list) and holder[key]:
            holder[key].append(copy.deepcopy(holder[key][0]))
        elif kind == 3:
            holder[key] = [holder[key]]
        elif kind == 4:
            holder[key] = str(holder[key])
        elif kind == 5 and isinstance(holder[key], int | float):
            holder[key] = draw(_NUMBER)
        else:
            holder[key] = draw(_ODD_VALUES)
    return root[0]


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    todo: list[Any] = [root]
    while todo and len(found) < 2000:
        holder = todo.pop(0)
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                todo.append(holder[key])
    return found
