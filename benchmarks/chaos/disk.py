"""Disks that are full, read-only or damaged, and two runs in one directory.

Claim (docs/performance.md, "Robustness"): nothing wrong is served, the message names the remedy,
and the same command ends in the bytes of the undisturbed run once the cause is mended.

    python -m benchmarks.chaos.disk              # 22 minutes; needs the right to mount (root)
    python -m benchmarks.chaos.disk --quick      # four scenarios: 7 minutes
    python -m benchmarks.chaos.disk --only cache # scenarios with this word; writes nothing
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.support.disk_cases import SCENARIOS, SHORT, Disturbed, Reference
from benchmarks.support.report import Report, Row, parser
from benchmarks.support.runs import (
    Workspace,
    differences,
    end_on_sigterm,
    markers,
    message,
    outputs,
    states,
    wrongly_served,
)
from benchmarks.support.small_disk import SmallDisk, pages

_CLAIM = (
    "When a disk is full, read-only or damaged, or two runs share a directory, nothing wrong is "
    "served, the message says what to do, and the same command ends in the bytes of the "
    "undisturbed run once the cause is mended; what was done stays done."
)


def judge(place: Workspace, reference: Reference, case: Disturbed) -> tuple[Row, list[str]]:
    """Mend, run the same command again, and compare.

    Returns:
        The row, and what does not hold.
    """
    done, wrong = states(place.run), wrongly_served(place.run, reference.run)
    output = case.ended.output
    if case.damaged:  # a report of several lines: those about the damage
        output = "\n".join(line for line in output.splitlines() if case.names in line)
    text = message(output, hide=place.folder)
    case.mend()
    mended = place.finish()
    # Damaged shards were made again, and have another marker.
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
        "said": text if case.ended.code else "",
    }
    faults = []
    if case.refused and (case.ended.code <= 0 or case.names not in case.ended.output):
        faults.append(f"the message is not what it should be, exit code {case.ended.code}: {text}")
    if not case.refused and case.ended.code != 0:
        faults.append(f"it ends with {case.ended.code}: {text}")
    if "[with a traceback]" in text:
        faults.append(f"a traceback: {text}")
    if wrong and not case.damaged:
        faults.append(f"{len(wrong)} files that markers vouch for are wrong: {wrong[:3]}")
    if mended.code != 0:
        faults.append(f"mended, it ends with {mended.code}: {message(mended.output)}")
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
            folder=folder,
            # Otherwise all blocks are in the cache before a disk is made read-only midway.
            settings={"data.ahead": 2},
            outputs_in=folder / "outputs",
            cache_in=folder / "composites",
        )
        for parent in (place.run.parent, place.cache.parent):
            parent.mkdir()
        done = place.finish()
        if done.code != 0:
            raise RuntimeError(f"The undisturbed run failed: {done.output}")
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


def main() -> int:
    """Run the campaign; return the exit code."""
    arguments = parser(__doc__, "four scenarios")
    arguments.add_argument("--only", default="", help="scenarios with this in their name")
    options = arguments.parse_args()
    end_on_sigterm()
    scenarios = SHORT if options.quick and not options.only else SCENARIOS
    report = Report(name="chaos_disk", claim=_CLAIM, quick=options.quick or bool(options.only))
    with workspace() as (place, reference):
        if problem := SmallDisk.problem(place.folder / "probe"):
            report.faults.append(f"{problem}; run it as root on Linux")
            return report.finish()
        for scenario in scenarios:
            if options.only not in scenario.__name__:
                continue
            place.clear()
            for case in scenario(place, reference):
                report.add(*judge(place, reference, case))
        report.figures = {
            "files compared": len(outputs(reference.run)),
            "shards": len(reference.shards),
        }
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
