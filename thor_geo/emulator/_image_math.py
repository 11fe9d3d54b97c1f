# Parameters carry the API's names: that is how arguments are bound.
# ruff: noqa: N803
"""Arithmetic, comparison and casting of images, band by band."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._functions import expect, function
from thor_geo.emulator._images import Image, as_image, pair_bands
from thor_geo.emulator._raster import Frame, MaskedRaster, Node, cast, cast_node, map_node
from thor_geo.support.arrays import AnyArray

NumpyDtype = np.dtype[Any]

CASTS: dict[str, Any] = {
    "Uint8": np.uint8,
    "Byte": np.uint8,
    "Int8": np.int8,
    "Uint16": np.uint16,
    "Int16": np.int16,
    "Short": np.int16,
    "Uint32": np.uint32,
    "Int32": np.int32,
    "Int": np.int32,
    "Int64": np.int64,
    "Long": np.int64,
    "Float": np.float32,
    "Double": np.float64,
}


def _boolean(left: NumpyDtype, right: NumpyDtype) -> NumpyDtype:
    return np.dtype(np.uint8)


def _arithmetic(left: NumpyDtype, right: NumpyDtype) -> NumpyDtype:
    """Pixel type of a sum or product: integers widen, so that nothing overflows."""
    union = np.result_type(left, right)
    if union.kind == "f":
        return union
    return np.dtype(np.int32 if union.itemsize < 4 else np.int64)


def _fractional(left: NumpyDtype, right: NumpyDtype) -> NumpyDtype:
    union = np.result_type(left, right)
    return union if union.kind == "f" else np.dtype(np.float64)


def _divide(left: AnyArray, right: AnyArray) -> AnyArray:
    """Division in floating point, "returning 0 for division by 0"."""
    numerator, divisor = np.broadcast_arrays(left.astype(np.float64), right)
    quotient: AnyArray = np.zeros(numerator.shape)
    np.divide(numerator, divisor, out=quotient, where=divisor != 0)
    return quotient


def _binary(
    name: str,
    result: Callable[[NumpyDtype, NumpyDtype], NumpyDtype],
    apply: Callable[[AnyArray, AnyArray], AnyArray],
) -> None:
    """Register a function of two images; a pixel is valid where both are."""

    def node(left: Node, right: Node) -> Node:
        """Return the node of one pair of bands."""
        dtype = result(left.dtype, right.dtype)

        def compute(frame: Frame) -> MaskedRaster:
            """Apply the function where both are valid."""
            (a, a_mask), (b, b_mask) = frame.get(left), frame.get(right)
            if dtype.itemsize > 2:  # arithmetic, in the type of the result
                a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
            return MaskedRaster(np.asarray(apply(a, b)).astype(dtype, copy=False), a_mask & b_mask)

        return Node(dtype, compute)

    @function(f"Image.{name}")
    def call(image1: Any, image2: Any) -> Image:
        """Apply the function to pairs of bands."""
        first, second = as_image(image1, "image1"), as_image(image2, "image2")
        pairs = pair_bands(first, second)
        bands = [replace(named, node=node(a.node, b.node)) for a, b, named in pairs]
        longer = second if len(second.bands) > len(first.bands) else first
        return longer.derived(bands)


_binary("eq", _boolean, np.equal)
_binary("neq", _boolean, np.not_equal)
_binary("lt", _boolean, np.less)
_binary("lte", _boolean, np.less_equal)
_binary("gt", _boolean, np.greater)
_binary("gte", _boolean, np.greater_equal)
_binary("and", _boolean, lambda a, b: (a != 0) & (b != 0))
_binary("or", _boolean, lambda a, b: (a != 0) | (b != 0))
_binary("add", _arithmetic, np.add)
_binary("subtract", _arithmetic, np.subtract)
_binary("multiply", _arithmetic, np.multiply)
_binary("divide", _fractional, _divide)
_binary("min", np.result_type, np.minimum)
_binary("max", np.result_type, np.maximum)


def _unary(name: str, result: Any, apply: Callable[[AnyArray], AnyArray]) -> None:
    """Register a function of one image; `result` is its pixel type, None for the input's."""

    @function(f"Image.{name}")
    def call(value: Any) -> Image:
        """Apply it to every band."""
        image = as_image(value, "value")
        return image.derived(
            image.map_nodes(
                lambda node: map_node(node, node.dtype if result is None else result, apply)
            )
        )


_unary("not", np.uint8, lambda values: values == 0)
_unary("floor", None, np.floor)
_unary("ceil", None, np.ceil)
# Halves go up, as Java's Math.round takes them.
_unary("round", None, lambda values: np.floor(values + 0.5) if values.dtype.kind == "f" else values)
_unary("abs", None, np.abs)
_unary("sqrt", np.float64, lambda values: np.sqrt(values.astype(np.float64)))


def _cast(suffix: str, dtype: Any) -> None:
    """Register a cast under both of its names, such as ``toUint16`` and ``uint16``."""

    @function(f"Image.to{suffix}", f"Image.{suffix[0].lower()}{suffix[1:]}")
    def call(value: Any) -> Image:
        """Apply it to every band."""
        image = as_image(value, "value")
        return image.with_bands(image.map_nodes(lambda node: cast_node(node, dtype)))


for _suffix, _dtype in CASTS.items():
    _cast(_suffix, _dtype)


@function("Image.clamp")
def _clamp(input: Any, low: Any, high: Any) -> Image:
    image = as_image(input, "input")
    lowest, highest = expect(low, float, "low"), expect(high, float, "high")
    if lowest > highest:
        raise RequestError(f"'low' ({low}) must not exceed 'high' ({high}).")

    def clamp_node(node: Node) -> Node:
        """Return the node clamped."""
        # Bounds outside an integer's range change nothing; the pixel type stays.
        return map_node(
            node, node.dtype, lambda v: cast(np.clip(v * 1.0, lowest, highest), v.dtype)
        )

    return image.with_bands(image.map_nodes(clamp_node))


@function("Image.remap")
def _remap(
    image: Any, from_: Any, to: Any, defaultValue: Any = None, bandName: Any = None
) -> Image:
    source = as_image(image, "image")
    keys, targets = expect(from_, list, "from"), expect(to, list, "to")
    if not keys or len(keys) != len(targets):
        raise RequestError(
            f"'from' and 'to' must match in number, got {len(keys)}, {len(targets)}."
        )
    band = source.select([bandName] if bandName is not None else [0]).bands[0]
    node = band.node
    results = [*targets, *([] if defaultValue is None else [defaultValue])]
    whole = all(isinstance(number, int) for number in results)
    dtype = np.dtype(np.int32 if whole else np.float64)

    def compute(frame: Frame) -> MaskedRaster:
        """Replace the values in the list; others are masked, or the default."""
        values, mask = frame.get(node)
        mapped = np.full(values.shape, 0 if defaultValue is None else defaultValue, dtype=dtype)
        known = np.full(values.shape, defaultValue is not None)
        for key, target in zip(keys, targets, strict=True):
            hit = values == key
            mapped[hit], known[hit] = target, True
        return MaskedRaster(mapped, mask & known)

    return source.derived([replace(band, name="remapped", node=Node(dtype, compute))])
