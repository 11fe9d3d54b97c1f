"""Token layout: the order of the patches in the sequence, and their sizes on the ground.

All geometry is decided and validated here, once, before a model is built or weights are downloaded.
Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from thor_geo.errors import LayoutError
from thor_geo.models.ranges import MOST_ADVISED_TOKENS, PRETRAINING_PATCH_SIZES
from thor_geo.specs import check_choice
from thor_geo.specs.bands import Band, BandSelection, select_bands

Strategy = Literal["min", "max", "equal-min", "equal-max"]

#: Reference patch size of the footprint code in pixels (THOR's `flexivit_ref_patch_size`).
REF_PATCH_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class GroupLayout:
    """The patches of one spectral group.

    Attributes:
        group: Group number, 0 to 9.
        bands: Requested members, in THOR's order.
        planes: Index of each member's plane in the input, in the same order.
        gsd: Ground sampling distance in metres.
        patch_size: Patch side p in pixels of the group's own grid.
        n: Grid side, in patches.
    """

    group: int
    bands: tuple[Band, ...]
    planes: tuple[int, ...]
    gsd: int
    patch_size: int
    n: int

    @property
    def side(self) -> int:
        """Side of the group's images in pixels."""
        return self.n * self.patch_size

    @property
    def footprint(self) -> int:
        """Patch side on the ground in metres."""
        return self.patch_size * self.gsd

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return self.n * self.n


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """A validated geometry; build it with `token_layout` or `make_layout`.

    Attributes:
        selection: The bands, in the order of the input's planes.
        ground_cover: Side of a tile on the ground in metres.
        groups: The groups in use, ascending; tokens stand in this order.
        ref_patch_size: Reference patch size of the footprint code in pixels.
        input_sides: Accepted sides of the (square) input in pixels.
    """

    selection: BandSelection
    ground_cover: int
    groups: tuple[GroupLayout, ...]
    ref_patch_size: int
    input_sides: tuple[int, ...]

    @property
    def n_channels(self) -> int:
        """Number of planes of the input."""
        return len(self.selection.bands)

    @property
    def n_tokens(self) -> int:
        """Number of patch tokens N, over all groups."""
        return sum(group.n_tokens for group in self.groups)

    @property
    def n_max(self) -> int:
        """Side of the finest group's grid, and of merged maps."""
        return max(group.n for group in self.groups)

    @property
    def max_footprint(self) -> int:
        """Side in metres of the coarsest patch in use: ALiBi's unit of distance."""
        return max(group.footprint for group in self.groups)

    @property
    def channel_params(self) -> dict[str, dict[str, int]]:
        """GSD, grid side and patch size by channel, in the order of the request.

        The keys are those of the official extension: ``GSD``, ``num_patch``, ``patch_size``.
        """
        by_group = {group.group: group for group in self.groups}
        return {
            band.channel: {
                "GSD": by_group[band.group].gsd,
                "num_patch": by_group[band.group].n,
                "patch_size": by_group[band.group].patch_size,
            }
            for band in self.selection.bands
        }

    def footprint_ratio(self, group: GroupLayout) -> float:
        """Return the argument of a group's footprint code (dimensionless)."""
        return group.footprint / (self.ref_patch_size * self.selection.min_gsd)

    def merged_dim(self, embed_dim: int, merge: str | None) -> int:
        """Return the number of channels of a merged map.

        Args:
            embed_dim: Token width D.
            merge: ``concat`` stacks the groups; anything else leaves D.

        Returns:
            D, or D times the number of groups.
        """
        return embed_dim * len(self.groups) if merge == "concat" else embed_dim


def _whole(argument: str, value: object, unit: str) -> int:
    # bool is an int to Python, but True pixels are a mistake.
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise LayoutError(argument, value, f"not a positive whole number of {unit}", "Give an int.")
    return value


def _candidates(patch_size: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(patch_size, int):
        return (_whole("patch_size", patch_size, "pixels"),)
    if not isinstance(patch_size, (list, tuple)) or not patch_size:
        raise LayoutError(
            "patch_size",
            patch_size,
            "not a number of pixels or a list of them",
            "Give e.g. 16, or [8, 16] to choose from.",
        )
    return tuple(sorted({_whole("patch_size", size, "pixels") for size in patch_size}))


def _refuse_indivisible(
    ground_cover: int,
    image_size: int | None,
    gsds: Iterable[int],
    candidates: tuple[int, ...],
    bad_gsd: int,
) -> LayoutError:
    """Return the error for a ground cover that no candidate divides, with sizes that do."""
    groups, gsds = list(gsds), sorted(set(gsds))
    products = ", ".join(f"{size} x {bad_gsd} = {size * bad_gsd}" for size in candidates)
    unit = math.lcm(*(candidates[0] * gsd for gsd in gsds))
    resolution = None if image_size is None else ground_cover / image_size
    if resolution is not None and resolution.is_integer():
        unit = math.lcm(unit, int(resolution))
    most = math.isqrt(MOST_ADVISED_TOKENS // _token_count(unit, groups, candidates[0]))
    below = min(ground_cover // unit, most) * unit
    covers = [cover for cover in (below, below + unit) if 0 < cover <= max(1, most) * unit]
    fitting = [
        str(size)
        for size in PRETRAINING_PATCH_SIZES
        if all(ground_cover % (size * gsd) == 0 for gsd in gsds)
        and _token_count(ground_cover, groups, size) <= MOST_ADVISED_TOKENS
    ]
    if resolution is None or any(cover % resolution for cover in covers):
        argument, value, extent = "ground_cover", ground_cover, f"{ground_cover} m"
        better = f"{' or '.join(map(str, covers))} m"
    else:
        argument, value = "image_size", image_size or 0
        extent = f"{image_size} px x {resolution:g} m = {ground_cover} m"
        sides = [str(round(cover / resolution)) for cover in covers]
        better = f"{' or '.join(sides)} px ({resolution:g} m each)"
    remedy = f"With patch_size={candidates[0]} take {better}"
    if fitting:
        remedy += f"; for {ground_cover} m take a patch_size of {', '.join(fitting)}"
    return LayoutError(
        argument,
        value,
        f"{extent} is not a multiple of patch size x GSD ({products} m) for bands at {bad_gsd} m",
        f"{remedy}.",
    )


def _token_count(ground_cover: int, gsds: Iterable[int], patch_size: int) -> int:
    """Return the tokens of a ground cover that patches divide; a GSD counts for each group."""
    return sum((ground_cover // (patch_size * gsd)) ** 2 for gsd in gsds)


def _choose(
    ground_cover: int,
    image_size: int | None,
    gsds: dict[int, int],
    candidates: tuple[int, ...],
    strategy: Strategy,
) -> dict[int, int]:
    """Return the patch size of every group; *gsds* maps groups to GSDs."""
    fitting: dict[int, list[int]] = {}
    for group, gsd in gsds.items():
        fitting[group] = [size for size in candidates if ground_cover % (size * gsd) == 0]
        if not fitting[group]:
            raise _refuse_indivisible(ground_cover, image_size, gsds.values(), candidates, gsd)
    if strategy in ("min", "max"):
        pick = min if strategy == "min" else max
        return {group: pick(sizes) for group, sizes in fitting.items()}
    sides = {
        group: {ground_cover // (gsds[group] * size): size for size in sizes}
        for group, sizes in fitting.items()
    }
    common = set.intersection(*(set(by_side) for by_side in sides.values()))
    if not common:
        options = "; ".join(
            f"group{group} at {gsds[group]} m: {sorted(by_side)}"
            for group, by_side in sides.items()
        )
        raise LayoutError(
            "strategy",
            strategy,
            f"no grid side is common to all groups for a ground cover of {ground_cover} m and "
            f"patch sizes {list(candidates)} ({options})",
            "Give patch sizes in the ratio of the GSDs, e.g. [8, 16] for 10 m and 20 m, or use "
            "strategy 'min'.",
        )
    side = max(common) if strategy == "equal-min" else min(common)
    return {group: by_side[side] for group, by_side in sides.items()}


def make_layout(
    selection: BandSelection,
    *,
    ground_cover: int,
    patch_size: int | Sequence[int] = 16,
    strategy: Strategy = "min",
    ref_patch_size: int = REF_PATCH_SIZE,
    image_size: int | None = None,
) -> TokenLayout:
    """Lay out the tokens for a ground cover in metres.

    Args:
        selection: The bands.
        ground_cover: Side of a tile on the ground in metres.
        patch_size: Patch size in pixels of a group's own grid, or several to choose from.
        strategy: ``min`` or ``max``: each group takes the smallest or largest that divides;
            ``equal-min`` or ``equal-max``: sizes that give all groups the same grid, with the most
            or fewest patches.
        ref_patch_size: Reference patch size of the footprint code. Leave it at 4.
        image_size: Side of the input in pixels. By default every side is accepted whose pixels have
            a GSD in use, or the finest GSD of THOR's groups.

    Returns:
        The layout.

    Raises:
        ConfigError: If *strategy* is unknown.
        LayoutError: If a size is not a positive whole number, no patch size satisfies
            ``ground_cover % (patch_size * GSD) == 0`` for some group, or no grid is common to all.
    """
    check_choice("strategy", strategy, Strategy)
    cover = _whole("ground_cover", ground_cover, "metres")
    candidates = _candidates(patch_size)
    ref = _whole("ref_patch_size", ref_patch_size, "pixels")
    gsds = {group: selection.group_gsd[group] for group in selection.groups}
    side = None if image_size is None else _whole("image_size", image_size, "pixels")
    sizes = _choose(cover, side, gsds, candidates, strategy)
    planes = {band.channel: plane for plane, band in enumerate(selection.bands)}
    groups = tuple(
        GroupLayout(
            group=group,
            bands=bands,
            planes=tuple(planes[band.channel] for band in bands),
            gsd=gsds[group],
            patch_size=sizes[group],
            n=cover // (gsds[group] * sizes[group]),
        )
        for group, bands in selection.groups.items()
    )
    if side is None:
        scales = {selection.min_gsd, *gsds.values()}
        sides = tuple(sorted(cover // gsd for gsd in scales if cover % gsd == 0))
    else:
        sides = (side,)
    return TokenLayout(
        selection=selection,
        ground_cover=cover,
        groups=groups,
        ref_patch_size=ref,
        input_sides=sides,
    )


def token_layout(
    *,
    bands: Sequence[str] | BandSelection,
    image_size: int,
    resolution: int = 10,
    patch_size: int | Sequence[int] = 16,
    strategy: Strategy = "min",
    ref_patch_size: int = REF_PATCH_SIZE,
) -> TokenLayout:
    """Lay out the tokens for images of a given size; no model and no weights are needed.

    Args:
        bands: TerraTorch names or THOR channels, one per plane of the input; or a selection.
        image_size: Side of the input in pixels.
        resolution: Pixel size of the input in metres.
        patch_size: See `make_layout`.
        strategy: See `make_layout`.
        ref_patch_size: See `make_layout`.

    Returns:
        The layout; its ground cover is ``image_size * resolution``.

    Raises:
        BandError: If a band is unknown or asked for twice.
        ConfigError: If *strategy* is unknown.
        LayoutError: As `make_layout`.
    """
    selection = bands if isinstance(bands, BandSelection) else select_bands(bands)
    side = _whole("image_size", image_size, "pixels")
    cover = side * _whole("resolution", resolution, "metres")
    return make_layout(
        selection,
        ground_cover=cover,
        patch_size=patch_size,
        strategy=strategy,
        ref_patch_size=ref_patch_size,
        image_size=side,
    )
