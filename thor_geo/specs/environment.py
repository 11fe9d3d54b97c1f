"""Environment variables: those of rs-embed's THOR adapter, for the Python call and for runs.

An argument or a config key comes before the environment, and the environment before the default. An
empty variable counts as not set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from thor_geo.errors import ConfigError
from thor_geo.specs import Merge, Normalize

Origin = Literal["argument", "environment", "default"]

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One environment variable.

    Attributes:
        name: What it is called.
        key: The key of a run's config that it sets, e.g. ``model.patch_size``.
        default: Default of the Python call; a run's default is its key's own.
        parse: Turns its text into the value; raises ValueError.
        expected: What `parse` takes, for messages.
    """

    name: str
    key: str
    default: Any
    parse: Callable[[str], Any]
    expected: str

    def read(self) -> Any:
        """Return the value of the environment, or None where it is not set.

        Raises:
            ConfigError: If its text is not such a value.
        """
        text = os.environ.get(self.name, "").strip()
        if not text:
            return None
        try:
            return self.parse(text)
        except ValueError as error:
            raise ConfigError(
                self.name, text, f"not {self.expected}", "Correct or unset the variable."
            ) from error


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value, and where it comes from."""

    value: Any
    origin: Origin


def _flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def _choice(choices: object, **others: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        value = others.get(text.lower(), text.lower())
        if value not in get_args(choices):
            raise ValueError(text)
        return value

    return parse


#: The variables by the name of the Python call's argument.
VARIABLES: Mapping[str, Variable] = {
    "model": Variable(
        name="RS_EMBED_THOR_MODEL_KEY",
        key="model.model_key",
        default="thor_v1_base",
        parse=str,
        expected="a model key",
    ),
    "ckpt": Variable(
        name="RS_EMBED_THOR_CKPT",
        key="model.ckpt",
        default=None,
        parse=lambda text: Path(text).expanduser(),
        expected="a path",
    ),
    "pretrained": Variable(
        name="RS_EMBED_THOR_PRETRAINED",
        key="model.pretrained",
        default=True,
        parse=_flag,
        expected="1 or 0",
    ),
    "image_size": Variable(
        name="RS_EMBED_THOR_IMG",
        key="data.tile_size",
        default=288,
        parse=_positive,
        expected="a positive whole number of pixels",
    ),
    "normalize": Variable(
        name="RS_EMBED_THOR_NORMALIZE",
        key="data.normalize",
        default="thor_stats",
        parse=_choice(Normalize, raw="none"),
        expected=f"one of {', '.join(get_args(Normalize))}, raw",
    ),
    "group_merge": Variable(
        name="RS_EMBED_THOR_GROUP_MERGE",
        key="model.group_merge",
        default="mean",
        parse=_choice(Merge),
        expected=f"one of {', '.join(get_args(Merge))}",
    ),
    "patch_size": Variable(
        name="RS_EMBED_THOR_PATCH_SIZE",
        key="model.patch_size",
        default=16,
        parse=_positive,
        expected="a positive whole number of pixels",
    ),
    "fetch_workers": Variable(
        name="RS_EMBED_THOR_FETCH_WORKERS",
        key="data.fetch_workers",
        default=8,
        parse=_positive,
        expected="a positive whole number of threads",
    ),
}


def resolve(name: str, argument: Any = None) -> Setting:
    """Return the value of a setting of the Python call, and where it comes from.

    Args:
        name: A key of `VARIABLES`.
        argument: Value of the argument; None if it is left out.

    Raises:
        ConfigError: If the variable is read, and its text is not such a value.
    """
    if argument is not None:
        return Setting(value=argument, origin="argument")
    variable = VARIABLES[name]
    value = variable.read()
    if value is not None:
        return Setting(value=value, origin="environment")
    return Setting(value=variable.default, origin="default")


def run_defaults() -> dict[str, dict[str, Any]]:
    """Return the values that the environment sets for a run, by section and key.

    They are the defaults of configs that leave the key out: ``{"model": {"patch_size": 8}}``.

    Raises:
        ConfigError: If the text of a variable is not such a value.
    """
    out: dict[str, dict[str, Any]] = {"model": {}, "data": {}}
    for variable in VARIABLES.values():
        value = variable.read()
        if value is not None:
            section, key = variable.key.split(".")
            out[section][key] = str(value) if isinstance(value, Path) else value
    return out
