"""Errors of code that runs and calls share, in the words of the Python call."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from thor_geo.errors import ConfigError, ThorGeoError
from thor_geo.specs.environment import VARIABLES

# Classes that take the keys of a group of a run's settings.
_SPECS = {
    "earthengine": "EarthEngineSpec",
    "stac": "StacSpec",
    "emulator": "EmulatorSpec",
    "sentinel2": "SensorSpec",
    "sentinel1": "Sentinel1Spec",
}
_GROUP = re.compile(rf"\bdata\.({'|'.join(_SPECS)})\.(\w+)(?:=('[^']*'|\w+))?")
_KEY = re.compile(
    r"\b(?:data|model)\.(cache_dir|concurrency|fetch_workers|tile_size|scale|resolution|normalize|"
    r"statistics|patch_size|model_key|ckpt|pretrained|layers)\b"
)

_TABLE = re.compile(r"\bdata\.places(?:\.file\b)?")
_SPAN = re.compile(r"\bdata\.start and data\.end\b|\bdata\.(?:start|end)\b")

# Settings whose name in the call is another.
_NAMES = {
    "model_key": "model",
    "tile_size": "image_size",
    "concurrency": "fetch_workers",
    "paths": "raster",
    "scale": "input_scale",
}


@contextmanager
def python_words(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Let errors name arguments of the call, or environment variables, instead of keys of a config.

    Args:
        arguments: What the caller gave, by argument.
    """
    try:
        yield
    except ConfigError as error:
        # In place, so that the traceback shows one message and not two.
        name, value = _written(_argument(error.argument), error.value, arguments)
        problem, remedy = _in_python(error.problem), _in_python(error.remedy)
        ConfigError.__init__(error, name, value, problem, remedy)
        raise
    except ThorGeoError as error:
        error.args = tuple(
            _in_python(text) if isinstance(text, str) else text for text in error.args
        )
        raise


def _written(name: str, value: object, arguments: Mapping[str, Any]) -> tuple[str, object]:
    """Return an argument's name and value, or those of the variable that the user set instead.

    Image size and patch size have to fit each other: of the two, the one that was set.
    """
    if name not in VARIABLES or arguments.get(name) is not None:
        return name, value
    if VARIABLES[name].read() is not None:
        return VARIABLES[name].name, value
    if name == "image_size":
        patch_size = arguments.get("patch_size")
        if patch_size is not None:
            return "patch_size", patch_size
        if (patch_size := VARIABLES["patch_size"].read()) is not None:
            return VARIABLES["patch_size"].name, patch_size
    return name, value


def _argument(name: str) -> str:
    if name.partition(".")[0] in _SPECS:
        name = f"data.{name}"
    return _NAMES.get(name, _in_python(name))


def _in_python(text: str) -> str:
    """Return a message with keys of a config written as arguments of Python."""

    def spec(match: re.Match[str]) -> str:
        return f"{_SPECS[match[1]]}({match[2]}={match[3] or '...'})"

    def argument(match: re.Match[str]) -> str:
        return _NAMES.get(match[1], match[1])

    text = _SPAN.sub("temporal", _TABLE.sub("places", text))
    return _KEY.sub(argument, _GROUP.sub(spec, text))
