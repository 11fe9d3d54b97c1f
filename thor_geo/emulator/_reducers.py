# Parameters carry the API's names: that is how arguments are bound.
# ruff: noqa: N803
"""Reducers: many values to few, per pixel or over a column of properties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._functions import expect, function, strings
from thor_geo.emulator._raster import MaskedRaster
from thor_geo.support.arrays import AnyArray

#: Reduces the rasters of one band, of one shape, to one raster of that shape.
Reduction = Callable[[Sequence[MaskedRaster], tuple[int, int]], MaskedRaster]


@dataclass(frozen=True, kw_only=True)
class ReducerOutput:
    """One output of a reducer over pixels.

    Args:
        name: What is appended to the band's name.
        reduce: Computes it.
        dtype: Pixel type of the result; None keeps the input's.
    """

    name: str
    reduce: Reduction
    dtype: npt.DTypeLike | None


@dataclass(frozen=True, kw_only=True)
class Reducer:
    """A reducer of one input over pixels."""

    outputs: tuple[ReducerOutput, ...]


@dataclass(frozen=True, kw_only=True)
class ToList:
    """A reducer that collects rows of a table.

    Args:
        size: Values per row; None for a list of single values.
        optional: How many values at the end of a row may be null.
    """

    size: int | None
    optional: int

    def rows(self, table: Sequence[Sequence[Any]], inputs: int) -> list[Any]:
        """Return the rows without those that lack a required value.

        Raises:
            RequestError: If the rows have another number of values than the reducer takes.
        """
        expected = 1 if self.size is None else self.size
        if inputs != expected:
            raise RequestError(
                f"Need {expected} input(s) for Reducer.toList, got {inputs} selector(s)."
            )
        kept = [row for row in table if None not in row[: expected - self.optional]]
        return [row[0] if self.size is None else list(row) for row in kept]


@lru_cache(maxsize=256)
def sorting_network(n: int) -> tuple[tuple[int, int], ...]:
    """Return the comparisons of Batcher's odd-even merge sort of n items.

    Comparing and swapping whole rows is some ten times faster than ``numpy.sort`` along a short
    axis. Batcher (1968), "Sorting networks and their applications".

    Args:
        n: Number of items.

    Returns:
        Pairs (i, j), i < j; after all of them, in order, item i <= item i + 1 everywhere.
    """
    pairs: list[tuple[int, int]] = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                pairs.extend(
                    (i + j, i + j + k)
                    for i in range(min(k, n - j - k))
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p)
                )
            k //= 2
        p *= 2
    return tuple(pairs)


def _sorted_rows(
    stack: Sequence[MaskedRaster], shape: tuple[int, int]
) -> tuple[list[AnyArray], AnyArray]:
    """Return the valid values in ascending order (then a filler), and how many are valid."""
    dtype = np.result_type(*(raster.values.dtype for raster in stack))
    filler: Any
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        dtype, filler = np.dtype(np.int32), np.iinfo(np.int32).max
    else:
        dtype, filler = np.dtype(np.float64), np.inf
    rows, count = [], np.zeros(shape, dtype=np.int32)
    for values, mask in stack:
        rows.append(np.where(np.broadcast_to(mask, shape), values, np.array(filler, dtype)))
        count += mask
    spare = np.empty(shape, dtype=dtype)
    for i, j in sorting_network(len(rows)):
        low, high = rows[i], rows[j]
        np.minimum(low, high, out=spare)
        np.maximum(low, high, out=high)
        rows[i], spare = spare, low
    return rows, count


def _pick(rows: Sequence[AnyArray], rank: AnyArray) -> AnyArray:
    """Return, per pixel, the row whose number is the rank there."""
    picked = np.zeros(rank.shape, dtype=np.float64)
    for number in range(int(rank.min()), int(rank.max()) + 1):
        np.copyto(picked, rows[number], where=rank == number)
    return picked


def _quantiles(fractions: Sequence[float], index: int) -> Reduction:
    """Return the reduction to the quantile number `index`, linear between ranks."""
    fraction = fractions[index]

    def reduce(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
        """Interpolate between ranks of the valid values of each pixel."""
        stack = [raster for raster in stack if raster.mask.any()]
        if not stack:
            return MaskedRaster(np.zeros(()), np.array(False))
        rows, count = _sorted_rows(stack, shape)
        position = fraction * np.maximum(count - 1, 0)
        lower = np.floor(position).astype(np.int32)
        weight = position - lower
        upper = lower + (weight > 0)
        low, high = _pick(rows, lower), _pick(rows, upper)
        # Written so that a weight of one half gives exactly the mean of the two.
        with np.errstate(invalid="ignore"):  # the filler where no value is valid
            values = low * (1 - weight) + high * weight
        mask = count > 0
        return MaskedRaster(np.where(mask, values, 0.0), mask)

    return reduce


def _median(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
    """The middle value; the mean of the two middle ones where their number is even."""
    return _quantiles([0.5], 0)(stack, shape)


def _count(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
    count = np.zeros(shape, dtype=np.int32)
    for raster in stack:
        count += raster.mask
    # Whether the service masks a count of zero is unconfirmed; the pixel's value is 0 either way.
    return MaskedRaster(count, count > 0)


def _sum(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
    total, valid = np.zeros(shape), np.zeros(shape, dtype=bool)
    for values, mask in stack:
        total += np.where(mask, values, 0)
        valid |= mask
    return MaskedRaster(total, valid)


def _mean(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
    total, valid = _sum(stack, shape)
    return MaskedRaster(total / np.maximum(_count(stack, shape).values, 1), valid)


def _std_dev(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
    mean, valid = _mean(stack, shape)
    squares = [
        MaskedRaster((values.astype(np.float64) - mean) ** 2, mask) for values, mask in stack
    ]
    return MaskedRaster(np.sqrt(_mean(squares, shape).values), valid)


def _extreme(choose: Callable[[AnyArray, AnyArray], AnyArray]) -> Reduction:
    """Return the reduction to the smallest or largest value."""

    def reduce(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
        """Choose among the valid values of each pixel."""
        dtype = np.result_type(*(raster.values.dtype for raster in stack))
        best, valid = np.zeros(shape, dtype=dtype), np.zeros(shape, dtype=bool)
        for values, mask in stack:
            candidate = np.where(valid, choose(best, values), values)
            best, valid = np.where(mask, candidate, best), valid | mask
        return MaskedRaster(best, valid)

    return reduce


def _first(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
    dtype = np.result_type(*(raster.values.dtype for raster in stack))
    first, valid = np.zeros(shape, dtype=dtype), np.zeros(shape, dtype=bool)
    for values, mask in stack:
        first = np.where(mask & ~valid, values, first)
        valid = valid | mask
        if valid.all():
            break
    return MaskedRaster(first, valid)


def _last(stack: Sequence[MaskedRaster], shape: tuple[int, int]) -> MaskedRaster:
    return _first(list(reversed(stack)), shape)


SIMPLE: dict[str, tuple[Reduction, npt.DTypeLike | None]] = {
    "median": (_median, np.float64),
    "mean": (_mean, np.float64),
    "count": (_count, np.int32),
    "sum": (_sum, np.float64),
    "stdDev": (_std_dev, np.float64),
    "min": (_extreme(np.minimum), None),
    "max": (_extreme(np.maximum), None),
    "first": (_first, None),
    "last": (_last, None),
}


def simple_reducer(name: str) -> Reducer:
    """Return a reducer with one output, named like itself."""
    reduce, dtype = SIMPLE[name]
    return Reducer(outputs=(ReducerOutput(name=name, reduce=reduce, dtype=dtype),))


def _register(name: str) -> None:
    @function(f"Reducer.{name}")
    def make() -> Reducer:
        """Return the reducer of this name."""
        return simple_reducer(name)


for _name in SIMPLE:
    _register(_name)

#: On top of the others means later in the collection, wherever it is valid.
mosaic: Reduction = _last


@function("Reducer.percentile")
def _percentile(percentiles: Any, outputNames: Any = None) -> Reducer:
    """How the service interpolates between ranks is unconfirmed; here it is linear."""
    numbers = percentiles if isinstance(percentiles, list) else [percentiles]
    wanted = [expect(number, float, "percentiles") for number in numbers]
    if not wanted or any(not 0 <= number <= 100 for number in wanted):
        raise RequestError(f"Parameter 'percentiles' must lie in 0 to 100, got {numbers}.")
    names = [f"p{number:g}" for number in wanted]
    if outputNames is not None:
        names = strings(outputNames, "outputNames")
    if len(names) != len(wanted):
        raise RequestError(f"Got {len(names)} outputNames for {len(wanted)} percentiles.")
    fractions = [number / 100 for number in wanted]
    return Reducer(
        outputs=tuple(
            ReducerOutput(name=name, reduce=_quantiles(fractions, index), dtype=np.float64)
            for index, name in enumerate(names)
        )
    )


@function("Reducer.combine")
def _combine(
    reducer1: Any, reducer2: Any, outputPrefix: Any = "", sharedInputs: Any = False
) -> Reducer:
    first, second = expect(reducer1, Reducer, "reducer1"), expect(reducer2, Reducer, "reducer2")
    if sharedInputs is not True:
        raise RequestError("Only sharedInputs=true is supported by the emulator.")
    prefixed = [
        ReducerOutput(name=f"{outputPrefix}{output.name}", reduce=output.reduce, dtype=output.dtype)
        for output in second.outputs
    ]
    return Reducer(outputs=(*first.outputs, *prefixed))


@function("Reducer.toList")
def _to_list(tupleSize: Any = None, numOptional: Any = 0) -> ToList:
    size = None if tupleSize is None else expect(tupleSize, int, "tupleSize")
    return ToList(size=size, optional=expect(numOptional, int, "numOptional"))
