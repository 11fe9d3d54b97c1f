"""Validation of STAC files without a network, as far as pystac brings the schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pystac
from pystac.validation import validate_dict


def read_collection(run: Path) -> pystac.Collection:
    """Return the collection of a run as pystac reads it, with links to its items."""
    return pystac.Collection.from_file(str(run / "collection.json"))


def validate_core(path: Path) -> dict[str, Any]:
    """Check a file against STAC's own schema, which pystac brings, and return its content.

    Those of extensions lie in the network.
    """
    content: dict[str, Any] = json.loads(path.read_text())
    kind = pystac.STACObjectType.COLLECTION
    if content["type"] == "Feature":
        kind = pystac.STACObjectType.ITEM
    checked = validate_dict(content, kind, stac_version="1.1.0", extensions=[])
    assert len(checked) == 1
    return content
