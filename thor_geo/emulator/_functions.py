# Parameters carry the API's names: that is how arguments are bound.
# ruff: noqa: N803
"""The registry of functions, and the small functions on plain values.

A function is registered under its API name; its keyword parameters are the API's argument names
(with a trailing underscore where Python reserves the word). A parameter without a default is
required. Whatever is not declared is refused by name: the emulator never ignores an argument.
"""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from thor_geo.emulator._errors import RequestError

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A function the emulator knows, with the arguments it takes."""

    handler: Handler
    arguments: Mapping[str, str]  # API name -> Python name
    required: frozenset[str]


REGISTRY: dict[str, Registered] = {}


def registered(handler: Handler) -> Registered:
    """Return a handler with its arguments, read from its signature."""
    parameters = inspect.signature(handler).parameters
    return Registered(
        handler=handler,
        arguments={name.rstrip("_"): name for name in parameters},
        required=frozenset(
            name.rstrip("_") for name, p in parameters.items() if p.default is p.empty
        ),
    )


def function(*names: str) -> Callable[[H], H]:
    """Register a function of the API.

    Args:
        names: API names that mean this function, such as ``Image.select``.
    """

    def register(handler: H) -> H:
        """Enter the handler under each name."""
        for name in names:
            if name in REGISTRY:
                raise ValueError(f"{name} is registered twice")
            REGISTRY[name] = registered(handler)
        return handler

    return register


def call(name: str, arguments: Mapping[str, Any], registry: Mapping[str, Registered]) -> Any:
    """Call a registered function.

    Args:
        name: API name.
        arguments: Evaluated arguments by API name.
        registry: The functions there are.

    Raises:
        RequestError: If the function is unknown, an argument is unknown or missing, or the function
            fails; messages carry the function's name in front, as the service's do.
    """
    entry = registry.get(name)
    if entry is None:
        raise RequestError(f"Function '{name}' is not supported by the Earth Engine emulator.")
    for argument in arguments:
        if argument not in entry.arguments:
            raise RequestError(
                f"{name}: argument '{argument}' is not supported by the Earth Engine emulator "
                f"(supported: {', '.join(entry.arguments)})."
            )
    missing = sorted(entry.required - {k for k, v in arguments.items() if v is not None})
    if missing:
        raise RequestError(f"{name}: Parameter '{missing[0]}' is required and may not be null.")
    passed = {entry.arguments[key]: value for key, value in arguments.items() if value is not None}
    try:
        return entry.handler(**passed)
    except RequestError as error:
        # The innermost function's name stays: `map` and its like only pass the error on.
        prefixed = error.code != 400 or error.message.split(":")[0] in registry
        if not prefixed and not error.message.startswith("Function '"):
            error.message = f"{name}: {error.message}"
        raise


def expect(value: Any, kind: type[T], argument: str) -> T:
    """Return a value if it is of a kind.

    Args:
        value: The value.
        kind: The class it must be an instance of; ``float`` also takes integers.
        argument: Name of the argument, for the message.

    Raises:
        RequestError: If it is something else.
    """
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    wrong_bool = isinstance(value, bool) and kind is not bool
    if not isinstance(value, kind) or wrong_bool:
        raise RequestError(
            f"Parameter '{argument}' must be a {kind.__name__}, got {type(value).__name__}."
        )
    return value


def strings(value: Any, argument: str) -> list[str]:
    """Return a list of strings, from one string or a list.

    Raises:
        RequestError: If it is something else.
    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequestError(f"Parameter '{argument}' must be a list of strings, got {value!r:.100}.")
    return list(value)


@dataclass(frozen=True)
class Date:
    """An instant.

    Args:
        millis: Milliseconds since 1970-01-01T00:00:00Z.
    """

    millis: int


@dataclass(frozen=True)
class DateRange:
    """A half-open range of instants, [start, end), in milliseconds."""

    start: int
    end: int


def to_millis(value: Any, argument: str) -> int:
    """Return an instant from a Date, a number of milliseconds or an ISO 8601 string (UTC).

    Raises:
        RequestError: If it is none of these.
    """
    if isinstance(value, Date):
        return value.millis
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(value)
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            raise RequestError(f"Invalid date string in '{argument}': {value!r}.") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return (moment - epoch) // dt.timedelta(milliseconds=1)
    raise RequestError(f"Parameter '{argument}' must be a date, got {value!r:.100}.")


@function("Date")
def _date(value: Any) -> Date:
    return Date(to_millis(value, "value"))


@function("Date.millis")
def _date_millis(date: Any) -> int:
    return to_millis(date, "date")


@function("DateRange")
def _date_range(start: Any, end: Any = None) -> DateRange:
    first = to_millis(start, "start")
    # "If 'end' is not specified, a 1-millisecond range starting at 'start' is created."
    last = first + 1 if end is None else to_millis(end, "end")
    return DateRange(first, max(first, last))


@function("List.size")
def _list_size(list_: Any) -> int:
    return len(expect(list_, list, "list"))


@function("List.get")
def _list_get(list_: Any, index: Any) -> Any:
    items, position = expect(list_, list, "list"), expect(index, int, "index")
    if not -len(items) <= position < len(items):
        raise RequestError(
            f"List index must be between 0 and {len(items) - 1}, or -{len(items)} "
            f"and -1. Found {position}."
        )
    return items[position]


@function("List.indexOf")
def _list_index_of(list_: Any, element: Any) -> int:
    """The first occurrence, -1 if there is none, as documented."""
    items = expect(list_, list, "list")
    return items.index(element) if element in items else -1


@function("Dictionary.get")
def _dictionary_get(dictionary: Any, key: Any, defaultValue: Any = None) -> Any:
    items = expect(dictionary, dict, "dictionary")
    if key not in items and defaultValue is None:
        raise RequestError(f"Dictionary does not contain key: '{key}'.")
    return items.get(key, defaultValue)
