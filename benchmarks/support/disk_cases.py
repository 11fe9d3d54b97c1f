"""What happens in `chaos.disk`: disks fill, turn read-only or lose bits, or two runs meet."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.runs import Finished, Workspace, markers
from benchmarks.support.small_disk import SmallDisk, pages

_ENOUGH = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The undisturbed run.

    Attributes:
        run: Its directory.
        cache: Its cache.
        common: Bytes of its files that belong to no shard, without the picture.
        shards: Bytes of each shard's outputs and of its marker, in the order they were written.
    """

    run: Path
    cache: Path
    common: int
    shards: list[tuple[int, int]]

    def before_marker(self, number: int) -> int:
        """Return the bytes in use when the marker of shard *number* (from 0) is to be written."""
        done = sum(sum(sizes) for sizes in self.shards[:number])
        return self.common + done + self.shards[number][0]

    @property
    def size(self) -> int:
        """All its bytes, without the picture."""
        return self.common + sum(sum(sizes) for sizes in self.shards)

    @property
    def cached(self) -> int:
        """Bytes of its cache."""
        return sum(pages(file.stat().st_size) for file in self.cache.rglob("*") if file.is_file())


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """What a scenario disturbed, and how the command ended.

    Attributes:
        what: What was disturbed.
        ended: The command that met it.
        refused: Whether the command must end with an error; otherwise it must mend it by itself.
        names: What the message must name.
        damaged: Whether damaged outputs remain, which the command was to report.
        mend: Removes the cause.
    """

    what: str
    ended: Finished
    refused: bool = True
    names: str = "thor-geo: "
    damaged: bool = False
    mend: Callable[[], None] = lambda: None


Scenario = Callable[[Workspace, Reference], Iterator[Disturbed]]


# Full disks.


def _full_output(place: Workspace, size: int, what: str) -> Iterator[Disturbed]:
    with SmallDisk(place.run.parent, size) as disk:
        ended = place.finish()
        unmarked = {file.stem for file in (place.run / "pooled").glob("*.parquet")} - {
            file.stem for file in markers(place.run)
        }
        yield Disturbed(
            what=f"{what}; {len(unmarked)} outputs without a marker",
            ended=ended,
            mend=lambda: disk.grow(_ENOUGH),
        )


def output_full(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    yield from _full_output(place, pages(2), "output full while the run is set up")
    last = len(reference.shards) - 1
    for number in (0, last // 2 + 1, last):
        size = reference.before_marker(number) - reference.shards[number][0] // 2
        yield from _full_output(place, size, f"output full while shard {number + 1} is written")
    yield from _full_output(place, reference.size, "output full while the picture is drawn")


def marker_full(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    for number in (1, len(reference.shards) // 2):
        size = reference.before_marker(number)
        yield from _full_output(place, size, f"output full while marker {number + 1} is written")


def cache_full(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    for share in (0.0, 0.3, 0.7):
        place.clear()
        with SmallDisk(place.cache.parent, max(pages(1), int(share * reference.cached))) as disk:
            yield Disturbed(
                what=f"cache full at {share:.0%} of what it needs",
                ended=place.finish(),
                mend=lambda disk=disk: disk.grow(_ENOUGH),  # type: ignore[misc]
            )


# Read-only disks.


def _read_only(place: Workspace, folder: Path, what: str) -> Iterator[Disturbed]:
    with SmallDisk(folder, _ENOUGH) as disk:
        started = place.start()
        while started.running and len(markers(place.run)) < 3:
            time.sleep(0.02)
        disk.set_read_only()
        yield Disturbed(what=what, ended=started.wait(), mend=disk.set_writable)


def read_only(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    yield from _read_only(place, place.run.parent, "output made read-only midway")
    place.clear()
    yield from _read_only(place, place.cache.parent, "cache made read-only midway")


# Damage.


def flip(path: Path, share: float = 0.5) -> None:
    """Flip a bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path, share: float = 0.5) -> None:
    """Cut a file off."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def _some(folder: Path, pattern: str, number: int = 3) -> list[Path]:
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    return files[:: max(1, len(files) // number)][:number]


def damaged_cache(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    cases: list[tuple[str, str, Callable[[Path], None]]] = [
        ("a bit flipped in cached blocks", "blocks/*/*.tif", flip),
        ("cached blocks cut off", "blocks/*/*.tif", truncate),
        ("a bit flipped in blocks' sidecars", "blocks/*/*.json", flip),
        ("a bit flipped in lists of scenes", "scenes/*/*.json", flip),
    ]
    for what, pattern, damage in cases:
        shutil.rmtree(place.run, ignore_errors=True)
        shutil.copytree(reference.cache, place.cache, dirs_exist_ok=True)
        for path in _some(place.cache, pattern):
            damage(path)
        yield Disturbed(what=what, ended=place.finish(), refused=False)


def _damaged_run(
    place: Workspace,
    reference: Reference,
    what: str,
    pattern: str,
    damage: Callable[[Path], None],
    *,
    refused: bool = False,
) -> Disturbed:
    shutil.rmtree(place.run, ignore_errors=True)
    shutil.copytree(reference.run, place.run)
    shutil.copytree(reference.cache, place.cache, dirs_exist_ok=True)
    damaged = _some(place.run, pattern)
    for path in damaged:
        damage(path)

    def restore() -> None:
        for path in damaged:
            shutil.copyfile(reference.run / path.relative_to(place.run), path)

    return Disturbed(
        what=what, ended=place.finish(), refused=refused, mend=restore if refused else lambda: None
    )


def damaged_run(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    yield _damaged_run(place, reference, "pooled files cut off", "pooled/*.parquet", truncate)
    zarr = "grid.zarr/utm*/embeddings/c/*/*/*"
    yield _damaged_run(place, reference, "Zarr shards half written", zarr, truncate)
    yield _damaged_run(place, reference, "Zarr shards lost", zarr, Path.unlink)
    yield _damaged_run(place, reference, "markers cut off", "markers/*.json", truncate)
    yield _damaged_run(place, reference, "run.json cut off", "run.json", truncate, refused=True)
    yield _damaged_run(
        place, reference, "Zarr metadata cut off", "grid.zarr/utm*/embeddings/zarr.json", truncate,
        refused=True,
    )  # fmt: skip


def half_written_zarr_without_marker(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    def tear(path: Path) -> None:
        for name in json.loads(path.read_bytes())["outputs"]:
            truncate(place.run / name)
        path.unlink()

    what = "shards half written when the power failed, no marker"
    yield _damaged_run(place, reference, what, "markers/*.json", tear)


def silent_damage(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    """Flip a bit of a finished file: only `validate` looks at every byte."""
    for name, pattern in (
        ("a pooled file", "pooled/*.parquet"),
        ("a Zarr shard", "grid.zarr/utm*/embeddings/c/*/*/*"),
        ("plan.parquet", "plan.parquet"),
    ):
        place.clear()
        shutil.copytree(reference.run, place.run)
        path = _some(place.run, pattern, 1)[0]
        flip(path)
        good = reference.run / path.relative_to(place.run)
        yield Disturbed(
            what=f"validate after a bit flipped in {name}",
            ended=place.validate(),
            names=path.relative_to(place.run).as_posix(),
            damaged=True,
            mend=lambda path=path, good=good: shutil.copyfile(good, path) and None,  # type: ignore
        )


# Two at once.


def _two(place: Workspace, what: str, wait: int, *second: str) -> Iterator[Disturbed]:
    place.clear()
    first = place.start()
    while first.running and len(markers(place.run)) < wait:
        time.sleep(0.02)
    other = place.start(*second)
    ends = [first.wait(), other.wait()]
    refused = [end for end in ends if end.code != 0]
    yield Disturbed(
        what=f"{what}: exit codes {ends[0].code} and {ends[1].code}",
        ended=refused[0] if refused else ends[1],
        # The second may wait for the first and find nothing to do; one of them must do the work.
        refused=bool(second) or len(refused) == 1,
    )


def two_runs(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    yield from _two(place, "the same command twice at one moment", 0)
    yield from _two(place, "the same command again midway", 3)
    yield from _two(place, "another command midway", 3, "--data.sentinel2.mask=none")


SCENARIOS: list[Scenario] = [
    output_full,
    marker_full,
    cache_full,
    read_only,
    damaged_cache,
    damaged_run,
    half_written_zarr_without_marker,
    silent_damage,
    two_runs,
]
SHORT = (marker_full, cache_full, read_only, damaged_run)
