"""Checks the indexes of similar places that lie beside a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from thor_geo.checks._strays import Temporaries
from thor_geo.checks.faults import Fault
from thor_geo.errors import RunDirectoryError, first_line
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.similar_index import IndexAbout, IndexUnit, index_path, vectors_digest


def check_indexes(opened: OpenedRun, outdated: list[str], into: Temporaries) -> Iterator[Fault]:
    """Yield what is wrong with the indexes of a run.

    Args:
        opened: The run.
        outdated: Collects the indexes that were made of other vectors than the run has now, which
            are no faults.
        into: Collects what killed builds left behind, which is no fault.
    """
    folder = opened.run.index
    if not isinstance(folder, Path) or not folder.is_dir():
        return  # runs in a store have none
    times = range(len(opened.windows)) if opened.windows.listed else [None]
    known = {
        index_path(opened.run, unit, time): (unit, time)
        for unit in get_args(IndexUnit)
        for time in times
    }
    digest = None
    for path in sorted(folder.iterdir()):
        name = f"{folder.name}/{path.name}"
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            into.paths.append(name)
            into.bytes += sum(file.stat().st_size for file in path.rglob("*"))
        elif path in known:
            try:
                about = IndexAbout.read(path)
                assert about is not None
            except RunDirectoryError as error:
                yield Fault(kind="index", file=name, reason=first_line(error))
                continue
            for file, content in about.files.items():
                if not content.matches(path / file, verify=True):
                    reason = "its content is not what index.json says"
                    yield Fault(kind="index", file=f"{name}/{file}", reason=reason)
            digest = digest or vectors_digest(opened)
            made_of = (about.fingerprint, about.digest, about.unit, about.time)
            if made_of != (opened.fingerprint, digest, *known[path]):
                outdated.append(name)
        elif path.name != ".lock":
            yield Fault(kind="stray", file=name, reason="is no index of this run")
