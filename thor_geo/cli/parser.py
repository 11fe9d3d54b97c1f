"""The command's parser, whose errors are one message in the style of the project's own."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser

from thor_geo.cli.arguments import LINKED, load_yaml
from thor_geo.cli.help import HINT
from thor_geo.cli.making import CLASSES
from thor_geo.errors import ConfigError, ThorGeoError, own_error
from thor_geo.specs.windows import PAIRS
from thor_geo.support.redact import redact

#: What the user gave: value and where it is from, by key without `init_args`.
Given = Mapping[str, tuple[Any, str]]

_GIVEN: ContextVar[Given] = ContextVar("given", default=MappingProxyType({}))

_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':\s*(.*)")
_NOT_IMPORTED = re.compile(r"No module named|has no attribute|not a subclass|does not correspond")
_UNKNOWN = re.compile(
    r"Option '(?P<option>[^']+)' is not accepted"
    r"|(?P<group>Group|Subcommand) '(?P<owner>[^']+)' does not accept option '(?P<member>[^']+)'"
    r"|unrecognized arguments: (?P<argument>.+)"
)
# Of a union, every member is expected; `None` and paths of files that hold the value are no help.
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value: (.*))?$", re.MULTILINE)
_REQUIRED = re.compile(r"the following arguments are required: (.+)")
_NO_FILE = re.compile(r"(File does not exist|Path is not a file|File is not readable): '(.+)'")
_NO_VALUE = re.compile(r"argument (\S+): expected one argument")
# Of the parser's own text, what says nothing to a user.
_NOISE = re.compile(
    r"\s*(Does not validate against any|Subtypes: |Errors:$|Given value|- Expected a <class 'None)"
)
_TYPES = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "collections.abc.Sequence": "a list",
}


# Of keys whose type says too little.
_SHAPES = {"data.windows": PAIRS}


class RunParser(LightningArgumentParser):
    """Says in one message which key is wrong, what was given, and what to do instead."""

    def parse_args(  # type: ignore[override]  # argparse's overloads
        self, args: Sequence[str] | None = None, *more: Any, **kwargs: Any
    ) -> Any:
        """Parse; configs are looked into first, as the parser's messages do not name them."""
        if not self.exit_on_error:  # of a class within
            return super().parse_args(args, *more, **kwargs)
        try:
            token = _GIVEN.set(given(sys.argv[1:] if args is None else args))
        except ConfigError as error:
            self._leave(str(error), error)
        try:
            return super().parse_args(args, *more, **kwargs)
        finally:
            _GIVEN.reset(token)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message that a user can act on, and exit with code 2.

        Args:
            message: The parser's own.
            ex: What it comes from; an error of this project is printed as it is.
        """
        if not self.exit_on_error:  # of a class within: a part of the message to come
            super().error(message, ex)
        self._leave(message, own_error(ex) or explain(message, _keys(self), _GIVEN.get()))

    def _leave(self, message: str, error: ThorGeoError | None) -> NoReturn:
        text = f"{type(error).__name__}: {error}" if error else _plain(message)
        self.exit(2, f"thor-geo: {redact(text)}\n")
        raise AssertionError("exit returns never")


def given(args: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """Return what the user gave: value and file (empty: command line) by key; the last counts.

    Args:
        args: Arguments; local files named by ``-c`` or ``--config`` are read.

    Raises:
        ConfigError: If a config is no YAML, or not a mapping.
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
                out.pop(member, None)  # the last given comes last
                out[member] = (leaf, "")
    return out


def _load(path: Path) -> dict[str, Any]:
    try:
        config = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            "config", str(path), f"no YAML{where}: {error.problem}", "Correct that line."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            "config", str(path), f"no YAML: {problem}", "Save it as UTF-8."
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
        yield _short(key), value
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.")


def _short(key: str) -> str:
    return key.replace(".init_args.", ".").removesuffix(".init_args").removeprefix("predict.")


def _keys(parser: RunParser) -> list[str]:
    """Return the keys of the run's own sections and the trainer's."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return _keys(action.choices["predict"])
    return [action.dest for action in parser._actions if action.dest not in ("model", "data")]


def _class_keys(section: str, class_path: object, prefix: str = "") -> list[str]:
    """Return the keys of the class that is the model or the data, or of one within, at *prefix*."""
    kind: Any = CLASSES[section]
    if isinstance(class_path, str) and class_path not in ("", kind.__name__):
        module, _, name = class_path.rpartition(".")
        try:
            kind = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            return []  # suggest nothing rather than another class's keys
    parser = ArgumentParser(exit_on_error=False)
    keys = parser.add_class_arguments(kind, None, fail_untyped=False)
    members = dict(parser.get_defaults(skip_validation=True).items())  # `area.bbox`, ...
    keys += [key for key in members if key not in keys]
    linked = LINKED if section == "model" else ()
    at = prefix or section
    return [f"{at}.{key}" for key in keys if key not in linked] + [f"{at}.class_path"]


def explain(message: str, keys: Sequence[str], told: Given) -> ConfigError | None:
    """Return what a message of the parser means, or None if it is not understood.

    Args:
        message: The parser's.
        keys: The keys that the parser knows, apart from those of model and data.
        told: What the user gave.
    """
    path: list[str] = []
    for part in _KEY.findall(message):
        if path[-1:] != [part]:
            path.append(part)
    key = _short(".".join(path))
    value, source = told.get(key, (None, ""))
    classes = _CLASS.findall(message)

    if found := _NO_FILE.search(message):
        problem = "no such file" if "exist" in found[1] else found[1][0].lower() + found[1][1:]
        return ConfigError(
            key or "config", found[2], problem, "Correct the path, or run from another folder."
        )
    if found := _NO_VALUE.search(message):
        # The parser names `--data` for `--data.tile_size`.
        section = found[1].lstrip("-")
        bare = [k for k, (v, file) in told.items() if v is None and not file]
        given_key = next((k for k in reversed(bare) if k.startswith(section)), section)
        return ConfigError(given_key, None, "it needs a value", f"Write --{given_key}=VALUE.")
    if found := _REQUIRED.search(message):
        missing = [_short(f"{key}.{name.strip()}".lstrip(".")) for name in found[1].split(",")]
        first, rest = missing[0], " and ".join(missing[1:])
        also = f", and so {'is' if len(missing) == 2 else 'are'} {rest}" if rest else ""
        return ConfigError(
            first,
            None,
            f"required, and not given{also}",
            f"Set it in the config or with --{first}=..., or start from configs/quickstart.yaml.",
        )
    if found := _UNKNOWN.search(message):
        return _unknown(found, key, classes, keys, told)
    if classes and _NOT_IMPORTED.search(classes[-1][1]):
        return ConfigError(
            f"{key}.class_path", classes[-1][0], classes[-1][1].rstrip("."), _CLASS_REMEDY
        )
    return _wrong_type(message, key, value, source) if key else None


_CLASS_REMEDY = "Give module.Class of something importable, e.g. thor_geo.tasks.THOREmbeddingTask."


def _unknown(
    found: re.Match[str],
    key: str,
    classes: Sequence[tuple[str, str]],
    keys: Sequence[str],
    told: Given,
) -> ConfigError:
    """Return the error of a key that does not exist, with the one that was meant."""
    if found["argument"]:
        argument = found["argument"].split("=")[0].split(" ")[0]
        if not argument.startswith("-"):
            return ConfigError("argument", argument, "not a key", f"Write --key=value. {HINT}")
        name = argument.lstrip("-")
    else:
        owner = found["owner"] if found["group"] == "Group" else None
        name = ".".join(part for part in (owner, found["option"] or found["member"]) if part)
    unknown = _short(".".join(part for part in (key, name) if part))
    known = list(keys)
    for section in ("model", "data"):
        of_class = classes[-1][0] if classes and key.split(".")[0] == section else ""
        own = told.get(f"{section}.class_path", ("",))[0]
        # The class may be that of a key of the section, such as `data.sentinel1`.
        known += _class_keys(section, (key == section and of_class) or own)
        known += _class_keys(section, of_class, key) if of_class and key != section else []
    value, source = told.get(unknown, (None, ""))
    place = f" in {source}" if source else ""
    others = [part for part in (found["argument"] or "").split()[1:] if part.startswith("--")]
    place += f" (nor {', '.join(others)})" if others else ""
    section, _, leaf = unknown.rpartition(".")
    beside = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == section}
    anywhere = {k.rpartition(".")[2]: k for k in reversed(list(known))}
    similar = [
        table[near]
        for table, likeness in ((beside, 0.65), (anywhere, 0.75))
        for near in get_close_matches(leaf, table, 1, likeness)
    ]
    remedy = f"Did you mean `{similar[0]}`?" if similar else HINT
    return ConfigError(unknown, value, f"there is no such key{place}", remedy)


def _wrong_type(message: str, key: str, value: object, source: str) -> ConfigError | None:
    """Return the error of a value that is not of its key's type."""
    expected = [match for match in _EXPECTED.findall(message) if "NoneType" not in match[0]]
    expected = [(kind, got) for kind, got in expected if not kind.startswith("path but ")]
    if not expected:
        if "Unable to load config" not in message:
            return None
        expected = [("mapping of its keys, or a YAML file of them", "")]
    if value is None:
        value = next((got for _, got in expected if got), None)
    if (shape := _SHAPES.get(key)) is not None:
        kinds = [shape]
    else:
        kinds = list(dict.fromkeys(_kind(kind) for kind, _ in expected))
    place = f" in {source}" if source else ""
    choice = expected[0][0].startswith("typing.Literal")
    return ConfigError(
        key,
        value,
        f"{'not one of the choices' if choice else 'wrong type or shape'}{place}",
        f"{'Choose' if choice else 'Give'} {', or '.join(kinds)}.",
    )


def _kind(text: str) -> str:
    """Return a type of the parser's text in words."""
    if text.startswith("dot import path string"):
        return "the class_path (module.Class) of a class, with init_args"
    if text.startswith("typing.Literal"):
        *most, last = re.findall(r"'([^']*)'", text)
        return f"{', '.join(most)} or {last}" if most else last
    name = re.sub(r"<class '([^']+)'>", r"\1", text)
    return _TYPES.get(name, f"a {name}")


def _plain(message: str) -> str:
    """Return the parser's own text without what says nothing to a user."""
    lines = [line.rstrip() for line in message.splitlines() if not _NOISE.match(line)]
    text = "\n".join(line for line in lines if line)
    return f"{text or message}\n{HINT}"
