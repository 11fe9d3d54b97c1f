"""Opening a catalogue: can it be used, and which is it.

Its name is part of every cache key, so that two catalogues never share a block.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thor_geo.errors import StacError
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.stac.client import StacClient
from thor_geo.sources.stac.items import StacItem
from thor_geo.sources.stac.recipe import STAC_RECIPE_VERSION
from thor_geo.sources.stac.root import is_api, local_path, read_root
from thor_geo.sources.stac.session import StacSession
from thor_geo.sources.stac.spec import CatalogueSpec, is_remote, public
from thor_geo.sources.stac.walking import WalkedItem, walk
from thor_geo.support.coverage import Coverage
from thor_geo.support.files import file_sha256
from thor_geo.support.jsontext import canonical_sha256
from thor_geo.support.progress import PATIENCE_S, is_first_process, track
from thor_geo.support.words import counted

logger = logging.getLogger(__name__)


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
    items = client.call(client.session.some, "items of the collection", FetchStats())
    _check_bands(spec, items)
    if spec.exclude and is_first_process():
        unknown = client.call(
            client.session.unknown_exclusions, "the items to leave out", FetchStats()
        )
        if unknown:
            logger.warning(
                "data.stac.exclude=%s: %s has no such items, so nothing is left out by them. "
                "Correct the ids, or take them out.",
                unknown,
                spec.endpoint,
            )
    where = client.call(lambda: _where(spec), "its root", FetchStats())
    return "stac-" + canonical_sha256(
        {
            "recipe": STAC_RECIPE_VERSION,
            "where": where,
            "collection": spec.collection,
            "assets": dict(spec.assets),
            "offset": spec.offset,
            **({"exclude": list(spec.exclude)} if spec.exclude else {}),
        }
    )


def catalogue_coverage(spec: CatalogueSpec) -> Coverage:
    """Return where and when the items of a catalogue are: of an API, what its collection says.

    Args:
        spec: Which catalogue.

    Raises:
        StacError: If it cannot be reached, or refuses.
        BlockError: If it failed too often.
    """
    client = StacClient(StacSession(spec))
    client.connect()
    return client.call(client.session.coverage, "the extent of the collection", FetchStats())


def _check_bands(spec: CatalogueSpec, items: Sequence[StacItem]) -> None:
    """Refuse a catalogue none of whose items, as far as they are looked at, has all bands."""
    faults = []
    for item in items:
        fault = item.fault_in(spec.bands, spec)
        if fault is None:
            return
        faults.append(fault)
    others = f" Nor can {counted(len(faults) - 1, 'other item')} be used." if faults[1:] else ""
    raise StacError(f"{faults[0]}{others}") from faults[0]


def _where(spec: CatalogueSpec) -> Mapping[str, Any]:
    root, content, reader = read_root(spec)
    if is_api(content):
        return {"api": public(root).rstrip("/")}
    if is_remote(root):
        return {"static": public(root), "root": canonical_sha256(content)}
    folder = Path(root).parent
    digest = hashlib.sha256()
    walked = sorted(walk(root, reader), key=lambda entry: entry.item.id)
    shown = is_first_process()
    for entry in track(walked, "items", label="content", shown=shown, delay=PATIENCE_S):
        text = json.dumps(_stated(entry, folder), sort_keys=True)
        digest.update(text.encode())
    return {"content": digest.hexdigest()}


def _stated(entry: WalkedItem, folder: Path) -> list[Any]:
    """Return what an item of a catalogue on this machine says, and the checksums of its files."""
    item, content = entry.item, entry.content
    if content is None or item.fault is not None:
        return [item.id, entry.collection, "cannot be used"]
    stated, files = {}, {}
    for key, asset in content["assets"].items():
        href = str(asset.get("href", ""))
        path = local_path(href)
        shown = public(href) if path is None else _relative(path, folder)
        stated[key] = {**asset, "href": shown}
        if path is not None:
            files[key] = _sha256(path, item.id)
    return [item.id, entry.collection, content["geometry"], content["properties"], stated, files]


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _sha256(path: Path, item: str) -> str | None:
    """Return the checksum of an item's file; None where it is missing, or no file."""
    try:
        return file_sha256(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        raise StacError(
            f"Item {item!r} of the catalogue names the file {path}, which cannot be read "
            f"({error.strerror}). Restore it, or write the catalogue again."
        ) from error
