"""Command-line arguments, before the parser sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from thor_geo.area import AreaSpec
from thor_geo.errors import ConfigError

#: Settings of the model that follow another key, which is the one to set.
LINKED: Mapping[str, str] = {
    "image_size": "data.tile_size",
    "resolution": "data.resolution",
    "bands": "data.bands",
    "pooled": "output.pooled",
    "grid": "output.grid",
}

_AREA_KEYS = ("--data.area", "--data.init_args.area")


# Values of a config, those that aliases repeat counted each time, and levels.
_MOST_VALUES, _DEEPEST = 100_000, 64


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text that walking through it can end.

    Args:
        text: The text.

    Raises:
        yaml.YAMLError: If it is no YAML, or aliases make it endless or huge.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        # The constructors of dates and numbers, and nesting.
        raise yaml.YAMLError(f"a value cannot be read ({error})") from error
    level, count = [value], 0
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for one in level:
            inner += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
            if (count := count + 1) + len(inner) > _MOST_VALUES:
                raise yaml.YAMLError("aliases make it more than 100,000 values long")
        if not inner:
            return value
        level = inner
    raise yaml.YAMLError(f"it is more than {_DEEPEST} levels deep")


def with_whole_areas(args: Sequence[str]) -> list[str]:
    """Have an area on the command line replace the config's, which the parser would merge.

    Args:
        args: Arguments, e.g. ``--data.area={point: [10.75, 59.91], buffer_m: 5000}``.

    Returns:
        The arguments, with every field of such an area named.
    """
    out = list(args)
    for k, arg in enumerate(out):
        key, equals, value = arg.partition("=")
        if key not in _AREA_KEYS:
            continue
        if equals:
            out[k] = f"{key}={_whole(value)}"
        elif k + 1 < len(out):
            out[k + 1] = _whole(out[k + 1])
    return out


def _whole(value: str) -> str:
    try:
        area = load_yaml(value)
    except yaml.YAMLError:
        return value  # the parser's own message is the better one
    if not isinstance(area, dict):
        return value
    return json.dumps({field.name: field.default for field in fields(AreaSpec)} | area)


def with_listed_windows(args: Sequence[str]) -> list[str]:
    """Have a list of windows on the command line replace the config's one window.

    Args:
        args: Arguments, e.g. ``--data.windows=[[2022-03-01,2022-06-01],[2022-06-01,2022-09-01]]``.

    Returns:
        The arguments, with ``--data.start=null`` and ``--data.end=null`` beside such a list unless
        they are given.
    """
    given = {arg.partition("=")[0].replace(".init_args.", ".") for arg in args}
    ends = {"--data.start", "--data.end"}
    if "--data.windows" not in given or ends & given:
        return list(args)
    return [*args, *(f"{end}=null" for end in sorted(ends))]


def with_strict(args: Sequence[str]) -> list[str]:
    """Return the arguments with ``--strict`` spelled out as ``--data.strict=true``."""
    return ["--data.strict=true" if arg == "--strict" else arg for arg in args]


def refuse_linked(args: Sequence[str]) -> None:
    """Refuse settings that would be overridden silently, as they follow another key.

    Args:
        args: Arguments; configs named by ``-c`` or ``--config`` are looked into.

    Raises:
        ConfigError: If one is given; names the key to set instead.
    """
    for key, value in _given(args):
        if key in LINKED:
            raise ConfigError(
                f"model.{key}",
                value,
                f"it follows `{LINKED[key]}` and cannot be set by itself",
                f"Set {LINKED[key]}.",
            )


def _given(args: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the model's keys and values on the command line and in the configs it names."""
    for k, arg in enumerate(args):
        key, equals, value = arg.partition("=")
        value = value if equals else (args[k + 1] if k + 1 < len(args) else "")
        if key.startswith("--model."):
            yield key.removeprefix("--model.").removeprefix("init_args."), value
        elif key in ("-c", "--config") and Path(value).is_file():
            try:
                config = load_yaml(Path(value).read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):
                continue  # the parser's own message is the better one
            model = config.get("model") if isinstance(config, dict) else None
            if isinstance(model, dict):
                yield from {**model, **(model.get("init_args") or {})}.items()
