"""Runs in an object store, copied down and compared with runs in folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.support.object_store import ObjectStore
from benchmarks.support.runs import MOMENTARY
from thor_geo.support.files import file_sha256


def copy_down(store: ObjectStore, prefix: str, folder: Path) -> Path:
    """Write all objects below a prefix as files, by a client that is not ours.

    Args:
        store: The bucket.
        prefix: The run.
        folder: Where the files go, by the rest of their names.
    """
    for name, content in store.contents(prefix).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def file_differences(run: Path, reference: Path) -> list[str]:
    """Return what is missing, too many or different in a run, file by file.

    Markers are compared without times and costs, run.json without the config, which names paths.
    Left aside are failures/, and files that begin with a dot: locks and signs of life.

    Args:
        run: A run directory.
        reference: Another one.
    """
    ours, theirs = _contents(run), _contents(reference)
    missing = [f"{name} is missing" for name in sorted(theirs.keys() - ours.keys())]
    more = [f"{name} is too many" for name in sorted(ours.keys() - theirs.keys())]
    both = sorted(ours.keys() & theirs.keys())
    return missing + more + [f"{name} differs" for name in both if ours[name] != theirs[name]]


def _contents(run: Path) -> dict[str, Any]:
    """Return what is compared of each file, by its path in the run directory."""
    found: dict[str, Any] = {}
    for file in sorted(run.rglob("*")):
        path = file.relative_to(run)
        if not file.is_file() or path.parts[0].startswith(".") or path.parts[0] == "failures":
            continue
        if path.parts[0] == "markers":
            marker = json.loads(file.read_bytes())
            found[str(path)] = {key: marker[key] for key in marker.keys() - MOMENTARY}
        elif str(path) == "run.json":
            document = json.loads(file.read_bytes())
            document["info"].pop("config")
            found[str(path)] = document
        else:
            found[str(path)] = file_sha256(file)
    return found
