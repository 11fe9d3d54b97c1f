"""Unquoted values of configs, which YAML may read as something else than what was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from thor_geo.cli.arguments import load_yaml
from thor_geo.cli.settings import CLASSES, section_settings
from thor_geo.errors import ConfigError

#: What YAML 1.1 reads as an octal number, and everyone else as a decimal one.
_OCTAL = re.compile(r"([-+]?)0([0-7_]+)")

#: Types of settings for which the command line takes any word as text.
_TEXTS = ("str", "path")


def plain_scalars(text: str) -> Iterator[tuple[str, str]]:
    """Yield every unquoted value of a YAML text as it is written, by key.

    Args:
        text: The text; what is not YAML has no values.

    Yields:
        The key, with dots, without `init_args`, empty for a text that is one value; and the value.
        Members of lists come by the key of the list.
    """
    try:
        load_yaml(text)  # refuses what is endless
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return  # the parser's own message is the better one
    if root is not None:
        yield from _below(root, "")


def _below(node: yaml.Node, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = "" if name.value == "init_args" else str(name.value)
            yield from _below(value, ".".join(part for part in (key, inner) if part))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _below(value, key)
    elif isinstance(node, yaml.ScalarNode) and node.style is None:
        yield key, node.value


def written_value(source: str, key: str) -> str | None:
    """Return a value as a config has it, unquoted; None if it has none there.

    Args:
        source: Path of the config.
        key: Key of the value.
    """
    try:
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return next((value for name, value in plain_scalars(text) if name == key), None)


def refuse_octal(args: Sequence[str]) -> None:
    """Refuse numbers that begin with 0: configs mean octal ones, arguments decimal ones.

    A setting of the run that takes text is left to the parser, which wants it in quotes in configs.

    Args:
        args: Arguments; configs that they name are read.

    Raises:
        ConfigError: If there is one; names both numbers that it may mean.
    """
    for key, value, source in _values(args):
        match = _OCTAL.fullmatch(value)
        digits = "" if match is None else match[2].replace("_", "")
        if match is None or not digits or _is_text(key):
            continue
        decimal, octal = int(f"{match[1]}{digits}"), int(f"{match[1]}{digits}", 8)
        if decimal == octal:
            continue
        place = f" in {source}" if source else ""
        raise ConfigError(
            key,
            value,
            f"a number that begins with 0{place}: configs mean {octal} by it (octal), the command "
            f"line means {decimal}",
            f"Write {decimal}, or {octal} if you meant that; put it in quotes if it is text.",
        )


def _values(args: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield key, value as written, and config (empty: an argument) of all unquoted values."""
    for k, arg in enumerate(args):
        name, equals, text = arg.partition("=")
        if not name.startswith("-"):
            continue
        text = text if equals else (args[k + 1] if k + 1 < len(args) else "")
        section = name.lstrip("-").removesuffix("+").replace(".init_args", "")
        config = name in ("-c", "--config")
        path = Path(text)
        if config or (section in (*CLASSES, "trainer") and path.suffix in (".yaml", ".yml")):
            try:
                content = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue  # the parser's own message is the better one
            for key, value in plain_scalars(content):
                yield (key if config else f"{section}.{key}"), value, text
            continue
        for key, value in plain_scalars(text):
            yield (f"{section}.{key}" if key else section), value, ""


def _is_text(key: str) -> bool:
    """Return whether a key of the run's own takes text."""
    section, _, name = key.partition(".")
    if section not in CLASSES:
        return False
    return any(row.key == name and row.kind in _TEXTS for row in section_settings(section))
