"""How much the embeddings of a table's places differ between two runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures.caption import SEPARATOR, run_caption
from thor_geo.pictures.marks import Marks
from thor_geo.pictures.place_map import PlaceGround
from thor_geo.pictures.place_sheet import draw_place_values
from thor_geo.pictures.sheet import save_png
from thor_geo.results.changes import cosine_distance
from thor_geo.results.place_table import place_frame, place_lines
from thor_geo.results.similar_places import embedded_rows
from thor_geo.results.tables import write_table
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import PlaceRows, id_column
from thor_geo.runs.target import atomic_target, check_target
from thor_geo.support.arrays import Float32Array, Int64Array

if TYPE_CHECKING:
    import geopandas
    from matplotlib.figure import Figure

# The colours end at this percentile of all changes: a single place must not darken the rest.
_PERCENTILE = 99.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceChange:
    """Places that have an embedding of the same ground in two runs, the most changed first.

    Attributes:
        before: The run that is compared to.
        after: The other.
        index: Indices in the plan of *after*, (n,).
        before_index: Indices in the plan of *before*, (n,).
        distance: Cosine distance, (n,) float32.
        rows: Rows of *after*.
        positions: Positions of the places in *rows*, (n,).
        moved: Places of both runs that are left out because their chips are not the same.
        matched_by: What places were matched by, in words.
    """

    before: OpenedRun
    after: OpenedRun
    index: Int64Array
    before_index: Int64Array
    distance: Float32Array
    rows: PlaceRows
    positions: Int64Array
    moved: int
    matched_by: str

    @classmethod
    def between(cls, before: OpenedRun, after: OpenedRun) -> PlaceChange:
        """Compare the places of two runs that `check_comparable` passes.

        Places are matched by their ids, if both tables have a column of ids with the same name, and
        otherwise by their rows in one and the same table. Their chips must be the same.

        Args:
            before: The run to compare to.
            after: The other.

        Raises:
            RunDirectoryError: If only one is a run of places, the places cannot be matched or have
                nothing in common, or a file cannot be read.
        """
        plans = before.plan, after.plan
        if not (isinstance(plans[0], PlacePlan) and isinstance(plans[1], PlacePlan)):
            raise RunDirectoryError(
                f"`{before.run.path}` and `{after.run.path}` cannot be compared: one is a run of "
                "places, the other of an area. Compare two runs of one kind."
            )
        earlier, later = embedded_rows(before, "chips"), embedded_rows(after, "chips")
        keys, matched_by = _keys(before, after, earlier, later)
        number = {key: k for k, key in enumerate(keys[0])}
        pairs = np.array(
            [(number[key], k) for k, key in enumerate(keys[1]) if key in number], dtype=np.int64
        ).reshape(-1, 2)
        ours, theirs = later[1][pairs[:, 1]], earlier[1][pairs[:, 0]]
        index, before_index = later[0].index[ours], earlier[0].index[theirs]
        same = np.ones(len(pairs), dtype=np.bool_)
        for a, b in zip(_chips(plans[0]), _chips(plans[1]), strict=True):
            same &= a[before_index] == b[index]
        if not same.any():
            why = (
                f"none of the {len(pairs):,} places that both have lies in the same chip"
                if len(pairs)
                else f"they have no place with an embedding in common (by {matched_by})"
            )
            raise RunDirectoryError(
                f"`{before.run.path}` and `{after.run.path}` cannot be compared: {why}. Compare "
                "runs of one table with other windows, or of tables with the same places."
            )
        assert later[0].vectors is not None
        assert earlier[0].vectors is not None
        distance = cosine_distance(later[0].vectors[ours[same]], earlier[0].vectors[theirs[same]])
        order = np.argsort(-distance, kind="stable")
        return cls(
            before=before,
            after=after,
            index=index[same][order],
            before_index=before_index[same][order],
            distance=distance[order],
            rows=later[0],
            positions=ours[same][order],
            moved=int((~same).sum()),
            matched_by=matched_by,
        )

    @property
    def plan(self) -> PlacePlan:
        """The plan of the later run."""
        plan = self.after.plan
        assert isinstance(plan, PlacePlan)
        return plan

    def write(
        self, folder: Path, most: int, report: Callable[[str], None], *, overwrite: bool
    ) -> list[Path]:
        """Write ``change.parquet`` and ``change.png``.

        Args:
            folder: Where they go.
            most: How many of the most changed places to list, and to mark in the picture.
            report: Takes the summary as text.
            overwrite: Whether earlier files may be replaced.

        Returns:
            The files.

        Raises:
            ConfigError: If a file exists already.
            RunDirectoryError: If a file cannot be written.
        """
        run, table, picture = self.after.run, folder / "change.parquet", folder / "change.png"
        for path in (table, picture):
            for each in (self.before, self.after):
                check_target(each.run, path, folder=False, overwrite=overwrite)
        report(self._summary(most))
        write_table(run, table, self._table(), overwrite=overwrite)
        figure = self._figure(most)
        with atomic_target(run, picture, folder=False, overwrite=overwrite) as temporary:
            save_png(figure, temporary)
        return [table, picture]

    def _summary(self, most: int) -> str:
        median, ninth, largest = np.quantile(self.distance, (0.5, 0.9, 1)).tolist()
        lines = [
            f"{len(self.index):,} places have an embedding in both {self.before.run.path} and "
            f"{self.after.run.path}, by {self.matched_by}",
            f"  cosine distance: median {median:.5f}, 90 % below {ninth:.5f}, largest "
            f"{largest:.5f}",
        ]
        if self.moved:
            lines.append(f"  left out: {self.moved:,} whose chips are not the same in both")
        few = slice(0, most)
        columns = self.rows.columns.take(self.positions[few])
        values = self.distance[few]
        if most:
            lines += ["", *place_lines(self.plan, self.index[few], columns, values, "change")]
        return "\n".join(lines)

    def _table(self) -> geopandas.GeoDataFrame:
        earlier = self.before.plan
        assert isinstance(earlier, PlacePlan)
        windows = [earlier.window_of(k) for k in self.before_index.tolist()]
        return place_frame(
            self.plan,
            self.index,
            self.rows.columns.take(self.positions),
            {
                "rank": np.arange(1, len(self.index) + 1),
                "change": self.distance,
                "datetime_start_before": np.array([window.start for window in windows]),
                "datetime_end_before": np.array([window.end for window in windows]),
            },
        )

    def _figure(self, most: int) -> Figure:
        plan, caption = self.plan, run_caption(self.after.run, self.after.plan)
        side = plan.lattices[0].tile_size * plan.lattices[0].resolution
        lon, lat = plan.lon[self.index], plan.lat[self.index]
        ground = PlaceGround.around(lon, lat, least_m=4.0 * side)
        high = float(np.percentile(self.distance, _PERCENTILE)) or 1.0
        return draw_place_values(
            ground,
            self.distance,
            Marks(ground.ranked(np.arange(min(most, len(self.index))))),
            title="Change",
            label=f"cosine distance of each place, to the {_PERCENTILE:.0f}th percentile",
            cmap="magma_r",
            limits=(0.0, high),
            caption=replace(
                caption,
                title=f"Change of {caption.title}",
                subtitle=SEPARATOR.join([f"against {self.before.run.path.name}", caption.subtitle]),
            ),
        )


def _keys(
    before: OpenedRun,
    after: OpenedRun,
    earlier: tuple[PlaceRows, Int64Array],
    later: tuple[PlaceRows, Int64Array],
) -> tuple[list[list[object]], str]:
    """Return what the places of both runs are matched by, and that in words."""
    own = id_column(after.run)
    if own is not None and own == id_column(before.run):
        keys = [rows.columns[own].take(valid).to_pylist() for rows, valid in (earlier, later)]
        return keys, f"their {own}"
    grounds = [
        run.document["settings"]["data"]["places"]["columns"]["geometry"] for run in (before, after)
    ]
    if grounds[0] != grounds[1]:
        raise RunDirectoryError(
            f"`{before.run.path}` and `{after.run.path}` cannot be compared: their tables have "
            "other places, and no column of ids (data.places.id) of the same name to match them "
            "by. Run both with data.places.id."
        )
    plans = before.plan, after.plan
    keys = []
    for plan, (rows, valid) in zip(plans, (earlier, later), strict=True):
        assert isinstance(plan, PlacePlan)
        keys.append(list(plan.place[rows.index[valid]].tolist()))
    return keys, "their rows in the table"


def _chips(plan: PlacePlan) -> list[Int64Array]:
    """Return zone, column and row of all chips of a plan."""
    epsg = np.array([lattice.epsg for lattice in plan.lattices], dtype=np.int64)
    return [epsg[plan.zone], plan.col.astype(np.int64), plan.row.astype(np.int64)]
