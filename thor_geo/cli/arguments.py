"""Command-line arguments, before the parser sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.specs.windows import PAIRS

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
    """Have a list of windows replace the one window of what comes before it.

    Args:
        args: Arguments, e.g. ``--data.windows=[[2022-03-01,2022-06-01],[2022-06-01,2022-09-01]]``,
            or configs of which a later one has ``data.windows``.

    Returns:
        The arguments, with ``--data.start=null`` and ``--data.end=null`` after the last list unless
        dates are given beside it: in the same config, or on the command line.

    Raises:
        ConfigError: If a window is to be added to a list (``--data.windows+=``).
    """
    listed, after, dated = False, 0, False
    for _, end, said in _given(args, "data"):
        if "windows+" in said:
            raise ConfigError(
                "data.windows+",
                said["windows+"],
                "nothing can be added to a list",
                f"Give {PAIRS}.",
            )
        if "windows" in said:
            listed, after = not _is_null(said["windows"]), end
            dated = _has_dates(said)
    on_line = any(_has_dates(said) for config, _, said in _given(args, "data") if not config)
    if not listed or dated or on_line:
        return list(args)
    return [*args[:after], "--data.end=null", "--data.start=null", *args[after:]]


def _has_dates(said: Mapping[str, Any]) -> bool:
    return not all(_is_null(said.get(key)) for key in ("start", "end"))


def _is_null(value: Any) -> bool:
    """Return whether a value of a config, or the text of an argument, is null."""
    if not isinstance(value, str):
        return value is None
    try:
        return load_yaml(value) is None
    except yaml.YAMLError:
        return False  # the parser's own message is the better one


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
    for _, _, said in _given(args, "model"):
        for key in said:
            if key in LINKED:
                raise ConfigError(
                    f"model.{key}",
                    said[key],
                    f"it follows `{LINKED[key]}` and cannot be set by itself",
                    f"Set {LINKED[key]}.",
                )


def _given(args: Sequence[str], section: str) -> Iterator[tuple[bool, int, dict[str, Any]]]:
    """Yield what each argument and config says of a section, in their order.

    Yields:
        Whether it is a config, the place after it in the arguments, and values by key: of an
        argument the text.
    """
    for k, arg in enumerate(args):
        key, equals, value = arg.partition("=")
        end = k + (1 if equals else 2)
        value = value if equals else (args[k + 1] if k + 1 < len(args) else "")
        if key.startswith(f"--{section}."):
            yield False, end, {key.split(".", 1)[1].removeprefix("init_args."): value}
        elif key in ("-c", "--config") and Path(value).is_file():
            try:
                config = load_yaml(Path(value).read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):
                continue  # the parser's own message is the better one
            of = config.get(section) if isinstance(config, dict) else None
            if isinstance(of, dict):
                inner = of.get("init_args")
                yield True, end, {**of, **(inner if isinstance(inner, dict) else {})}
