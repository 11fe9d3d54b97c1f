"""Colours of classes, the same in maps and pictures."""

from __future__ import annotations

#: Red, green and blue within [0, 1].
Colour = tuple[float, float, float]


def class_colours(count: int) -> list[Colour]:
    """Return a colour for each class from matplotlib's ten or twenty, which repeat if necessary.

    Args:
        count: Number of classes.
    """
    from matplotlib import colormaps

    table = colormaps["tab10" if count <= 10 else "tab20"]
    size = 10 if count <= 10 else 20
    colours = [table(k % size) for k in range(count)]
    return [(float(r), float(g), float(b)) for r, g, b, _ in colours]
