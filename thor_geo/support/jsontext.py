"""Reading JSON that others may have written, or damaged.

Python's own parser takes more than JSON (NaN, infinities), lets the last of equal keys win without
a word, and gives values so deep that whatever walks through them runs out of stack.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

#: Levels of lists and objects that a file may have; this project's have fewer than ten.
DEEPEST = 64


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text: finite numbers, no key twice, at most `DEEPEST` levels.

    Args:
        text: The text; bytes are UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: If it is anything else, or a text in it is no Unicode (half of a surrogate
            pair); the message says what, and where.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError(f"more than {DEEPEST} levels deep") from error
    _check_depth(value)
    # Finds what overflows to infinity and what is no UTF-8, faster than any look at each value.
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    return value


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(DEEPEST):
        if not level:
            return
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, list | dict)
        ]
    if level:
        raise ValueError(f"more than {DEEPEST} levels deep")


def fits(kind: str, value: object) -> bool:
    """Return whether a value is of a type that JSON can give, as annotations spell it.

    Args:
        kind: ``str``, ``int``, ``float``, ``bool``, ``None``, ``tuple[X, ...]``,
            ``Mapping[str, X]``, or several with ``|`` between them.
        value: The value; whole numbers pass for ``float``, True and False are no numbers.
    """
    if kind.startswith("tuple[") and kind.endswith(", ...]"):
        inner = kind.removeprefix("tuple[").removesuffix(", ...]")
        return isinstance(value, tuple) and all(fits(inner, one) for one in value)
    if kind.startswith("Mapping[str, ") and kind.endswith("]"):
        inner = kind.removeprefix("Mapping[str, ").removesuffix("]")
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and fits(inner, one) for name, one in value.items()
        )
    if " | " in kind:
        return any(fits(one, value) for one in kind.split(" | "))
    if isinstance(value, bool) or kind == "bool":
        return isinstance(value, bool) and kind == "bool"
    return isinstance(value, _TYPES[kind])


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "None": type(None),
}


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice[:40]!r} comes twice")
    return content


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII.

    Raises:
        TypeError: If the value is not JSON.
        ValueError: If it holds NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def canonical_sha256(value: object) -> str:
    """Return the sha256 of `canonical_json` as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def indented_json(value: object) -> bytes:
    """Return JSON for files that people may open: keys sorted, a line for each entry.

    Raises:
        TypeError: If the value is not JSON.
        ValueError: If it holds NaN or an infinity.
    """
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
