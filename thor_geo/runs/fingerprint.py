"""The fingerprint of a run: equal exactly when the same command would give the same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

from thor_geo.errors import ConfigError
from thor_geo.support.jsontext import canonical_json, canonical_sha256

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"

#: Shown for a setting that one side does not have.
MISSING = "(absent)"


def plain_json(argument: str, value: Mapping[str, JSON]) -> dict[str, Any]:
    """Return a value as JSON gives it back: lists for tuples, strings for keys.

    Args:
        argument: Name of the value, for the message.
        value: The value.

    Raises:
        ConfigError: If it is not JSON, or holds NaN or an infinity.
    """
    try:
        restored: dict[str, Any] = json.loads(canonical_json(value))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            argument, value, f"not JSON ({error})", "Give strings, finite numbers, lists and dicts."
        ) from error
    return restored


def compute_fingerprint(settings: Mapping[str, JSON], plan_digest: str) -> str:
    """Return the sha256 over all settings and the plan, hexadecimal.

    Args:
        settings: Everything that changes the numbers, and nothing else.
        plan_digest: `Plan.digest`.
    """
    return canonical_sha256({"settings": settings, "plan": plan_digest})


def json_differences(
    ours: object, theirs: object, path: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield where two JSON values differ.

    Args:
        ours: One value.
        theirs: The other.
        path: Their key in the whole, e.g. ``model.patch_size``.

    Yields:
        Path, our value and their value as JSON text, ``(absent)`` where a side has none.
    """
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted(ours.keys() | theirs.keys()):
            below = f"{path}.{key}" if path else str(key)
            if key not in ours or key not in theirs:
                mine, other = (json.dumps(m[key]) if key in m else MISSING for m in (ours, theirs))
                yield below, mine, other
            else:
                yield from json_differences(ours[key], theirs[key], below)
    elif ours != theirs or type(ours) is not type(theirs):
        yield path, json.dumps(ours), json.dumps(theirs)


# Packages whose version may change a number or a file.
_PACKAGES = (
    "thor-geo",
    "torch",
    "numpy",
    "lightning",
    "torchgeo",
    "terratorch",
    "earthengine-api",
    "rasterio",
    "pyarrow",
    "zarr",
)


def package_versions() -> dict[str, JSON]:
    """Return the versions of packages that matter; None for one that is not installed."""
    return {name: _version(name) for name in _PACKAGES}


# Looked up once: it parses a package's metadata, and every embedding from Python states versions.
@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
