"""Strict reading of JSON that others may have written or damaged, and writing it.

Python's own parser accepts more than JSON (NaN, infinities), silently keeps the last of equal keys,
and returns values so deep that code which walks through them runs out of stack.
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
        ValueError: If it is anything else, or a text in it is not Unicode (half of a surrogate
            pair); the message says what is wrong, and where.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError(f"more than {DEEPEST} levels deep") from error
    _check_depth(value)
    # Finds numbers that overflow to infinity and texts that are not UTF-8, faster than a loop.
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    return value


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(DEEPEST):
        if not level:
            return
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, list | dict)
        ]
    if level:
        raise ValueError(f"more than {DEEPEST} levels deep")


def fits(kind: str, value: object) -> bool:
    """Return whether a value is of a type that JSON can give, as annotations spell it.

    Args:
        kind: ``str``, ``int``, ``float``, ``bool``, ``None``, ``tuple[X, ...]``,
            ``Mapping[str, X]``, or several with ``|`` between them.
        value: The value; whole numbers pass for ``float``, True and False are not numbers.
    """
    if kind.startswith("tuple[") and kind.endswith(", ...]"):
        inner = kind.removeprefix("tuple[").removesuffix(", ...]")
        return isinstance(value, tuple) and all(fits(inner, entry) for entry in value)
    if kind.startswith("Mapping[str, ") and kind.endswith("]"):
        inner = kind.removeprefix("Mapping[str, ").removesuffix("]")
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and fits(inner, entry) for name, entry in value.items()
        )
    if " | " in kind:
        return any(fits(option, value) for option in kind.split(" | "))
    if isinstance(value, bool) or kind == "bool":
        return isinstance(value, bool) and kind == "bool"
    return isinstance(value, _TYPES[kind])


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "None": type(None),
}


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


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
