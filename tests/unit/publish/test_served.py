"""If one of these fails, browsers or libraries cannot read a published run, and nobody knows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.file_server import FileServer, serve_folder
from thor_geo.publish import Published, Terms, check_served, publish_run
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run


@pytest.fixture
def published(run: RunDirectory) -> Published:
    """Publish a run."""
    return publish_run(read_run(run.path), Terms())


@pytest.fixture
def server(run: RunDirectory, published: Published) -> Iterator[FileServer]:
    """Serve it as readers need it."""
    with serve_folder(Path(str(run.path))) as one:
        yield one


def test_a_good_address_has_no_fault_and_little_is_read(
    server: FileServer, published: Published
) -> None:
    assert check_served(server.url, published) == []
    asked = {path for _, path, _ in server.asked}
    whole = {path for method, path, range_ in server.asked if method == "GET" and range_ is None}
    assert {"run.json", "collection.json", "index.html", "quicklook.png"} <= whole
    assert not any(path.startswith(("pooled/", "grid.zarr/")) for path in whole)
    assert any(path.startswith("grid.zarr/") for path in asked)
    assert any(path.startswith("pooled/") for path in asked)
    assert any(method == "OPTIONS" for method, _, _ in server.asked)


def no_cors(server: FileServer) -> None:
    server.origin = None


def other_origin(server: FileServer) -> None:
    server.origin = "https://mine.example.org"


def hidden(server: FileServer) -> None:
    server.exposed = ""


def no_preflight(server: FileServer) -> None:
    server.preflight = False


def no_ranges(server: FileServer) -> None:
    server.ranges = False


def compressed(server: FileServer) -> None:
    server.compressed = True


def untyped(server: FileServer) -> None:
    server.typed = False


@pytest.mark.parametrize(
    ("spoil", "file", "problem", "remedy"),
    [
        (no_cors, "run.json", "no Access-Control-Allow-Origin", "Access-Control-Allow-Origin: *"),
        (other_origin, "run.json", "is https://mine.example.org", "Access-Control-Allow-Origin: *"),
        (hidden, "plan.parquet", "do not see Content-Range", "ExposeHeaders"),
        (no_preflight, "plan.parquet", "answer to OPTIONS is 405", "AllowedHeaders"),
        (no_ranges, "plan.parquet", "ignores `Range: bytes=0-3`", "http.server"),
        (compressed, "plan.parquet", "Content-Encoding: gzip", "Turn compression off"),
        (untyped, "index.html", "application/octet-stream, not text/html", "types of .json"),
    ],
)
def test_each_fault_is_found_with_its_remedy(
    server: FileServer,
    published: Published,
    spoil: Callable[[FileServer], None],
    file: str,
    problem: str,
    remedy: str,
) -> None:
    spoil(server)
    faults = check_served(server.url, published)
    found = [fault for fault in faults if fault.file == file and problem in fault.problem]
    assert len(found) == 1, faults
    assert remedy in found[0].remedy
    # Nothing else is wrong, and each remedy is one thing to do.
    assert len({fault.remedy for fault in faults}) == 1


def test_what_is_not_there_is_named(
    run: RunDirectory, server: FileServer, published: Published
) -> None:
    (Path(str(run.path)) / "collection.json").unlink()
    shutil.rmtree(Path(str(run.path)) / "grid.zarr")
    faults = check_served(server.url, published)
    assert {fault.file.partition("/")[0] for fault in faults} == {"collection.json", "grid.zarr"}
    assert all("404" in fault.problem for fault in faults)


def test_an_older_copy_is_noticed(
    run: RunDirectory, server: FileServer, published: Published
) -> None:
    (Path(str(run.path)) / "index.html").write_text("another")
    vectors = Path(str(run.path)) / published.facts.vectors[0]
    vectors.write_bytes(b"PAR1 another PAR1")
    problems = {fault.file: fault.problem for fault in check_served(server.url, published)}
    assert problems.keys() == {"index.html", published.facts.vectors[0]}
    assert "another file" in problems["index.html"]
    assert "17 bytes there" in problems[published.facts.vectors[0]]


def test_a_server_that_is_not_there_is_one_fault(run: RunDirectory, published: Published) -> None:
    with serve_folder(Path(str(run.path))) as gone:
        url = gone.url
    (fault,) = check_served(url, published)
    assert "does not answer" in fault.problem


def test_a_whole_file_in_place_of_a_range_is_not_read(
    run: RunDirectory, server: FileServer, published: Published
) -> None:
    server.ranges = False
    large = 64 << 20
    (Path(str(run.path)) / published.facts.vectors[0]).write_bytes(bytes(large))
    faults = check_served(server.url, published)
    assert any("sends the whole file" in fault.problem for fault in faults)
    assert server.sent < large
