"""Command-line arguments, before the parser sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from thor_geo.cli.settings import COMPOSITE, LINKED
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.specs.sources import SOURCES
from thor_geo.specs.windows import PAIRS

# A member of a group of settings, such as `data.stac.collection`.
_MEMBER = re.compile(
    r"--(?P<group>(?:model|data|output)\.(?:init_args\.)?(?!init_args)\w+)"
    r"\.(?P<name>(?!init_args|class_path)\w+)"
)

# Settings of the data of which exactly one is given.
_ALTERNATIVES = (tuple(SOURCES), ("area", "places"))
_AREA_KEYS = ("--data.area", "--data.init_args.area")


# Values of a config, those that aliases repeat counted each time, and levels.
_MOST_VALUES, _DEEPEST = 100_000, 64


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text; refuse one that is endless or huge.

    Args:
        text: The text.

    Raises:
        yaml.YAMLError: If it is not YAML, or aliases make it endless or huge.
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
        for item in level:
            if isinstance(item, dict | list):
                inner += item.values() if isinstance(item, dict) else item
            if (count := count + 1) + len(inner) > _MOST_VALUES:
                raise yaml.YAMLError("aliases make it more than 100,000 values long")
        if not inner:
            return value
        level = inner
    raise yaml.YAMLError(f"it is more than {_DEEPEST} levels deep")


def with_whole_areas(args: Sequence[str]) -> list[str]:
    """Make an area on the command line replace that of the config instead of merging them.

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


def with_one_source(args: Sequence[str]) -> list[str]:
    """Make a source of composites replace the one that an earlier config names.

    So does an area a table of places, and the other way round.

    Args:
        args: Arguments, e.g. ``-c configs/gee.yaml --data.stac.url=catalog.json``.

    Returns:
        The arguments, with null for every source that only an earlier config names. Two in one
        config, or both on the command line, are left as they are, and refused later.
    """
    named: tuple[dict[str, int], ...] = tuple({} for _ in _ALTERNATIVES)
    level, last = 0, False
    for config, _, values in section_values(args, "data"):
        level += config or last  # arguments that follow each other are one level
        last = config
        for key, value in values.items():
            name = key.split(".")[0]
            for levels, names in zip(named, _ALTERNATIVES, strict=True):
                if name in names and key == name and _is_null(value):
                    levels.pop(name, None)
                elif name in names:
                    levels[name] = level
    replaced = [
        name for levels in named for name, place in levels.items() if place < max(levels.values())
    ]
    return [*args, *(f"--data.{name}=null" for name in replaced)]


def with_listed_windows(args: Sequence[str]) -> list[str]:
    """Make a list of windows replace the single window of an earlier config.

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
    for _, end, values in section_values(args, "data"):
        if "windows+" in values:
            raise ConfigError(
                "data.windows+",
                values["windows+"],
                "nothing can be added to a list",
                f"Give {PAIRS}.",
            )
        if "windows" in values:
            listed, after = not _is_null(values["windows"]), end
            dated = _has_dates(values)
    arguments = (values for config, _, values in section_values(args, "data") if not config)
    if not listed or dated or any(map(_has_dates, arguments)):
        return list(args)
    return [*args[:after], "--data.end=null", "--data.start=null", *args[after:]]


def _has_dates(values: Mapping[str, Any]) -> bool:
    return not all(_is_null(values.get(key)) for key in ("start", "end"))


def _is_null(value: Any) -> bool:
    """Return whether a value of a config, or the text of an argument, is null."""
    if not isinstance(value, str):
        return value is None
    try:
        return load_yaml(value) is None
    except yaml.YAMLError:
        return False  # the parser's own message is the better one


def with_nested_nulls(args: Sequence[str]) -> list[str]:
    """Write a null for a member of a group as a mapping, which the parser understands.

    jsonargparse 4.53 takes the null of ``--data.stac.collection=null`` for the text ``None``, or
    refuses it, where the group belongs to a class that is chosen by class_path.

    Args:
        args: Arguments, e.g. ``--data.stac.collection=null``.

    Returns:
        The arguments, e.g. with ``--data.stac={"collection": null}``, which keeps other members.
    """
    out: list[str] = []
    rest = iter(args)
    for arg in rest:
        key, equals, value = arg.partition("=")
        member = _MEMBER.fullmatch(key)
        if member is None:
            out.append(arg)
            continue
        if not equals:
            following = next(rest, None)
            if following is None:
                return [*out, arg]
            value = following
        if value and _is_null(value):
            out.append(f"--{member['group']}={json.dumps({member['name']: None})}")
        else:
            out += [arg] if equals else [arg, value]
    return out


def with_strict(args: Sequence[str]) -> list[str]:
    """Return the arguments with ``--strict`` spelled out as ``--data.strict=true``."""
    return ["--data.strict=true" if arg == "--strict" else arg for arg in args]


def refuse_linked(args: Sequence[str]) -> None:
    """Refuse settings that would be overridden silently, as they follow another key.

    Args:
        args: Arguments; configs named by ``-c`` or ``--config`` are looked into.

    Raises:
        ConfigError: If there is one; names the key to set instead.
    """
    for _, _, values in section_values(args, "model"):
        for key in values.keys() & LINKED.keys():
            source = LINKED[key] if is_composite(args) else LINKED[key].replace("sentinel2.", "")
            raise ConfigError(
                f"model.{key}",
                values[key],
                f"it follows `{source}` and cannot be set by itself",
                f"Set {source}.",
            )


def is_composite(args: Sequence[str]) -> bool:
    """Return whether the data of a run is this project's `CompositeDataModule`.

    Args:
        args: Arguments; configs named by ``-c`` or ``--config`` are looked into.
    """
    return section_class(args, "data", COMPOSITE) == COMPOSITE.rpartition(".")[2]


def section_class(args: Sequence[str], section: str, default: str) -> str:
    """Return the name of the class of a section, without its module.

    Args:
        args: Arguments; configs named by ``-c`` or ``--config`` are read.
        section: ``model`` or ``data``.
        default: The class unless another is named.
    """
    name = default
    for _, _, values in section_values(args, section):
        name = str(values.get("class_path", values.get("", name)))
    return name.rpartition(".")[2]


def section_values(args: Sequence[str], section: str) -> Iterator[tuple[bool, int, dict[str, Any]]]:
    """Yield the values that each argument and config gives to a section, in their order.

    Args:
        args: Arguments; configs named by ``-c`` or ``--config`` are read.
        section: ``model``, ``data`` or ``output``.

    Yields:
        Whether it is a config, the place after it in the arguments, and values by key: for an
        argument the text, by the empty key for the section itself.
    """
    for k, arg in enumerate(args):
        key, equals, value = arg.partition("=")
        end = k + (1 if equals else 2)
        value = value if equals else (args[k + 1] if k + 1 < len(args) else "")
        if key == f"--{section}" or key.startswith(f"--{section}."):
            name = key.removeprefix(f"--{section}").removeprefix(".").removeprefix("init_args.")
            yield False, end, {name: value}
        elif key in ("-c", "--config") and Path(value).is_file():
            try:
                config = load_yaml(Path(value).read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):
                continue  # the parser's own message is the better one
            values = config.get(section) if isinstance(config, dict) else None
            if isinstance(values, dict):
                inner = values.get("init_args")
                yield True, end, {**values, **(inner if isinstance(inner, dict) else {})}
