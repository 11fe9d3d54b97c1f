"""How pixels of any extent become inputs of the encoder: what the caller may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from thor_geo.errors import ConfigError
from thor_geo.specs import check_choice

Mode = Literal["auto", "native", "resize", "tile"]
GroundCover = Literal["true", "nominal"]


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
      `max_tokens`, otherwise tiles: those of a run, or tiles around the place where fewer cover it.

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
