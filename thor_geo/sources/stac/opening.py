"""Opening a catalogue: can it be used, and which is it.

Its name is part of every cache key, so that two catalogues never share a block.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thor_geo.errors import StacError
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.stac.client import StacClient
from thor_geo.sources.stac.recipe import STAC_RECIPE_VERSION
from thor_geo.sources.stac.root import is_api, local_path, read_root, walk
from thor_geo.sources.stac.session import StacSession
from thor_geo.sources.stac.spec import CatalogueSpec, is_remote, public
from thor_geo.support.files import file_sha256
from thor_geo.support.jsontext import canonical_sha256
from thor_geo.support.progress import PATIENCE_S, is_first_process, track


def catalogue_name(spec: CatalogueSpec) -> str:
    """Check that a catalogue has the bands; return a name for it and the user's settings.

    An API is named by its address and the collection. A static catalogue at an address, in
    addition, by its root file. One on this machine is named by its content, as an archive is: its
    items and their files on this machine, which are read for it; so a copy elsewhere is the same.

    Args:
        spec: Which catalogue.

    Returns:
        ``stac-`` and 64 hexadecimal digits. Neither login nor query of the address enters it.

    Raises:
        DependencyError: If pystac-client is not installed.
        ConfigError: If there is no catalogue, or no such collection.
        StacUnreachableError: If it cannot be reached.
        StacError: If it refuses, is not a catalogue, or one of its items lacks a band.
        BlockError: If it failed too often.
    """
    client = StacClient(StacSession(spec))
    client.connect()
    item = client.call(client.session.first, "an item of the collection", FetchStats())
    for band in spec.bands:
        item.raster(band, spec)
    where = client.call(lambda: _where(spec), "its root", FetchStats())
    return "stac-" + canonical_sha256(
        {
            "recipe": STAC_RECIPE_VERSION,
            "where": where,
            "collection": spec.collection,
            "assets": dict(spec.assets),
            "offset": spec.offset,
        }
    )


def _where(spec: CatalogueSpec) -> Mapping[str, Any]:
    root, content, reader = read_root(spec)
    if is_api(content):
        return {"api": public(root).rstrip("/")}
    if is_remote(root):
        return {"static": public(root), "root": canonical_sha256(content)}
    folder = Path(root).parent
    digest = hashlib.sha256()
    items = sorted(walk(root, reader), key=lambda item: item.id)
    shown = is_first_process()
    for item in track(items, "items", label="content", shown=shown, delay=PATIENCE_S):
        stated = {key: asset.to_dict() for key, asset in item.assets.items()}
        files = {}
        for key, asset in item.assets.items():
            path = local_path(asset.href)
            stated[key]["href"] = public(asset.href) if path is None else _relative(path, folder)
            if path is not None:
                files[key] = _sha256(path, item.id)
        text = json.dumps(
            [item.id, item.collection_id, item.geometry, item.properties, stated, files],
            sort_keys=True,
        )
        digest.update(text.encode())
    return {"content": digest.hexdigest()}


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _sha256(path: Path, item: str) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise StacError(
            f"Item {item!r} of the catalogue names the file {path}, which cannot be read "
            f"({error.strerror}). Restore it, or write the catalogue again."
        ) from error
