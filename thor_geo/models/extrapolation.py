"""Telling, once, that a configuration lies outside of THOR's pre-training, and what lies inside."""

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

# What this process was told already.
_told: set[str] = set()


def pixel_size(layout: TokenLayout) -> int | None:
    """Return the pixel size in metres of a layout's (largest) input.

    Args:
        layout: The layout.

    Returns:
        Whole metres; None for an input of other pixels, which was resampled to its size.
    """
    metres, rest = divmod(layout.ground_cover, max(layout.input_sides))
    return metres if rest == 0 else None


def nearest_inside(layout: TokenLayout) -> tuple[int, int] | None:
    """Return the configuration of the same bands, inside the ranges, that is nearest.

    Nearest is the smallest sum of the factors (in logarithms) by which ground cover and patch size
    change; of equals, the one that changes the ground cover less, then the larger patch (fewer
    tokens).

    Args:
        layout: A layout.

    Returns:
        Ground cover in metres, of whole pixels of the same size unless the input is resampled, and
        patch size in pixels; None if these bands have none.
    """
    scale = pixel_size(layout)
    patch = min(group.patch_size for group in layout.groups)
    best: tuple[float, float, int] | None = None
    found: tuple[int, int] | None = None
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
            # Rounded, so that equals are equal whatever the order of the sum.
            cost = (round(moved + abs(math.log(size / patch)), 9), round(moved, 9), -size)
            if best is None or cost < best:
                best, found = cost, (cover, size)
    return found


def extrapolation_text(layout: TokenLayout) -> str | None:
    """Return what there is to say of a layout outside of the ranges, or None inside.

    Args:
        layout: The layout.
    """
    outside = extrapolations(layout)
    if not outside:
        return None
    inside = nearest_inside(layout)
    if inside is None:
        advice = "No configuration of these bands lies inside: take fewer sensors at once"
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
    """Warn of a layout outside of the ranges, once in a process for each configuration.

    Args:
        layout: The layout.
        aloud: False notes it as told without telling: for the processes of a run that are not the
            first.
    """
    text = extrapolation_text(layout)
    if text is None or text in _told:
        return
    _told.add(text)
    if aloud:
        logger.warning(text)


def largest_side(group: GroupLayout) -> int:
    """Return the largest side in pixels that a group's images had.

    Args:
        group: The group.
    """
    sensor = group.bands[0].sensor
    large = (sensor, group.gsd) in (("S2", 10), ("S1", 60))
    return PRETRAINING_LARGE_SIDE if large else PRETRAINING_IMAGE_SIDES[1]


def extrapolations(layout: TokenLayout) -> tuple[str, ...]:
    """Return in which respects a layout lies outside of what THOR saw; empty if in none.

    Between two ground covers that were drawn a layout counts as inside: the ground cover enters the
    model through distances, which vary without steps.

    Args:
        layout: The layout.
    """
    found = []
    low, high = PRETRAINING_GROUND_COVERS[0], PRETRAINING_GROUND_COVERS[-1]
    if not low <= layout.ground_cover <= high:
        found.append(f"ground cover {layout.ground_cover} m (seen: {low} to {high} m)")
    if layout.n_tokens > PRETRAINING_MAX_TOKENS:
        found.append(f"{layout.n_tokens} tokens (seen: up to {PRETRAINING_MAX_TOKENS})")
    low, high = PRETRAINING_GRID_SIDES
    for group in layout.groups:
        name = f"group{group.group}"
        if group.patch_size not in PRETRAINING_PATCH_SIZES:
            sizes = ", ".join(map(str, PRETRAINING_PATCH_SIZES))
            found.append(f"patch size {group.patch_size} px of {name} (seen: {sizes})")
        if not low <= group.n <= high:
            found.append(f"{group.n} x {group.n} patches of {name} (seen: {low} to {high})")
        least, most = PRETRAINING_IMAGE_SIDES[0], largest_side(group)
        if not least <= group.side <= most:
            found.append(
                f"{group.side} x {group.side} pixels of {name} at {group.gsd} m (seen: {least} to "
                f"{most})"
            )
    return tuple(found)
