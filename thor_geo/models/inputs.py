"""Whether an image fits a layout."""

from __future__ import annotations

from torch import Tensor

from thor_geo.errors import InputError
from thor_geo.models.layout import TokenLayout


def check_image(x: Tensor, layout: TokenLayout, *, allow_resize: bool = False) -> None:
    """Refuse an image that does not fit a layout.

    Args:
        x: Normalised input (B, C, side, side), floating point.
        layout: The token layout.
        allow_resize: Accept any height and width.

    Raises:
        InputError: If dtype, number of dimensions, channels, or height and width are wrong.
    """
    if x.ndim != 4:
        raise InputError(f"`x` has {x.ndim} dimensions; give (batch, channel, height, width).")
    if not x.is_floating_point():
        raise InputError(
            f"`x` has dtype {x.dtype}; give normalised floats, as "
            "thor_geo.transforms.THORNormalize makes them."
        )
    if x.shape[1] != layout.n_channels:
        names = ", ".join(band.channel for band in layout.selection.bands)
        raise InputError(
            f"`x` has {x.shape[1]} channels, but the model was built for {layout.n_channels}: "
            f"{names}. Give one plane per band, in this order."
        )
    height, width = x.shape[-2:]
    if not allow_resize and (height != width or height not in layout.input_sides):
        sides = " or ".join(f"{side} x {side}" for side in layout.input_sides)
        raise InputError(
            f"`x` is {height} x {width} pixels, but a ground cover of {layout.ground_cover} m "
            f"needs {sides}. Cut tiles of that size, build the model for this "
            "size, or allow squashing with allow_resize=True."
        )
