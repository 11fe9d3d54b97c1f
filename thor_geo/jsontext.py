"""Reading JSON that others may have written, or damaged.

Python's own parser takes more than JSON (NaN, infinities), lets the last of equal keys win without
a word, and gives values so deep that whatever walks through them runs out of stack.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

#: Levels of lists and objects that a file may have; this project's have fewer than ten.
DEEPEST = 64


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text: finite numbers, no key twice, at most `DEEPEST` levels.

    Args:
        text: The text; bytes are UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: If it is anything else; the message says what, and where.
    """
    try:
        value = json.loads(
            text, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique
        )
    except RecursionError as error:
        raise ValueError(f"more than {DEEPEST} levels deep") from error
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(DEEPEST):
        if not level:
            return value
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, list | dict)
        ]
    if level:
        raise ValueError(f"more than {DEEPEST} levels deep")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no finite number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice[:40]!r} comes twice")
    return content
