"""The part of an image that is used, and its inputs for the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thor_geo.ground.images import ImageWindow
from thor_geo.ground.lattice import Rect


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of an image that is used, and its inputs for the encoder.

    Attributes:
        mode: The mode in use, where `InputPrep` is ``auto`` the one it chose.
        tiles: Whose tiles the windows are: ``run`` (on the lattice of runs), ``place`` (around the
            place), or ``image``; None without windows.
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
    tiles: Literal["run", "place", "image"] | None = None
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

    def margins(self, height: int, width: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many pixels on each side are left out, and how many are added.

        Args:
            height: Rows of the image or place that was cut.
            width: Its columns.

        Returns:
            Pixels of the image that no input holds, and pixels of the inputs beyond the image, both
            by ``top``, ``bottom``, ``left`` and ``right``.
        """
        bottom = max([self.height, *(window.top + window.size for window in self.windows)])
        right = max([self.width, *(window.left + window.size for window in self.windows)])
        inward = {
            "top": self.top,
            "bottom": height - self.top - bottom,
            "left": self.left,
            "right": width - self.left - right,
        }
        cropped = {side: max(0, pixels) for side, pixels in inward.items()}
        return cropped, {side: max(0, -pixels) for side, pixels in inward.items()}

    def rect(self, asked: Rect) -> Rect:
        """Return the rectangle of the cut for a place's rectangle: itself, if all of it is used."""
        if (self.top, self.left) == (0, 0) and (self.height, self.width) == (
            asked.height,
            asked.width,
        ):
            return asked
        return Rect(
            epsg=asked.epsg,
            resolution=asked.resolution,
            left=asked.left + self.left,
            top=asked.top - self.top,
            width=self.width,
            height=self.height,
            anchor=asked.anchor,
        )


def _shared(start: int, kept: tuple[int, int], result: tuple[int, int]) -> int:
    """Return how many of the pixels that a window keeps along one axis are in the result."""
    return max(0, min(start + kept[1], result[1]) - max(start + kept[0], result[0]))
