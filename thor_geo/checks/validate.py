"""``thor-geo validate``: every file of a run against markers, schemas and the plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from thor_geo.checks._checking import check_shards, common_dimension, common_fields
from thor_geo.checks._indexes import check_indexes
from thor_geo.checks._maps import MapsExpected, open_maps
from thor_geo.checks._marked import Checked, Expected
from thor_geo.checks._overview import check_overview
from thor_geo.checks._place_maps import PlaceMapsExpected, open_place_maps
from thor_geo.checks._planned import check_plan_file
from thor_geo.checks._rows import RowsExpected
from thor_geo.checks._strays import Temporaries, find_strays, remove_temporaries
from thor_geo.checks._table import check_kept, check_skipped
from thor_geo.checks.faults import Fault
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures.colours import load_colours
from thor_geo.runs.fingerprint import compute_fingerprint
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.vectors import CENTRE
from thor_geo.support.progress import Progress

#: Exit codes: a fault; nothing but failed tiles.
EXIT_FAULT, EXIT_FAILED = 1, 3


@dataclass(kw_only=True)
class Findings:
    """The results of a validation.

    Attributes:
        shards: Shards of the plan.
        tiles: Tiles of the plan; with a list of time windows a tile counts once for each.
        checked: Counts and seams of the shards.
        faults: Everything that is wrong, in plan order.
        temporaries: Temporary files of running or killed jobs, which are not faults.
        outdated: Indexes that were made of other vectors than the run has now, which are not
            faults.
        overview_outdated: Whether the overview was made of other vectors than the run has now,
            which is no fault.
        table: Rows of the table of places, and how many of them were skipped; None for an area.
    """

    shards: int
    tiles: int
    checked: Checked = field(default_factory=Checked)
    faults: list[Fault] = field(default_factory=list)
    temporaries: Temporaries = field(default_factory=Temporaries)
    outdated: list[str] = field(default_factory=list)
    overview_outdated: bool = False
    table: tuple[int, int] | None = None

    @property
    def exit_code(self) -> int:
        """0 without faults, 3 if all are failed tiles, else 1."""
        if not self.faults:
            return 0
        return EXIT_FAILED if {fault.kind for fault in self.faults} == {"failed"} else EXIT_FAULT


def check_run(opened: OpenedRun, *, workers: int = 1, progress: bool = False) -> Findings:
    """Check every file of a run; nothing is written.

    Args:
        opened: The run.
        workers: Processes.
        progress: Whether to show progress on standard error.

    Raises:
        ThorGeoError: If a process dies.
    """
    findings = Findings(
        shards=len(opened.plan.shards),
        tiles=len(opened.plan) * len(opened.windows),
        table=opened.table,
    )
    settings, digest = opened.document["settings"], opened.plan.digest
    if compute_fingerprint(settings, digest) != opened.fingerprint:
        reason = "its fingerprint does not match its settings and plan: it was edited"
        findings.faults.append(Fault(kind="run", file="run.json", reason=reason))
    findings.faults += check_plan_file(opened.run.plan_parquet, opened.plan, progress=progress)
    if opened.run.colours.exists():
        try:
            load_colours(opened.run)
        except RunDirectoryError as error:
            name = opened.run.colours.name
            findings.faults.append(Fault(kind="run", file=name, reason=str(error)))
    expected, faults = expected_shards(opened)
    findings.faults += faults
    with Progress(findings.tiles, label="checking", shown=progress) as bar:
        for checked, tiles in check_shards(opened, expected, workers):
            findings.checked.add(checked)
            bar.advance(tiles * len(opened.windows))
    findings.faults += findings.checked.faults
    faults, findings.overview_outdated = check_overview(opened, findings.checked)
    findings.faults += faults
    fields = None if expected.rows is None else expected.rows.places
    if fields is not None and isinstance(opened.plan, PlacePlan):
        findings.faults += check_skipped(opened, opened.plan, fields)
        # Rows of shards that are not done, or are damaged, are missing or wrong.
        if {fault.kind for fault in findings.faults} <= {"failed"}:
            findings.faults += check_kept(opened)
    findings.faults += sorted(
        find_strays(opened, expected.maps, findings.temporaries), key=lambda fault: fault.file
    )
    findings.faults += check_indexes(opened, findings.outdated, findings.temporaries)
    return findings


def clean_run(opened: OpenedRun, findings: Findings) -> int:
    """Remove what killed jobs left behind, if it is older than an hour; return the number of files.

    Nothing is removed from a folder whose run a job holds.

    Args:
        opened: The run.
        findings: From `check_run`; what is removed is left out of them.

    Raises:
        OSError: If a file cannot be removed.
        StoreError: If a store refuses to remove one.
    """
    removed = set(remove_temporaries(opened, findings.temporaries))
    paths = findings.temporaries.paths
    paths[:] = [path for path in paths if path not in removed]
    return len(removed)


def expected_shards(opened: OpenedRun) -> tuple[Expected, list[Fault]]:
    """Return what all shards have in common, and the faults of the Zarr store's metadata.

    Args:
        opened: The run.
    """
    rows: RowsExpected | None = None
    maps: MapsExpected | PlaceMapsExpected | None = None
    faults: list[Fault] = []
    if opened.pooled:
        rows = RowsExpected(
            fingerprint=opened.fingerprint,
            dimension=common_dimension(opened),
            dtype=opened.dtype,
            windows=opened.windows,
            places=common_fields(opened) if opened.places else None,
            centre=common_dimension(opened, CENTRE) if opened.centre else None,
        )
    if opened.grid and isinstance(opened.plan, PlacePlan):
        maps, faults = open_place_maps(
            opened.run.place_store, opened.plan, opened.dtype, opened.fingerprint
        )
    elif opened.grid:
        maps, faults = open_maps(
            opened.run.grid,
            opened.plan,
            opened.dtype,
            opened.fingerprint,
            cropped=opened.crop,
            windows=opened.windows,
        )
    expected = Expected(
        path=opened.run.path,
        fingerprint=opened.fingerprint,
        rows=rows,
        windows=opened.windows,
        grid=opened.grid,
        maps=maps,
    )
    return expected, faults
