"""What a run's own files say about it: counts, files with their checksums, embeddings, model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Shard
from thor_geo.runs.conventions import FOOTER_KEY, GEOEMB
from thor_geo.runs.markers import Marker, ShardFile
from thor_geo.runs.opened_run import THREADS, OpenedRun
from thor_geo.runs.pooled import row_ids
from thor_geo.storage.files import readable
from thor_geo.support.arrays import BoolArray
from thor_geo.support.jsontext import parse_json
from thor_geo.support.progress import PATIENCE_S, Progress
from thor_geo.support.words import counted

# Shards whose markers are read at once.
_AT_ONCE = 4096
_MISSIONS = {"sentinel2": "Sentinel-2", "sentinel1": "Sentinel-1"}
# What `EmbeddingFacts.geoemb` always has.
_NEEDED = frozenset({"type", "dimensions", "model", "source_data", "data_type", "gsd"})


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What there is to say about a finished run.

    Attributes:
        opened: The run.
        embedded: Whether each tile has an embedding in each time window, (tiles, windows).
        files: Every file of the shards, by path relative to the run; those of shards that come
            first in the plan come first.
        vectors: Paths of the files of vectors among them, by index of the shard in the plan.
        failed: Tiles that could not be produced; with a list of windows, one counts for each.
        finished: When the newest shard was finished, UTC, to the second.
        quicklook: Whether there is a picture.
        overview: Whether there is a file with the colours of all rows.
        about: The facts of `thor_geo.runs.conventions`: dimensions, type, model, sources.
    """

    opened: OpenedRun
    embedded: BoolArray
    files: Mapping[str, ShardFile]
    vectors: tuple[str, ...]
    failed: int
    finished: dt.datetime
    quicklook: bool
    overview: bool
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the run: that of its folder."""
        return self.opened.run.path.name or "run"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes the numbers, as run.json has it."""
        settings: Mapping[str, Any] = self.opened.document["settings"]
        return settings

    @property
    def info(self) -> Mapping[str, Any]:
        """What else run.json says: versions, weights, sources."""
        info: Mapping[str, Any] = self.opened.document["info"]
        return info

    @property
    def model(self) -> Mapping[str, Any]:
        """What run.json says of the model, settings and the rest together."""
        return {**self.settings.get("model", {}), **self.info.get("model", {})}

    @property
    def sensors(self) -> Mapping[str, Mapping[str, Any]]:
        """Settings of the Sentinel missions whose composites a run has read, by their names."""
        data = self.settings.get("data", {})
        return {name: data[key] for key, name in _MISSIONS.items() if data.get(key) is not None}

    @property
    def random_weights(self) -> bool:
        """Whether the embeddings mean nothing."""
        return self.model.get("pretrained") is False and self.model.get("ckpt") is None

    @property
    def maps(self) -> bool:
        """Whether the run has maps of zones."""
        return self.opened.grid and not self.opened.places


def read_facts(opened: OpenedRun, *, progress: bool = False) -> RunFacts:
    """Read what there is to say about a run; every file is there, with the size that it had.

    Args:
        opened: The run.
        progress: Whether to show progress, if it takes long.

    Raises:
        RunDirectoryError: If the run is unfinished or damaged, or has no embedding at all.
    """
    windows = len(opened.windows)
    embedded = np.ones(len(opened.plan) * windows, dtype=np.bool_)
    files: dict[str, ShardFile] = {}
    vectors: list[str] = []
    failed, newest = 0, ""
    unusable: list[str] = []
    shards = iter(opened.plan.shards)
    bar = Progress(
        len(opened.plan.shards), "shards", label="reading markers", shown=progress, delay=PATIENCE_S
    )
    with bar, ThreadPoolExecutor(THREADS, thread_name_prefix="thor-geo-markers") as pool:
        while batch := list(islice(shards, _AT_ONCE)):
            for shard, marker in zip(
                batch, pool.map(lambda each: _whole(opened, each), batch), strict=True
            ):
                bar.advance()
                if marker is None:
                    unusable.append(shard.id)
                    continue
                files |= dict(sorted(marker.outputs.items()))
                vectors += [name for name in marker.outputs if name.endswith(".parquet")]
                failed += marker.failed
                newest = max(newest, marker.finished_at)
                if without := {*marker.empty_tiles, *marker.failed_tiles}:
                    rows = embedded[shard.start * windows : shard.stop * windows]
                    ids = row_ids(opened.plan, shard, opened.windows)
                    rows[[row in without for row in ids]] = False
    path = opened.run.path
    if unusable:
        raise RunDirectoryError(
            f"`{path}`: {len(unusable):,} of {counted(len(opened.plan.shards), 'shard')} "
            f"{'is' if len(unusable) == 1 else 'are'} not done, or miss a file or a part of one: "
            f"{unusable[0]}. Only finished runs are published: run the same `thor-geo predict` "
            f"command, and ask `thor-geo validate {path}` what is wrong."
        )
    if not embedded.any():
        raise RunDirectoryError(
            f"`{path}` has no embedding: every tile is empty or failed. `thor-geo status {path}` "
            "says why."
        )
    return RunFacts(
        opened=opened,
        embedded=embedded.reshape(-1, windows),
        files=files,
        vectors=tuple(vectors),
        failed=failed,
        finished=dt.datetime.fromisoformat(newest).astimezone(dt.UTC).replace(microsecond=0),
        quicklook=opened.run.quicklook.exists(),
        overview=opened.run.overview.exists(),
        about=_about(opened, vectors),
    )


def _whole(opened: OpenedRun, shard: Shard) -> Marker | None:
    """Return a shard's marker if all files that it names have the size that it says."""
    marker = opened.marker(shard)
    if marker is None or not marker.outputs:
        return None
    run = opened.run.path
    whole = all(output.matches(run / name) for name, output in marker.outputs.items())
    return marker if whole else None


def _about(opened: OpenedRun, vectors: list[str]) -> Mapping[str, Any]:
    """Return what the run's main output says of its embeddings.

    That is the maps in a run of an area that has them, and else the vectors, or the maps of places.
    """
    run = opened.run
    try:
        if opened.pooled and (opened.places or not opened.grid):
            import pyarrow.parquet as pq

            with pq.ParquetFile(readable(run.path / vectors[0])) as file:
                about = parse_json(file.schema_arrow.metadata[FOOTER_KEY.encode()])
        else:
            store = run.place_store if opened.places else run.grid
            attributes = parse_json((store / "zarr.json").read_bytes())["attributes"]
            prefix = GEOEMB["name"]
            about = {
                name.removeprefix(prefix): value
                for name, value in attributes.items()
                if name.startswith(prefix)
            }
        if missing := _NEEDED - about.keys():
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"`{run.path}` does not say what its embeddings are ({type(error).__name__}: {error}). "
            f"`thor-geo validate {run.path}` says which file is damaged."
        ) from error
    return dict(about)
