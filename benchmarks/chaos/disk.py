"""Disks that are full, read-only or damaged, and two runs in one directory.

`python -m benchmarks.chaos.disk [--quick] [--only WORD]`
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos._common import (
    Finished,
    Workspace,
    differences,
    end_on_sigterm,
    markers,
    message,
    outputs,
    states,
    wrongly_served,
)
from benchmarks.chaos._small_disk import SmallDisk, pages
from benchmarks.report import Report, Row

_ENOUGH = 1 << 30
_CLAIM = (
    "When a disk is full, read-only or damaged, or two runs share a directory, nothing wrong is "
    "served, the message says what to do, and the same command ends in the bytes of the "
    "undisturbed run once the cause is mended; what was done stays done."
)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The undisturbed run.

    Attributes:
        run: Its directory.
        cache: Its cache.
        common: Bytes of its files that belong to no shard, the picture left out.
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
        """All its bytes, the picture left out."""
        return self.common + sum(sum(sizes) for sizes in self.shards)

    @property
    def cached(self) -> int:
        """Bytes of its cache."""
        return sum(pages(file.stat().st_size) for file in self.cache.rglob("*") if file.is_file())


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """What a scenario did, and how the command took it.

    Attributes:
        what: What was disturbed.
        ended: The command that met it.
        refused: Whether the command must end with an error: in the others it may mend by itself.
        names: What the message must name.
        damaged: Whether outputs are left damaged for the command, which was to find them.
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


def output_full_at_the_start(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    yield from _full_output(place, pages(2), "output full while the run is set up")


def output_full_at_a_shard(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    for number in (0, len(reference.shards) // 2, len(reference.shards) - 1):
        size = reference.before_marker(number) - reference.shards[number][0] // 2
        yield from _full_output(place, size, f"output full while shard {number + 1} is written")


def output_full_at_a_marker(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    for number in (1, len(reference.shards) // 2):
        size = reference.before_marker(number)
        yield from _full_output(place, size, f"output full while marker {number + 1} is written")


def output_full_at_the_picture(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    yield from _full_output(place, reference.size, "output full while the picture is drawn")


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


def output_read_only(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    yield from _read_only(place, place.run.parent, "output made read-only midway")


def cache_read_only(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
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
        outputs_ = json.loads(path.read_bytes())["outputs"]
        for name in outputs_:
            truncate(place.run / name)
        path.unlink()

    what = "shards half written when the power failed, no marker"
    yield _damaged_run(place, reference, what, "markers/*.json", tear)


def silent_damage(place: Workspace, reference: Reference) -> Iterator[Disturbed]:
    """A bit flips in a finished file: only `validate` looks at every byte."""
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
            ended=place.tool("validate"),
            names=path.relative_to(place.run).as_posix(),
            damaged=True,
            mend=lambda path=path, good=good: shutil.copyfile(good, path) and None,  # type: ignore
        )


# Two at once.


def _two(place: Workspace, what: str, wait: int, *second: str) -> Iterator[Disturbed]:
    place.clear()
    one = place.start()
    while one.running and len(markers(place.run)) < wait:
        time.sleep(0.02)
    two = place.start(*second)
    ends = [one.wait(), two.wait()]
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
    yield from _two(place, "another command midway", 3, "--data.mask=none")


SCENARIOS: list[Scenario] = [
    output_full_at_the_start,
    output_full_at_a_shard,
    output_full_at_a_marker,
    output_full_at_the_picture,
    cache_full,
    output_read_only,
    cache_read_only,
    damaged_cache,
    damaged_run,
    half_written_zarr_without_marker,
    silent_damage,
    two_runs,
]


def judge(place: Workspace, reference: Reference, case: Disturbed) -> tuple[Row, list[str]]:
    """Mend, run the same command again, and compare.

    Returns:
        The row, and what does not hold.
    """
    done, wrong = states(place.run), wrongly_served(place.run, reference.run)
    told = case.ended.said
    if case.damaged:  # a report of several lines: what it says of the damage
        told = "\n".join(line for line in told.splitlines() if case.names in line)
    said = message(told, hide=place.folder)
    case.mend()
    mended = place.finish()
    # Of damaged shards, made again, the marker is another.
    again = sum(states(place.run).get(name) != state for name, state in done.items())
    different = differences(place.run, reference.run)
    row = {
        "what": case.what,
        "exit": case.ended.code,
        "s": round(case.ended.seconds, 1),
        "shards done": len(done),
        "served wrong": len(wrong),
        "then": mended.code,
        "made again": again,
        "other bytes": len(different),
        "said": said if case.ended.code else "",
    }
    faults = []
    if case.refused and (case.ended.code <= 0 or case.names not in case.ended.said):
        faults.append(f"not told as it should be, exit code {case.ended.code}: {said}")
    if not case.refused and case.ended.code != 0:
        faults.append(f"it ends with {case.ended.code}: {said}")
    if "[with a traceback]" in said:
        faults.append(f"a traceback: {said}")
    if wrong and not case.damaged:
        faults.append(f"{len(wrong)} files that markers vouch for are wrong: {wrong[:3]}")
    if mended.code != 0:
        faults.append(f"mended, it ends with {mended.code}: {message(mended.said)}")
    if again:
        faults.append(f"{again} finished shards were made again")
    if different:
        faults.append(f"mended, {len(different)} files differ: {', '.join(different[:3])}")
    return row, [f"{case.what}: {fault}" for fault in faults]


@contextmanager
def workspace() -> Iterator[tuple[Workspace, Reference]]:
    """Give a workspace, and the undisturbed run in it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thor-geo-disk-")))
        place = Workspace(
            folder=folder, outputs_in=folder / "outputs", cache_in=folder / "composites"
        )
        for at in (place.run.parent, place.cache.parent):
            at.mkdir()
        done = place.finish()
        if done.code != 0:
            raise RuntimeError(f"The undisturbed run failed: {done.said}")
        cache = folder / "reference-cache"
        shutil.copytree(place.cache, cache)
        run = place.keep("reference")
        yield place, _measured(run, cache)


def _measured(run: Path, cache: Path) -> Reference:
    contents = [(json.loads(file.read_bytes()), file) for file in markers(run)]
    contents.sort(key=lambda pair: str(pair[0]["finished_at"]))
    shards = [
        (sum(pages(output["size"]) for output in marker["outputs"].values()),
         pages(file.stat().st_size))
        for marker, file in contents
    ]  # fmt: skip
    everything = sum(pages(file.stat().st_size) for file in run.rglob("*") if file.is_file())
    everything -= pages((run / "quicklook.png").stat().st_size)
    common = everything - sum(sum(sizes) for sizes in shards)
    return Reference(run=run, cache=cache, common=common, shards=shards)


def run(scenarios: list[Scenario], *, quick: bool) -> int:
    """Run the campaign.

    Args:
        scenarios: What to do.
        quick: Whether this is the short form.
    """
    report = Report(
        name="chaos_disk", claim=_CLAIM, command="python -m benchmarks.chaos.disk", quick=quick
    )
    with workspace() as (place, reference):
        if problem := SmallDisk.problem(place.folder / "probe"):
            report.faults.append(f"{problem}; run it as root on Linux")
            return report.finish()
        for scenario in scenarios:
            place.clear()
            for case in scenario(place, reference):
                row, faults = judge(place, reference, case)
                report.rows.append(row)
                report.faults.extend(faults)
                print(*(f"{key}={value}" for key, value in row.items() if value != ""))
                for fault in faults:
                    print(f"    {fault}", flush=True)
        report.figures = {
            "files compared": len(outputs(reference.run)),
            "shards": len(reference.shards),
        }
    return report.finish()


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four scenarios, nothing written")
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    options = parser.parse_args()
    end_on_sigterm()
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.__name__]
    if options.quick and not options.only:
        chosen = [output_full_at_a_marker, cache_full, damaged_run, output_read_only]
    return run(chosen, quick=options.quick or bool(options.only))


if __name__ == "__main__":
    sys.exit(main())
