# Parameters carry the API's names: that is how arguments are bound.
# ruff: noqa: N803
"""Filters: predicates on an image's properties and footprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._functions import DateRange, expect, function, strings, to_millis
from thor_geo.emulator._geometry import as_geometry
from thor_geo.emulator._graph import Function
from thor_geo.emulator._images import Image

#: Whether an image passes.
Filter = Callable[[Image], bool]


class _Operands:
    """The two operands of a comparison, one of them a property and the other a value."""

    def __init__(self, left_field: Any, right_value: Any, right_field: Any, left_value: Any):
        if left_field is not None and right_value is not None:
            self.field, self.value, self.field_is_left = left_field, right_value, True
        elif right_field is not None and left_value is not None:
            self.field, self.value, self.field_is_left = right_field, left_value, False
        else:
            raise RequestError(
                "The emulator compares a property with a value: give 'leftField' and 'rightValue', "
                "or 'rightField' and 'leftValue'."
            )
        expect(self.field, str, "leftField" if self.field_is_left else "rightField")

    def compare(self, test: Callable[[Any, Any], bool]) -> Filter:
        """Return the filter that tests (left, right); an image without the property fails it.

        The filter raises RequestError where an image's property cannot be compared with the value.
        """

        def passes(image: Image) -> bool:
            """Compare the image's property."""
            value = image.properties.get(self.field)
            if value is None:
                return False
            left, right = (value, self.value) if self.field_is_left else (self.value, value)
            try:
                return bool(test(left, right))
            except TypeError:
                raise RequestError(
                    f"Cannot compare property '{self.field}' ({value!r}) with {self.value!r}."
                ) from None

        return passes


def _comparison(name: str, test: Callable[[Any, Any], bool]) -> None:
    """Register a filter that compares a property with a value."""

    @function(f"Filter.{name}")
    def make(
        leftField: Any = None,
        rightValue: Any = None,
        rightField: Any = None,
        leftValue: Any = None,
    ) -> Filter:
        """Bind the operands, property and value on either side."""
        return _Operands(leftField, rightValue, rightField, leftValue).compare(test)


def _equal(left: Any, right: Any) -> bool:
    return bool(left == right)


def _contains(text: Any, part: Any) -> bool:
    return expect(part, str, "rightValue") in expect(text, str, "leftField")


def _list_contains(items: Any, item: Any) -> bool:
    return item in expect(items, list, "leftValue")


_comparison("equals", _equal)
_comparison("lessThan", lambda left, right: bool(left < right))
_comparison("greaterThan", lambda left, right: bool(left > right))
_comparison("listContains", _list_contains)
_comparison("inList", lambda left, right: _list_contains(right, left))
_comparison("stringContains", _contains)
_comparison("stringStartsWith", lambda text, part: str(text).startswith(part))
_comparison("stringEndsWith", lambda text, part: str(text).endswith(part))


@function("Filter.dateRangeContains")
def _date_range_contains(leftValue: Any, rightField: Any) -> Filter:
    """Half-open: the start is inside, the end is not."""
    span, name = expect(leftValue, DateRange, "leftValue"), expect(rightField, str, "rightField")

    def passes(image: Image) -> bool:
        """Check whether the image's time lies in the span."""
        moment = image.properties.get(name)
        return moment is not None and span.start <= to_millis(moment, name) < span.end

    return passes


@function("Filter.intersects")
def _intersects(leftField: Any, rightValue: Any) -> Filter:
    geometry = as_geometry(rightValue, "rightValue")
    if leftField not in (".all", ".geo"):
        raise RequestError(f"Only the image's own geometry can be filtered, not '{leftField}'.")

    def passes(image: Image) -> bool:
        """Test whether the image's footprint meets the geometry."""
        # An unbounded image, such as a constant, is everywhere.
        return image.footprint is None or any(map(geometry.overlaps, image.footprint))

    return passes


@function("Filter.not")
def _not(filter: Any) -> Filter:
    inner = as_filter(filter)
    return lambda image: not inner(image)


@function("Filter.and")
def _and(filters: Any) -> Filter:
    inner = [as_filter(item) for item in expect(filters, list, "filters")]
    return lambda image: all(item(image) for item in inner)


@function("Filter.or")
def _or(filters: Any) -> Filter:
    inner = [as_filter(item) for item in expect(filters, list, "filters")]
    return lambda image: any(item(image) for item in inner)


@function("Filter.notNull")
def _not_null(properties: Any) -> Filter:
    names = strings(properties, "properties")
    return lambda image: all(image.properties.get(name) is not None for name in names)


def as_filter(value: Any) -> Filter:
    """Return a filter.

    Raises:
        RequestError: If the value is none.
    """
    # A function that the client defined is callable too, and no filter.
    if not callable(value) or isinstance(value, Function):
        raise RequestError(f"Parameter 'filter' must be a Filter, got {type(value).__name__}.")
    passes: Filter = value
    return passes
