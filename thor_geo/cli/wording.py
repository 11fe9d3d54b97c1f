"""Words for the mistakes that the parser finds: which key is wrong, and what to do instead.

The parser says what is wrong in prose only, which the patterns here read. What they do not know is
left in its own words. tests/unit/cli/test_wording.py makes each mistake with the installed parser,
and names the pattern that a new release no longer fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentParser

from thor_geo.cli.help import HINT
from thor_geo.cli.scalars import written_value
from thor_geo.cli.settings import CLASSES, LINKED, section_settings, settings_of
from thor_geo.errors import ConfigError
from thor_geo.specs.windows import PAIRS

#: What the user wrote: value and file (empty: command line) by key without `init_args`.
UserValues = Mapping[str, tuple[Any, str]]

#: Patterns of the parser's prose, by what they are called in tests.
PATTERNS: Mapping[str, re.Pattern[str]] = {
    "key": re.compile(r'Parser key "([^"]+)"'),
    "class": re.compile(r"Problem with given class_path '([^']+)':\s*(.*)"),
    "not imported": re.compile(
        r"No module named|has no attribute|does not correspond to a subclass of \w+"
    ),
    "unknown": re.compile(
        r"Option '(?P<option>[^']+)' is not accepted"
        r"|(?P<group>Group|Subcommand) '(?P<owner>[^']+)' does not accept option"
        r" '(?P<member>[^']+)'"
        r"|unrecognized arguments: (?P<argument>.+)"
    ),
    # A union expects each of its members; `None` and paths of files that hold the value do not
    # help a user.
    "expected": re.compile(r"Expected an? (.+?)(?:\. Got value: (.*))?$", re.MULTILINE),
    "required": re.compile(r"the following arguments are required: (.+)"),
    "no file": re.compile(r"(File does not exist|Path is not a file|File is not readable): '(.+)'"),
    "no value": re.compile(r"argument (\S+): expected one argument"),
    "no group": re.compile(r"Unable to load config"),
    "class wanted": re.compile(r"Expected a dot import path string: "),
    "no path": re.compile(r"Not of type Path: expected str"),
}

# Lines of the parser's prose that tell a user nothing.
_NOISE = re.compile(
    r"\s*(Does not validate against any|Subtypes: |Errors:$|Given value|- Expected a <class 'None)"
)
_TYPES = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "collections.abc.Sequence": "a list",
    "tuple": "a list",
}
# The other class of data that comes with the package.
_FOLDER = settings_of("thor_geo.datamodules.FolderDataModule")
# Shapes of keys whose type says too little.
_SHAPES = {"data.windows": PAIRS}

_MAPPING = "a mapping of its keys, or a YAML file of them"
_CLASS_REMEDY = "Give module.Class of something importable, e.g. thor_geo.tasks.THOREmbeddingTask."


def short(key: str) -> str:
    """Return a key of the parser as a user writes it."""
    return key.replace(".init_args.", ".").removesuffix(".init_args").removeprefix("predict.")


def key_of(argument: str, values: UserValues) -> str | None:
    """Return the key that sets an argument of a run's classes, None where it is not clear which.

    Args:
        argument: Name of the argument, or group and name.
        values: What the user wrote.
    """
    if argument in LINKED:
        return LINKED[argument] if argument != "bands" else _only_written("bands", values)
    if argument.partition(".")[0] in CLASSES:
        return None
    rows = [
        (f"{section}.{row.key}", row)
        for section in CLASSES
        for row in [*section_settings(section), *(_FOLDER if section == "data" else ())]
        if row.key not in LINKED
    ]
    # `start` is data.start, although places have a member of that name.
    for keys in (
        {key for key, row in rows if row.key == argument},
        {key for key, row in rows if row.name == argument},
    ):
        if len(keys) == 1:
            return keys.pop()
    return _only_written(argument, values)


def _only_written(argument: str, values: UserValues) -> str | None:
    """Return the key of an argument's name that the user wrote, where there is one."""
    keys = [
        key
        for key in values
        if key.partition(".")[0] in CLASSES and key.rpartition(".")[2] == argument
    ]
    return keys[0] if len(keys) == 1 else None


def explain(message: str, keys: Sequence[str], values: UserValues) -> ConfigError | None:
    """Return what a message of the parser means, or None if it is not understood.

    Args:
        message: The parser's.
        keys: The keys that the parser knows, apart from those of model and data.
        values: What the user wrote.
    """
    path: list[str] = []
    for part in PATTERNS["key"].findall(message):
        if path[-1:] != [part]:
            path.append(part)
    key = short(".".join(path))
    classes = PATTERNS["class"].findall(message)
    if match := PATTERNS["no file"].search(message):
        problem = "no such file" if "exist" in match[1] else match[1][0].lower() + match[1][1:]
        return ConfigError(
            key or "config", match[2], problem, "Correct the path, or run from another folder."
        )
    if match := PATTERNS["no value"].search(message):
        return _no_value(match[1].lstrip("-"), values)
    if match := PATTERNS["required"].search(message):
        return _required(
            [short(f"{key}.{name.strip()}".lstrip(".")) for name in match[1].split(",")]
        )
    if match := PATTERNS["unknown"].search(message):
        return _unknown(match, key, classes, keys, values)
    if classes and PATTERNS["not imported"].search(classes[-1][1]):
        return ConfigError(
            f"{key}.class_path", classes[-1][0], classes[-1][1].rstrip("."), _CLASS_REMEDY
        )
    if key and (match := PATTERNS["not imported"].search(message)):
        name, _ = values.get(key, (None, ""))
        return ConfigError(f"{key}.class_path", name, f"it {match[0]}", _CLASS_REMEDY)
    value, source = values.get(key, (None, ""))
    if key and PATTERNS["no path"].search(message):
        return _unquoted(key, value, source, "wrong type or shape")
    return _wrong_type(message, key, value, source) if key else None


def _unquoted(key: str, value: object, source: str, problem: str) -> ConfigError:
    """Return the error of a value that should be text, and is read as something else."""
    place = f" in {source}" if source else ""
    text = written_value(source, key) if source else None
    example = "" if text is None else f', as in {key.rpartition(".")[2]}: "{text}"'
    if isinstance(value, list):
        remedy = "Give a list of texts: put each in quotes."
    else:
        remedy = f"Give text: put it in quotes{example}."
    return ConfigError(key, value, f"{problem}{place}", remedy)


def _no_value(section: str, values: UserValues) -> ConfigError:
    # The parser names `--data` for `--data.tile_size`.
    bare = [key for key, (value, file) in values.items() if value is None and not file]
    key = next((key for key in reversed(bare) if key.startswith(section)), section)
    return ConfigError(key, None, "it needs a value", f"Write --{key}=VALUE.")


def _required(missing: Sequence[str]) -> ConfigError:
    first, rest = missing[0], " and ".join(missing[1:])
    also = f", and so {'is' if len(missing) == 2 else 'are'} {rest}" if rest else ""
    return ConfigError(
        first,
        None,
        f"required, and not given{also}",
        f"Set it in the config or with --{first}=..., or start from configs/quickstart.yaml.",
    )


def _unknown(
    match: re.Match[str],
    key: str,
    classes: Sequence[tuple[str, str]],
    keys: Sequence[str],
    values: UserValues,
) -> ConfigError:
    """Return the error of a key that does not exist, with the one that was meant."""
    if match["argument"]:
        argument = match["argument"].split("=")[0].split(" ")[0]
        if not argument.startswith("-"):
            return ConfigError("argument", argument, "not a key", f"Write --key=value. {HINT}")
        name = argument.lstrip("-")
    else:
        owner = match["owner"] if match["group"] == "Group" else None
        name = ".".join(part for part in (owner, match["option"] or match["member"]) if part)
    unknown = short(".".join(part for part in (key, name) if part))
    value, source = values.get(unknown, (None, ""))
    place = f" in {source}" if source else ""
    others = [part for part in (match["argument"] or "").split()[1:] if part.startswith("--")]
    place += f" (nor {', '.join(others)})" if others else ""
    near = _nearest(unknown, _known_keys(key, classes, keys, values))
    remedy = f"Did you mean `{near}`?" if near else HINT
    return ConfigError(unknown, value, f"there is no such key{place}", remedy)


def _nearest(unknown: str, known: Sequence[str]) -> str | None:
    """Return the key that was meant: first one of the same section, then any."""
    section, _, leaf = unknown.rpartition(".")
    beside = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == section}
    anywhere = {k.rpartition(".")[2]: k for k in reversed(known)}
    for table, likeness in ((beside, 0.65), (anywhere, 0.75)):
        for leaf_of_known in get_close_matches(leaf, table, 1, likeness):
            return table[leaf_of_known]
    return None


def _known_keys(
    key: str, classes: Sequence[tuple[str, str]], keys: Sequence[str], values: UserValues
) -> list[str]:
    """Return all keys of a run with the classes that the user chose."""
    known = list(keys)
    for section in ("model", "data"):
        # The innermost class may be that of a group, such as `data.sentinel1`.
        chosen = classes[0][0] if classes and key.split(".")[0] == section else ""
        chosen = chosen or values.get(f"{section}.class_path", ("",))[0]
        known += _class_keys(section, chosen)
    return known


def _class_keys(section: str, class_path: object) -> list[str]:
    """Return the keys of the class that is the model or the data."""
    if not isinstance(class_path, str) or class_path.rpartition(".")[2] in (
        "",
        CLASSES[section].rpartition(".")[2],
    ):
        keys = [row.key for row in section_settings(section)]
    else:
        module, _, name = class_path.rpartition(".")
        try:
            kind = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            return []  # suggest nothing rather than another class's keys
        parser = ArgumentParser(exit_on_error=False)
        keys = parser.add_class_arguments(kind, None, fail_untyped=False)
        members = dict(parser.get_defaults(skip_validation=True).items())  # `area.bbox`, ...
        keys += [member for member in members if member not in keys]
    linked = LINKED if section == "model" else ()
    return [f"{section}.{key}" for key in [*keys, "class_path"] if key not in linked]


def _wrong_type(message: str, key: str, value: object, source: str) -> ConfigError | None:
    """Return the error of a value that is not of its key's type."""
    matches = PATTERNS["expected"].findall(message)
    expected = [
        (kind, text)
        for kind, text in matches
        if "NoneType" not in kind and not kind.startswith("path but ")
    ]
    if not expected:
        if not PATTERNS["no group"].search(message):
            return None
        expected = [(_MAPPING.removeprefix("a "), "")]
    if value is None:
        value = next((text for _, text in expected if text), None)
    if (shape := _SHAPES.get(key)) is not None:
        kinds = [shape]
    else:
        kinds = list(dict.fromkeys(_kind(kind, key) for kind, _ in expected))
    problem = "wrong type or shape"
    if _TYPES["str"] in kinds and isinstance(value, bool | int | float | str | list):
        return _unquoted(key, value, source, problem)
    place = f" in {source}" if source else ""
    choice = expected[0][0].startswith("typing.Literal")
    return ConfigError(
        key,
        value,
        f"{'not one of the choices' if choice else problem}{place}",
        f"{'Choose' if choice else 'Give'} {', or '.join(kinds)}.",
    )


def _kind(text: str, key: str) -> str:
    """Return a type of the parser's prose in words."""
    if PATTERNS["class wanted"].match(f"Expected a {text}"):
        # The parser sees a class where a user sees a group of settings.
        section, _, name = key.partition(".")
        if any(row.group == name for row in section_settings(section)):
            return _MAPPING
        return "the class_path (module.Class) of a class, with init_args"
    if text.startswith("typing.Literal"):
        *most, last = re.findall(r"'([^']*)'", text)
        return f"{', '.join(most)} or {last}" if most else last
    name = re.sub(r"<class '([^']+)'>", r"\1", text)
    return _TYPES.get(name, f"a {name}")


def without_noise(message: str) -> str:
    """Return a message of the parser without the lines that tell a user nothing."""
    lines = [line.rstrip() for line in message.splitlines() if not _NOISE.match(line)]
    text = "\n".join(line for line in lines if line)
    return f"{text or message}\n{HINT}"
