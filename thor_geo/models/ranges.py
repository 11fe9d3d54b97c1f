"""What THOR saw in pre-training: the ranges of its geometry (source: THOR 1.0 as published).

Inside of them an embedding is what was trained; outside the model extrapolates, silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor_geo.models.layout import GroupLayout, TokenLayout

#: Ground covers in metres that were drawn.
PRETRAINING_GROUND_COVERS = (
    960,
    1440,
    1920,
    2880,
    3360,
    4800,
    5760,
    7680,
    9600,
    11520,
    14400,
    19200,
    23040,
    28800,
    30720,
    46080,
)

#: Patch sizes in pixels of a group's own grid that were drawn.
PRETRAINING_PATCH_SIZES = (4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 18, 20, 24, 30, 32)

#: Smallest and largest side in pixels of a group's images; the larger one is that of Sentinel-2's
#: bands at 10 m and of Sentinel-1 at 60 m.
PRETRAINING_IMAGE_SIDES = (24, 288)
PRETRAINING_LARGE_SIDE = 576

#: Fewest and most patches along a side of a group's grid.
PRETRAINING_GRID_SIDES = (2, 32)

#: Most tokens per sample, over all groups.
PRETRAINING_MAX_TOKENS = 1296


def largest_side(group: GroupLayout) -> int:
    """Return the largest side in pixels that a group's images had.

    Args:
        group: The group.
    """
    sensor = group.bands[0].sensor
    large = (sensor, group.gsd) in (("S2", 10), ("S1", 60))
    return PRETRAINING_LARGE_SIDE if large else PRETRAINING_IMAGE_SIDES[1]


def beyond(layout: TokenLayout) -> tuple[str, ...]:
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
