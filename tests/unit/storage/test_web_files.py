"""If this fails, a run on a web server cannot be read, or its errors do not say what to do."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.support.web_files import web_files
from thor_geo import open_run
from thor_geo.datasets.embeddings import EmbeddingDataset
from thor_geo.errors import RunDirectoryError, StoreError
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run
from thor_geo.storage import StoreAddress, StorePath, files
from thor_geo.storage.files import files_below, names_in, readable


def path_of(url: str) -> StorePath:
    return StorePath(StoreAddress.parse(url))


def test_a_small_file_is_one_request_and_a_large_one_is_read_in_parts(
    written: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(written.path, Path)
    plan = pq.read_table(written.path / "plan.parquet")
    with web_files(written.path) as web:
        path = path_of(web.url) / "plan.parquet"
        assert pq.read_table(readable(path)).equals(plan)
        assert [asked[:2] for asked in web.asked] == [("GET", "/plan.parquet")]
        monkeypatch.setattr(files, "_READ_AHEAD", 500)
        assert pq.read_table(readable(path)).equals(plan)
        assert len(web.asked) > 5


def test_a_run_is_read_without_a_listing(written: RunDirectory) -> None:
    assert isinstance(written.path, Path)
    here = open_run(written.path)
    with web_files(written.path) as web:
        there = open_run(web.url)
        np.testing.assert_array_equal(there.X, here.X)
        assert there.table.equals(here.table)
        np.testing.assert_array_equal(there.grid("utm32n"), here.grid("utm32n"))
        web.forget()
        assert repr(there).replace(web.url, str(written.path)) == repr(here)
        assert {path for _, path, _ in web.asked} == {"/run.json", "/overview.parquet"}
        html = there._repr_html_().replace(web.url, str(written.path))
        assert html == here._repr_html_()
        assert {asked[0] for asked in web.asked} == {"GET", "HEAD"}
        with pytest.raises(StoreError, match=r"cannot be listed: web servers do not.*bucket"):
            list(names_in(path_of(web.url)))
        with pytest.raises(StoreError, match=r"cannot be listed"):
            files_below(path_of(web.url) / "markers")


def test_an_address_without_a_run_is_named(tmp_path: Path) -> None:
    with (
        web_files(tmp_path) as web,
        pytest.raises(RunDirectoryError, match=r"there is no run.json at that address"),
    ):
        open_run(f"{web.url}/oslo")


def test_a_server_that_ignores_ranges_is_named(written: RunDirectory) -> None:
    assert isinstance(written.path, Path)
    with web_files(written.path, ranges=False) as web:
        with pytest.raises(StoreError, match=r"plan.parquet.*ignores the Range header.*nginx"):
            open_run(web.url)
        with pytest.raises(StoreError, match=r"ignores the Range header"):
            (path_of(web.url) / "run.json").read_range(2, 5)


def _read_forked(dataset: EmbeddingDataset, say: Connection) -> None:
    try:
        _ = dataset[dataset.bounds]
    except StoreError as error:
        say.send(str(error))
    else:
        say.send("it was read")


def test_maps_that_were_opened_before_a_fork_are_refused_in_the_child(
    written: RunDirectory,
) -> None:
    """A worker of a DataLoader would wait for its first request until it is killed."""
    assert isinstance(written.path, Path)
    fork: Any = multiprocessing.get_context("fork")
    with web_files(written.path) as web:
        dataset = EmbeddingDataset(read_run(web.url), zone=32632)
        assert dataset[dataset.bounds]["embedded"].any()
        hear, say = fork.Pipe(duplex=False)
        child = fork.Process(target=_read_forked, args=(dataset, say), daemon=True)
        child.start()
        try:
            assert hear.poll(60), "the child hangs"
            assert "forked" in (answer := hear.recv()), answer
            assert "spawn" in answer
        finally:
            child.kill()
            child.join()
