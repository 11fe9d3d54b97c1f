"""Warning, once, of a configuration outside THOR's pre-training, with the nearest one inside."""

from __future__ import annotations

import logging
import math

from thor_geo.errors import LayoutError
from thor_geo.models.layout import GroupLayout, TokenLayout, make_layout
from thor_geo.models.ranges import (
    PRETRAINING_GRID_SIDES,
    PRETRAINING_GROUND_COVERS,
    PRETRAINING_IMAGE_SIDES,
    PRETRAINING_LARGE_SIDE,
    PRETRAINING_MAX_TOKENS,
    PRETRAINING_PATCH_SIZES,
)

logger = logging.getLogger(__name__)

# Warnings that this process has logged.
_warned: set[str] = set()


def pixel_size(layout: TokenLayout) -> int | None:
    """Return the pixel size in metres of a layout's (largest) input.

    Args:
        layout: The layout.

    Returns:
        Whole metres; None if the input was resampled, so that its pixels are not whole metres.
    """
    metres, rest = divmod(layout.ground_cover, max(layout.input_sides))
    return metres if rest == 0 else None


def nearest_inside(layout: TokenLayout) -> tuple[int, int] | None:
    """Return the nearest configuration of the same bands that lies inside the ranges.

    Distance is the sum of the logarithms of the factors by which ground cover and patch size
    change. Among equals, the one that changes the ground cover less wins, then the larger patch
    (fewer tokens).

    Args:
        layout: A layout.

    Returns:
        Ground cover in metres (whole pixels of the same size, unless the input is resampled) and
        patch size in pixels; None if no configuration of these bands lies inside.
    """
    scale = pixel_size(layout)
    patch = min(group.patch_size for group in layout.groups)
    best: tuple[float, float, int] | None = None
    nearest: tuple[int, int] | None = None
    for cover in sorted({layout.ground_cover, *PRETRAINING_GROUND_COVERS}):
        if scale is not None and cover % scale:
            continue
        for size in PRETRAINING_PATCH_SIZES:
            try:
                other = make_layout(layout.selection, ground_cover=cover, patch_size=size)
            except LayoutError:
                continue
            if extrapolations(other):
                continue
            moved = abs(math.log(cover / layout.ground_cover))
            # Rounded, so that the order of summing does not decide between equals.
            cost = (round(moved + abs(math.log(size / patch)), 9), round(moved, 9), -size)
            if best is None or cost < best:
                best, nearest = cost, (cover, size)
    return nearest


def extrapolation_text(layout: TokenLayout) -> str | None:
    """Return the warning about a layout outside the ranges; None for a layout inside.

    Args:
        layout: The layout.
    """
    outside = extrapolations(layout)
    if not outside:
        return None
    inside = nearest_inside(layout)
    if inside is None:
        advice = "No configuration of these bands lies inside: use fewer sensors at once"
    else:
        cover, size = inside
        scale = pixel_size(layout)
        side = f"{cover} m" if scale is None else f"{cover // scale} px ({cover} m)"
        kept = "the same " if cover == layout.ground_cover else ""
        advice = f"Nearest inside: patch size {size} with {kept}tiles of {side}"
    return (
        f"THOR extrapolates beyond its pre-training: {'; '.join(outside)}. {advice}. "
        "docs/model.md has the ranges."
    )


def warn_extrapolation(layout: TokenLayout, *, aloud: bool = True) -> None:
    """Warn about a layout outside the ranges, once per process for each configuration.

    Args:
        layout: The layout.
        aloud: False only marks the warning as given, for all processes of a run but the first.
    """
    text = extrapolation_text(layout)
    if text is None or text in _warned:
        return
    _warned.add(text)
    if aloud:
        logger.warning(text)


def largest_side(group: GroupLayout) -> int:
    """Return the largest side, in pixels, of a group's images in pre-training.

    Args:
        group: The group.
    """
    sensor = group.bands[0].sensor
    large = (sensor, group.gsd) in (("S2", 10), ("S1", 60))
    return PRETRAINING_LARGE_SIDE if large else PRETRAINING_IMAGE_SIDES[1]


def extrapolations(layout: TokenLayout) -> tuple[str, ...]:
    """Return in which respects a layout lies outside the pre-training; empty if it lies inside.

    A ground cover between two of the pre-training counts as inside: it enters the model through
    distances, which vary continuously.

    Args:
        layout: The layout.
    """
    outside = []
    low, high = PRETRAINING_GROUND_COVERS[0], PRETRAINING_GROUND_COVERS[-1]
    if not low <= layout.ground_cover <= high:
        outside.append(f"ground cover {layout.ground_cover} m (seen: {low} to {high} m)")
    if layout.n_tokens > PRETRAINING_MAX_TOKENS:
        outside.append(f"{layout.n_tokens} tokens (seen: up to {PRETRAINING_MAX_TOKENS})")
    low, high = PRETRAINING_GRID_SIDES
    for group in layout.groups:
        name = f"group{group.group}"
        if group.patch_size not in PRETRAINING_PATCH_SIZES:
            sizes = ", ".join(map(str, PRETRAINING_PATCH_SIZES))
            outside.append(f"patch size {group.patch_size} px of {name} (seen: {sizes})")
        if not low <= group.n <= high:
            outside.append(f"{group.n} x {group.n} patches of {name} (seen: {low} to {high})")
        least, most = PRETRAINING_IMAGE_SIDES[0], largest_side(group)
        if not least <= group.side <= most:
            outside.append(
                f"{group.side} x {group.side} pixels of {name} at {group.gsd} m (seen: {least} to "
                f"{most})"
            )
    return tuple(outside)
