"""The command's parser, whose errors are one message in the style of the project's own."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from thor_geo.cli.arguments import load_yaml
from thor_geo.cli.main import EXIT_ERROR, let_first_rank_speak
from thor_geo.cli.wording import UserValues, explain, key_of, short, without_noise
from thor_geo.errors import ConfigError, ThorGeoError, own_error
from thor_geo.support.redact import redact

_PATCH_SIZE = "model.patch_size"
_SECTIONS = ("trainer", "model", "data", "output")
_VALUES: ContextVar[UserValues] = ContextVar("values", default=MappingProxyType({}))


class RunParser(LightningArgumentParser):
    """Says in one message which key is wrong, its value, and what to do instead."""

    def parse_args(  # type: ignore[override]  # argparse's overloads
        self, args: Sequence[str] | None = None, *more: Any, **kwargs: Any
    ) -> Any:
        """Parse; configs are looked into first, as the parser's messages do not name them."""
        if not self.exit_on_error:  # the parser of a class within
            return super().parse_args(args, *more, **kwargs)
        try:
            values = user_values(sys.argv[1:] if args is None else args)
            _refuse_empty(values)
            token = _VALUES.set(values)
        except ConfigError as error:
            self._leave(str(error), error)
        try:
            return super().parse_args(args, *more, **kwargs)
        finally:
            _VALUES.reset(token)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message that a user can act on, and exit with code 2.

        Args:
            message: The parser's own.
            ex: What it comes from; an error of this project is printed as it is.
        """
        if not self.exit_on_error:  # the parser of a class within: a part of the message to come
            super().error(message, ex)
        values = _VALUES.get()
        own = own_error(ex)
        error = explain(message, _keys(self), values) if own is None else _with_key(own, values)
        self._leave(message, error)

    def _leave(self, message: str, error: ThorGeoError | None) -> NoReturn:
        text = f"{type(error).__name__}: {error}" if error else without_noise(message)
        let_first_rank_speak()
        self.exit(EXIT_ERROR, f"thor-geo: {redact(text)}\n")
        raise AssertionError("exit returns never")


def _refuse_empty(values: UserValues) -> None:
    """Refuse a section without keys, which the parser takes for null and then trips over.

    Raises:
        ConfigError: If a config has one.
    """
    for section in _SECTIONS:
        value, source = values.get(section, ({}, ""))
        if value is None and source:
            raise ConfigError(
                section,
                None,
                f"a section without keys in {source}",
                "Write its keys below it, indented, or delete the line.",
            )


def user_values(args: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """Return what the user wrote: value and file (empty: command line) by key; the last counts.

    Args:
        args: Arguments; local files named by ``-c`` or ``--config`` are read.

    Raises:
        ConfigError: If a config is not YAML, or not a mapping.
    """
    out: dict[str, tuple[Any, str]] = {}
    for k, arg in enumerate(args):
        key, equals, text = arg.partition("=")
        follows = args[k + 1] if k + 1 < len(args) else ""
        if not equals:
            text = "" if re.match(r"--?[a-z]", follows) else follows
        if key in ("-c", "--config") and Path(text).is_file():
            out |= {name: (value, text) for name, value in _flat(_load(Path(text)))}
        elif key.startswith("-"):
            try:
                value = load_yaml(text)
            except yaml.YAMLError:
                value = text
            name = key.lstrip("-").removesuffix("+")
            for member, leaf in _flat({name: value}):
                out.pop(member, None)  # the last one comes last
                out[member] = (leaf, "")
    return out


def with_key(error: ThorGeoError, args: Sequence[str]) -> ThorGeoError:
    """Return an error of a setting by the key that sets it, others as they are.

    Classes name their own arguments, which a user sets by keys of sections.

    Args:
        error: The error.
        args: Arguments of the command.
    """
    try:
        return _with_key(error, user_values(args))
    except ConfigError:  # the error is about the config itself
        return error


def _with_key(error: ThorGeoError, values: UserValues) -> ThorGeoError:
    key = key_of(error.argument, values) if isinstance(error, ConfigError) else None
    if not isinstance(error, ConfigError) or key is None:
        return error
    value = error.value
    if key == "data.tile_size" and key not in values and _PATCH_SIZE in values:
        # The two have to fit each other: the one that was set is the one to name.
        key, (value, _) = _PATCH_SIZE, values[_PATCH_SIZE]
    return type(error)(key, value, error.problem, error.remedy)


def _load(path: Path) -> dict[str, Any]:
    try:
        config = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            "config", str(path), f"not YAML{where}: {error.problem}", "Correct that line."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            "config", str(path), f"not YAML: {problem}", "Save it as UTF-8."
        ) from error
    if not isinstance(config, dict | None):
        raise ConfigError(
            "config", str(path), "not a mapping of keys to values", "See configs/quickstart.yaml."
        )
    return config or {}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key, those of sections too."""
    for name, value in config.items():
        key = f"{prefix}{name}"
        yield short(key), value
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.")


def _keys(parser: RunParser) -> list[str]:
    """Return the keys of the run's own sections and the trainer's."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return _keys(action.choices["predict"])
    return [action.dest for action in parser._actions if action.dest not in ("model", "data")]
