"""Cuts images of any extent into inputs of the encoder, for one model configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from thor_geo.api._cut import Cut
from thor_geo.api.prep import InputPrep
from thor_geo.errors import ConfigError, LayoutError
from thor_geo.ground.images import NativeFit, native_side, native_unit, tile_windows
from thor_geo.models.ranges import MOST_ADVISED_TOKENS, PRETRAINING_PATCH_SIZES
from thor_geo.specs.bands import BandSelection

# All pixels of a place, and its tiles, are in memory at once: 1.7 GB for 1,024 tiles of ten bands.
_MOST_TILES = 1024
_MOST_PIXELS = _MOST_TILES * 288 * 288


@dataclass(frozen=True, kw_only=True)
class Cutter:
    """Cuts images for one model configuration.

    Attributes:
        prep: How to prepare inputs.
        selection: The bands.
        patch_size: Side of a patch in pixels of each group's own grid.
        resolution: Pixel size in metres.
        image_size: Side of tiles and of resized inputs, pixels.
    """

    prep: InputPrep
    selection: BandSelection
    patch_size: int
    resolution: int
    image_size: int

    def __post_init__(self) -> None:
        """Validate the image size and the halo.

        Raises:
            ConfigError: If image_size is not a valid side, or the halo leaves nothing of a tile.
        """
        unit, _ = self._unit
        if self.prep.mode in ("tile", "auto"):
            self._check_halo(unit)
        if self.prep.mode == "native" or (
            self.prep.mode == "resize" and self.prep.ground_cover == "true"
        ):
            return  # any side will do, or it is not used
        if self.image_size % unit:
            gsds = " and ".join(f"{gsd} m" for gsd in sorted(set(self._gsds)))
            raise LayoutError(
                "image_size",
                self.image_size,
                f"{self.image_size} px is not a multiple of {unit} px, which "
                f"patch_size={self.patch_size} needs for bands at {gsds}",
                f"Take image_size={' or '.join(map(str, self._valid_sides(unit)))}"
                f"{self._valid_patches()}.",
            )

    def _check_halo(self, unit: int) -> None:
        halo, cell = self.prep.halo, self.cell
        if cell < 1:
            raise LayoutError(
                "patch_size",
                self.patch_size,
                f"patches of {self.patch_size * min(self._gsds)} m are smaller than the pixels of "
                f"{self.resolution} m",
                f"Take {-(-self.resolution // min(self._gsds))} or more.",
            )
        # The image size may have to change, too: what is advised holds for the size to come.
        side = self.image_size if self.image_size % unit == 0 else max(self._valid_sides(unit))
        largest = (side - 1) // 2 // cell * cell
        if halo % cell == 0 and 0 <= halo <= largest:
            return
        near = {min(max(0, value * cell), largest) for value in (halo // cell, halo // cell + 1)}
        raise ConfigError(
            "halo",
            halo,
            f"not a multiple of {cell} px (a cell of the map) from 0 to {largest}, which leaves "
            f"something of a tile of {side} px",
            f"Take {' or '.join(map(str, sorted(near)))}.",
        )

    def _valid_sides(self, unit: int) -> list[int]:
        """Return the sides next to the image size that patches divide and the halo leaves."""
        below = self.image_size // unit * unit
        least = 2 * self.prep.halo if self.prep.mode in ("tile", "auto") else 0
        sides = [side for side in (below, below + unit) if side > max(0, least)]
        return sides or [(least // unit + 1) * unit]

    def _valid_patches(self) -> str:
        """Return the patch sizes that divide the image size, as an end of a sentence."""
        sizes = [size for size in PRETRAINING_PATCH_SIZES if self._fits(size)]
        return f"; or patch_size={', '.join(map(str, sizes))}" if sizes else ""

    def _fits(self, patch_size: int) -> bool:
        unit, tokens = native_unit(self._gsds, patch_size=patch_size, resolution=self.resolution)
        times, rest = divmod(self.image_size, unit)
        if rest or tokens * times**2 > MOST_ADVISED_TOKENS:
            return False
        cell, halo = patch_size * min(self._gsds) // self.resolution, self.prep.halo
        return 0 <= 2 * halo < self.image_size and halo % cell == 0

    @property
    def _unit(self) -> tuple[int, int]:
        return native_unit(self._gsds, patch_size=self.patch_size, resolution=self.resolution)

    @property
    def _gsds(self) -> tuple[int, ...]:
        return tuple(self.selection.group_gsd[group] for group in self.selection.groups)

    @property
    def cell(self) -> int:
        """Side of a cell of the merged map in pixels."""
        return self.patch_size * min(self._gsds) // self.resolution

    def cut(self, height: int, width: int, *, origin: tuple[int, int] | None = None) -> Cut:
        """Return the cut of an image.

        Args:
            height: Rows of the image.
            width: Columns of the image.
            origin: Row (north of the anchor) and column of its upper-left pixel in the grid of
                runs if it is a place, which has more ground on all sides. None for an array, which
                can only be padded.

        Raises:
            ConfigError: If there are more pixels or tiles than a call can hold.
        """
        if height * width > _MOST_PIXELS:
            raise _too_large(height, width, f"{height * width:,} pixels", f"{_MOST_PIXELS:,}")
        if self.prep.mode == "resize" and self.prep.ground_cover == "nominal":
            return self._nominal(height, width)
        if self.prep.mode == "tile" or (self.prep.mode == "auto" and not self._has_native):
            return self._tiles(height, width, origin)
        fit = self._fit(height, width)
        if self.prep.mode == "auto" and self._cuts_off(fit, height, width):
            return self._tiles(height, width, origin)
        return self._square(fit, height, width, is_place=origin is not None)

    @property
    def _has_native(self) -> bool:
        unit, tokens = self._unit
        return unit <= self.prep.max_side and tokens <= self.prep.max_tokens

    def _fit(self, height: int, width: int) -> NativeFit:
        unit, tokens = self._unit
        free = self.prep.mode == "resize"
        longest = unit * (max(height, width) // unit + 1)
        return native_side(
            height,
            width,
            unit=unit,
            unit_tokens=tokens,
            max_side=longest if free else self.prep.max_side,
            max_tokens=tokens * (longest // unit) ** 2 if free else self.prep.max_tokens,
        )

    def _cuts_off(self, fit: NativeFit, height: int, width: int) -> bool:
        unit, _ = self._unit
        return 2 * (max(height, width) - fit.side) > unit

    def _square(self, fit: NativeFit, height: int, width: int, *, is_place: bool) -> Cut:
        side = fit.side
        # A place is extended by ground on both sides; an array is padded at its end.
        top, left = ((height - side) // 2, (width - side) // 2) if is_place else (fit.top, fit.left)
        resize = self.prep.mode == "resize"
        return Cut(
            mode="resize" if resize else "native",
            top=top,
            left=left,
            height=side,
            width=side,
            windows=(),
            image_size=self.image_size if resize else side,
            ground_cover=side * self.resolution,
            result=((0, side), (0, side)),
        )

    def _nominal(self, height: int, width: int) -> Cut:
        return Cut(
            mode="resize",
            top=0,
            left=0,
            height=height,
            width=width,
            windows=(),
            image_size=self.image_size,
            ground_cover=self.image_size * self.resolution,
            result=((0, height), (0, width)),
        )

    def _tiles(self, height: int, width: int, origin: tuple[int, int] | None) -> Cut:
        if origin is None:
            cell = self.cell
            result = ((0, -(-height // cell) * cell), (0, -(-width // cell) * cell))
            return self._windows("image", (0, height), (0, width), result, (height, width))
        row, col = origin
        halo, step = self.prep.halo, self.image_size - 2 * self.prep.halo
        # The tiles of a run whose middles meet the place, so that the map has a run's cells.
        down = _run_span((-row - halo) % step, height, step)
        across = _run_span((col - halo) % step, width, step)
        tiles: Literal["run", "place"] = "run"
        if self.prep.mode == "auto":
            coarse = math.lcm(*self._gsds, self.resolution) // self.resolution
            # Above it, rows count from the other end.
            around = (
                _place_span(-row % coarse, height, step, coarse),
                _place_span(col % coarse, width, step, coarse),
            )
            if around[0][1] * around[1][1] < down[1] * across[1]:
                tiles, (down, across) = "place", around
        (above, rows), (before, cols) = down, across
        return self._windows(
            tiles,
            (-above - halo, rows * step + 2 * halo),
            (-before - halo, cols * step + 2 * halo),
            (self._cells(above + halo, height), self._cells(before + halo, width)),
            (height, width),
        )

    def _cells(self, start: int, length: int) -> tuple[int, int]:
        """Return the whole cells of a cut's axis around some of its pixels."""
        cell = self.cell
        return start // cell * cell, -(-(start + length) // cell) * cell

    def _windows(
        self,
        tiles: Literal["run", "place", "image"],
        rows: tuple[int, int],
        cols: tuple[int, int],
        result: tuple[tuple[int, int], tuple[int, int]],
        asked: tuple[int, int],
    ) -> Cut:
        """Return the cut of tiles over rows and columns, each a start and a length."""
        halo, size = self.prep.halo, self.image_size
        step = size - 2 * halo
        count = -(-rows[1] // step) * -(-cols[1] // step)
        if count > _MOST_TILES:
            raise _too_large(*asked, f"about {count:,} tiles of {size} px", f"{_MOST_TILES:,}")
        return Cut(
            mode="tile",
            tiles=tiles,
            top=rows[0],
            left=cols[0],
            height=rows[1],
            width=cols[1],
            windows=tile_windows(rows[1], cols[1], size=size, halo=halo, cell=self.cell),
            image_size=size,
            ground_cover=size * self.resolution,
            result=result,
        )


def _run_span(above: int, length: int, step: int) -> tuple[int, int]:
    """Return how far before a place's first pixel the first middle of a run's tiles begins.

    Args:
        above: See the return value.
        length: Pixels of the place along the axis.
        step: Distance of tiles in pixels.

    Returns:
        That, and the number of tiles along the axis.
    """
    return above, -(-(above + length) // step)


def _place_span(least: int, length: int, step: int, coarse: int) -> tuple[int, int]:
    """Return the same for tiles that lie around the place, as few as cover it.

    Args:
        least: Pixels from the place's first pixel to the corner of the coarsest band's pixel that
            holds it: tiles begin at such corners, as those of runs do.
        length: Pixels of the place along the axis.
        step: Distance of tiles in pixels.
        coarse: Side of a pixel of the coarsest band.
    """
    count = -(-(least + length) // step)
    half = (count * step - length) // 2
    return least + max(0, half - least) // coarse * coarse, count


def _too_large(height: int, width: int, size: str, most: str) -> ConfigError:
    return ConfigError(
        "spatial",
        f"{height} x {width} px",
        f"{size} in one call (at most {most})",
        "Use `thor-geo predict`, which writes tiles one after the other.",
    )
