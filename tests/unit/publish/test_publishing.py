"""If one of these fails, broken runs are given away, or what people have cited changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.support.object_store import ObjectStore
from tests.support.synthetic_run import write_run
from thor_geo.checks.validate import check_run
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.publish import Terms, publish_run
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run

TERMS = Terms(licence="CC0-1.0")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_run_and_options_give_the_same_bytes(run: RunDirectory) -> None:
    opened = read_run(run.path)
    before = contents(Path(str(run.path)))
    first = publish_run(opened, TERMS)
    written = contents(Path(str(run.path)))
    assert set(written) - set(before) == set(first.contents) == set(first.changed)
    assert before.items() <= written.items()
    times = {name: (run.path / name).stat().st_mtime_ns for name in first.contents}  # type: ignore[union-attr]
    again = publish_run(read_run(run.path), TERMS)
    assert again.changed == ()
    assert contents(Path(str(run.path))) == written
    assert times == {
        name: (run.path / name).stat().st_mtime_ns  # type: ignore[union-attr]
        for name in first.contents
    }


def test_other_terms_replace_what_was_published_only_when_asked(run: RunDirectory) -> None:
    opened = read_run(run.path)
    publish_run(opened, TERMS)
    other = dataclasses.replace(TERMS, title="Another")
    with pytest.raises(ConfigError, match=r"index\.html, collection\.json are there.*--overwrite"):
        publish_run(opened, other)
    assert b"Another" not in (run.path / "collection.json").read_bytes()
    changed = publish_run(opened, other, overwrite=True).changed
    assert set(changed) == {"index.html", "collection.json"}
    assert b"Another" in (run.path / "collection.json").read_bytes()


def test_validate_takes_published_files_for_part_of_the_run(run: RunDirectory) -> None:
    publish_run(read_run(run.path), TERMS)
    findings = check_run(read_run(run.path), workers=1)
    assert (findings.faults, findings.exit_code) == ([], 0)


def test_an_unfinished_run_is_refused(tmp_path: Path, plan: Plan) -> None:
    write_run(tmp_path / "run", plan, only=1)
    with pytest.raises(RunDirectoryError, match=r"are not done.*thor-geo validate"):
        publish_run(read_run(tmp_path / "run"), TERMS)
    assert not (tmp_path / "run" / "collection.json").exists()


@pytest.mark.parametrize("folder", ["pooled", "grid.zarr"])
def test_a_run_with_half_a_file_is_refused(run: RunDirectory, plan: Plan, folder: str) -> None:
    marker = read_run(run.path).marker(plan.shards[0])
    assert marker is not None
    name = next(name for name in marker.outputs if name.startswith(folder))
    path = Path(str(run.path)) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunDirectoryError, match=f"1 of .*{plan.shards[0].id}"):
        publish_run(read_run(run.path), TERMS)


def test_damaged_metadata_of_maps_is_named(run: RunDirectory) -> None:
    (Path(str(run.path)) / "grid.zarr" / "utm33n" / "embeddings" / "zarr.json").write_text("{")
    with pytest.raises(RunDirectoryError, match=r"utm33n.*cannot be read.*thor-geo validate"):
        publish_run(read_run(run.path), TERMS)


def test_a_run_without_any_embedding_is_refused(tmp_path: Path, plan: Plan) -> None:
    write_run(tmp_path / "run", plan, empty=tuple(range(len(plan))))
    with pytest.raises(RunDirectoryError, match="has no embedding"):
        publish_run(read_run(tmp_path / "run"), TERMS)


def test_failed_tiles_are_counted_and_left_out_of_the_footprint(tmp_path: Path, plan: Plan) -> None:
    write_run(tmp_path / "run", plan, failed={1: "no such block"}, empty=(2,))
    published = publish_run(read_run(tmp_path / "run"), TERMS)
    assert published.facts.failed == 1
    said = published.contents["collection.json"].decode()
    assert "2 of 16 have none (1 without a scene, 1 failed)" in said


def test_a_run_in_a_bucket_gets_the_same_files_with_their_types(
    run: RunDirectory, bucket: ObjectStore
) -> None:
    folder = Path(str(run.path))
    for name, content in contents(folder).items():
        (bucket.path("oslo") / name).put(content)
    opened = read_run(bucket.path("oslo"))
    there = publish_run(opened, TERMS)
    here = publish_run(read_run(folder), TERMS)
    assert there.contents == here.contents
    assert bucket.contents("oslo") == contents(folder)
    assert publish_run(opened, TERMS).changed == ()
    for name, kind in (
        ("index.html", "text/html"),
        ("collection.json", "application/json"),
        ("quicklook.png", "image/png"),
        ("plan.parquet", "application/vnd.apache.parquet"),
    ):
        told = bucket.client.head_object(Bucket=bucket.bucket, Key=f"oslo/{name}")["ContentType"]
        assert told.partition(";")[0] == kind


@pytest.mark.parametrize(
    ("terms", "match"),
    [
        ({"licence": "free"}, "not one identifier of the SPDX list.*CC-BY-4.0"),
        ({"licence": "MIT OR Apache-2.0"}, "not one identifier"),
        ({"licence": "LicenseRef-mine"}, "not one identifier"),
        ({"title": " "}, "--title.*empty"),
        ({"url": "s3://bucket/oslo"}, "--url.*https://"),
        ({"url": "https://me:secret@example.org/x"}, r"\*\*\*@example.org.*credentials"),
        ({"url": "example.org"}, "--url"),
    ],
)
def test_terms_that_nobody_could_use_are_refused(terms: dict[str, str], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as refused:
        Terms(**terms)
    assert "secret" not in str(refused.value)


def test_licences_get_the_spelling_of_the_list() -> None:
    assert Terms(licence="cc-by-4.0").licence == "CC-BY-4.0"
    assert Terms(url="https://example.org/x/").url == "https://example.org/x"
