"""The two documents the client asks for first, taken from the ``ee`` package itself.

The package ships the API's discovery document and its list of algorithms among its own tests. They
are read as files: the package is located, never imported.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from thor_geo.errors import DependencyError


def _file(name: str) -> Path:
    spec = importlib.util.find_spec("ee")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyError("The emulator needs the `ee` package: pip install earthengine-api")
    path = Path(spec.submodule_search_locations[0]) / "tests" / name
    if not path.is_file():
        raise DependencyError(
            f"{path} is missing: this version of earthengine-api does not ship the document that "
            "the emulator serves. Install earthengine-api 1.7.50."
        )
    return path


@cache
def discovery_document() -> bytes:
    """Return the API's discovery document, version ``v1``.

    Raises:
        DependencyError: If ``ee`` is not installed or does not ship the document.
    """
    text = _file("cloud_api_discovery_document.json").read_text(encoding="utf-8")
    # The shipped file describes v1alpha; the client asks for v1, whose paths are the same.
    return text.replace("v1alpha", "v1").encode()


@cache
def algorithms() -> bytes:
    """Return the list of algorithms, from which the client builds its classes.

    Raises:
        DependencyError: If ``ee`` is not installed or does not ship the document.
    """
    return _file("algorithms.json").read_bytes()
