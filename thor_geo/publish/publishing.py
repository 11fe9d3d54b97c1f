"""Writing what a catalogue wants into a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.publish.collection import collection
from thor_geo.publish.facts import RunFacts, read_facts
from thor_geo.publish.footprint import joined
from thor_geo.publish.items import item, item_parts
from thor_geo.publish.model import describes_model, model_item
from thor_geo.publish.page import page
from thor_geo.publish.stac import COLLECTION, ITEMS, MODEL, PAGE
from thor_geo.publish.terms import Terms
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.storage import Location, StorePath
from thor_geo.storage.files import write_all
from thor_geo.support.jsontext import indented_json


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was written.

    Attributes:
        facts: The run.
        contents: Content of every file, by path relative to the run.
        changed: Those of them that were not there yet, or had another content.
    """

    facts: RunFacts
    contents: Mapping[str, bytes]
    changed: tuple[str, ...]


def publish_run(
    opened: OpenedRun, terms: Terms, *, overwrite: bool = False, progress: bool = False
) -> Published:
    """Write a collection, its items, and a page into a run; equal files stay as they are.

    The collection is written last: who finds it, finds the items.

    Args:
        opened: The run.
        terms: What the publisher says about it.
        overwrite: Whether files with another content may be replaced.
        progress: Whether to show progress, if it takes long.

    Raises:
        ConfigError: If a file has another content, and may not be replaced, or the address of the
            run can only be read.
        RunDirectoryError: If the run is unfinished or damaged, or cannot be written.
        StoreError: If the store cannot be read or written.
    """
    root = opened.run.path
    if isinstance(root, StorePath) and root.address.read_only:
        raise ConfigError(
            "OUT",
            str(root),
            "a web server cannot be written to",
            "Give the folder, or the s3://, gs:// or az:// address, from which it serves the run.",
        )
    facts = read_facts(opened, progress=progress)
    contents = _contents(facts, terms)
    before = {name: _content(root / name) for name in contents}
    changed = [name for name, content in contents.items() if before[name] != content]
    in_the_way = [name for name in changed if before[name] is not None]
    if in_the_way and not overwrite:
        raise ConfigError(
            "OUT",
            str(root),
            f"{', '.join(in_the_way[:3])} {'is' if len(in_the_way) == 1 else 'are'} there with "
            "another content",
            "Add --overwrite to replace what was published before.",
        )
    last = [name for name in changed if name == COLLECTION]
    try:
        if isinstance(root, Path):  # a store has no folders
            (root / ITEMS).mkdir(exist_ok=True)
        for names in ([name for name in changed if name != COLLECTION], last):
            write_all(root, {name: contents[name] for name in names})
    except OSError as error:
        raise RunDirectoryError(
            f"`{root}` cannot be written ({error.strerror or error}). Free some space there, or "
            "make it writable, and run the command again."
        ) from error
    return Published(facts=facts, contents=contents, changed=tuple(changed))


def _contents(facts: RunFacts, terms: Terms) -> dict[str, bytes]:
    parts = list(item_parts(facts))
    model = describes_model(facts)
    documents = {
        f"{ITEMS}/{part.id}.json": item(facts, part, facts.name, model=model) for part in parts
    }
    if model:
        ground = joined([part.geometry for part in parts])
        documents[MODEL] = model_item(facts, ground, facts.name)
    documents[COLLECTION] = collection(facts, parts, terms, model=model)
    return {
        PAGE: page(facts, parts, terms).encode(),
        **{name: indented_json(document) for name, document in documents.items()},
    }


def _content(path: Location) -> bytes | None:
    """Return the content of a file, None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
