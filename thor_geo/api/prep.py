"""How pixels of any extent become inputs of the encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from thor_geo.errors import ConfigError
from thor_geo.ground.images import ImageWindow, NativeFit, native_side, native_unit, tile_windows
from thor_geo.ground.lattice import Rect
from thor_geo.specs import check_choice
from thor_geo.specs.bands import BandSelection

Mode = Literal["auto", "native", "resize", "tile"]
GroundCover = Literal["true", "nominal"]

# All pixels of a place, and its tiles, are in memory at once: 1.7 GB for 1,024 tiles of ten bands.
_MOST_TILES = 1024
_MOST_PIXELS = _MOST_TILES * 288 * 288


@dataclass(frozen=True, kw_only=True)
class InputPrep:
    """How pixels of any extent become inputs of the encoder.

    * ``native``: one square of the sensor's own pixels, snapped to the nearest side that patches
      divide (`thor_geo.ground.images.native_side`).
    * ``resize``: the same square, resized to image_size x image_size pixels, bilinearly. The number
      of tokens follows the ground, not image_size, unless `ground_cover` is ``nominal``.
    * ``tile``: the tiles of a run, image_size pixels each, stitched. The vector is the mean of the
      tiles' vectors, weighted by their pixels in the place; a tile also sees ground around it.
    * ``auto``: ``native`` if it cuts off at most half a snapping unit and is within `max_side` and
      `max_tokens`, otherwise ``tile``.

    The result's metadata says what was done.

    Attributes:
        mode: See above.
        halo: Pixels at each tile's edge that the encoder sees and the map leaves out (``tile``).
        max_side: Largest side of a ``native`` input, pixels.
        max_tokens: Most tokens of a ``native`` input.
        ground_cover: Side on the ground that the model assumes for a ``resize`` input: ``true``, or
            ``nominal``: image_size times the pixel size, with all pixels, square or not, squeezed
            into it. rs-embed does the latter; the model is then wrong about where patches are.

    Raises:
        ConfigError: If a value is out of range, or does not go with the mode.
    """

    mode: Mode = "auto"
    halo: int = 0
    max_side: int = 384
    max_tokens: int = 3000
    ground_cover: GroundCover = "true"

    def __post_init__(self) -> None:
        """Validate."""
        check_choice("input_prep", self.mode, Mode)
        check_choice("ground_cover", self.ground_cover, GroundCover)
        if self.halo and self.mode not in ("tile", "auto"):
            raise ConfigError(
                "halo", self.halo, f"input_prep={self.mode} has no tiles", "Use InputPrep.tile()."
            )
        if self.ground_cover == "nominal" and self.mode != "resize":
            raise ConfigError(
                "ground_cover",
                self.ground_cover,
                f"input_prep={self.mode} keeps pixels as they are",
                "Use it only with input_prep=resize.",
            )

    @classmethod
    def tile(cls, *, halo: int = 0) -> Self:
        """Prepare tiles, with *halo* pixels of context that the map leaves out."""
        return cls(mode="tile", halo=halo)

    @classmethod
    def native(cls, *, max_side: int = 384, max_tokens: int = 3000) -> Self:
        """Prepare one square of the sensor's own pixels."""
        return cls(mode="native", max_side=max_side, max_tokens=max_tokens)

    @classmethod
    def resize(cls, *, ground_cover: GroundCover = "true") -> Self:
        """Prepare one square, resized to image_size."""
        return cls(mode="resize", ground_cover=ground_cover)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of an image that is used, and its inputs for the encoder.

    Attributes:
        mode: The mode in use, where `InputPrep` is ``auto`` the one it chose.
        top: First row; negative above the image.
        left: First column; negative to the left of the image.
        height: Number of rows; beyond the image there is more ground, or padding.
        width: Number of columns.
        windows: Tiles, in pixels of the cut; empty if all of it is one input.
        image_size: Side to which inputs are resized, pixels.
        ground_cover: Side on the ground that the model assumes, metres.
        result: Rows and columns of the cut that the map shows: the first pixel, and the one after
            the last.
    """

    mode: Literal["native", "resize", "tile"]
    top: int
    left: int
    height: int
    width: int
    windows: tuple[ImageWindow, ...]
    image_size: int
    ground_cover: int
    result: tuple[tuple[int, int], tuple[int, int]]

    @property
    def weights(self) -> tuple[int, ...]:
        """Number of each window's own pixels in the result; 1 for a single input."""
        if not self.windows:
            return (1,)
        rows, cols = self.result
        return tuple(
            _shared(window.top, window.rows, rows) * _shared(window.left, window.cols, cols)
            for window in self.windows
        )

    def rect(self, asked: Rect) -> Rect:
        """Return the rectangle of the cut for a place's rectangle."""
        return replace(
            asked,
            left=asked.left + self.left,
            top=asked.top - self.top,
            width=self.width,
            height=self.height,
        )


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
        if self.prep.mode in ("tile", "auto"):
            tile_windows(1, 1, size=self.image_size, halo=self.prep.halo, cell=self.cell)

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
        if self.prep.mode == "tile":
            return self._tiles(height, width, origin)
        fit = self._fit(height, width)
        if self.prep.mode == "auto" and self._cuts_off(fit, height, width):
            return self._tiles(height, width, origin)
        return self._square(fit, height, width, is_place=origin is not None)

    def _fit(self, height: int, width: int) -> NativeFit:
        unit, tokens = native_unit(
            self._gsds, patch_size=self.patch_size, resolution=self.resolution
        )
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
        unit, _ = native_unit(self._gsds, patch_size=self.patch_size, resolution=self.resolution)
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
        halo, size, cell = self.prep.halo, self.image_size, self.cell
        step = size - 2 * halo
        if origin is None:
            top = left = 0
            rows, cols = height, width
            result = ((0, -(-height // cell) * cell), (0, -(-width // cell) * cell))
        else:
            # The tiles of a run whose middles meet the place, so that the map has a run's cells.
            row, col = origin
            above, before = (-row - halo) % step + halo, (col - halo) % step + halo
            top, left = -above, -before
            rows = -(-(above + height - halo) // step) * step + 2 * halo
            cols = -(-(before + width - halo) // step) * step + 2 * halo
            result = (
                (above // cell * cell, -(-(above + height) // cell) * cell),
                (before // cell * cell, -(-(before + width) // cell) * cell),
            )
        tiles = -(-rows // step) * -(-cols // step)
        if tiles > _MOST_TILES:
            raise _too_large(
                height, width, f"about {tiles:,} tiles of {size} px", f"{_MOST_TILES:,}"
            )
        windows = tile_windows(rows, cols, size=size, halo=halo, cell=cell)
        return Cut(
            mode="tile",
            top=top,
            left=left,
            height=rows,
            width=cols,
            windows=windows,
            image_size=size,
            ground_cover=size * self.resolution,
            result=result,
        )


def _shared(start: int, kept: tuple[int, int], result: tuple[int, int]) -> int:
    """Return how many of the pixels that a window keeps along one axis are in the result."""
    return max(0, min(start + kept[1], result[1]) - max(start + kept[0], result[0]))


def _too_large(height: int, width: int, size: str, most: str) -> ConfigError:
    return ConfigError(
        "spatial",
        f"{height} x {width} px",
        f"{size} in one call (at most {most})",
        "Use `thor-geo predict`, which writes tiles one after the other.",
    )
