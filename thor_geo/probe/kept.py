"""Labels of a run of places: a column that the run keeps of the user's table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.columns import read_labels
from thor_geo.probe.place_vectors import read_done
from thor_geo.probe.spec import Task
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import chosen_column, id_column, own_columns
from thor_geo.support.arrays import Float64Array

if TYPE_CHECKING:
    import pyarrow as pa

# From this many labels on, a column of which more than half are different looks like one of ids.
_FEW = 10


class KeptLabels:
    """A label for each place, from a column of the table that the run embedded.

    Attributes:
        codes: Code of the class, or the number, by index in the plan, (n,); NaN without a label.
    """

    kind = "column"
    names: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        opened: OpenedRun,
        target: str | None,
        *,
        task: Task | None = None,
        ignore: tuple[str, ...] = (),
    ) -> None:
        """Initialize a new KeptLabels instance.

        Args:
            opened: A run of places.
            target: The column.
            task: What is predicted; None follows the column.
            ignore: Labels to leave out.

        Raises:
            ConfigError: If the run is not one of places or has no such column, or the column cannot
                be used.
            RunDirectoryError: If the run has no rows, no place is done, or a file cannot be read.
        """
        plan = opened.plan
        if not isinstance(plan, PlacePlan):
            raise ConfigError(
                "--labels",
                None,
                f"not given, and `{opened.run.path}` is a run of an area, which has no labels of "
                "its own",
                "Give a file of labels with --labels, or embed a table of labelled places "
                "(data.places).",
            )
        if not opened.pooled:
            raise RunDirectoryError(
                f"`{opened.run.path}` has no rows with the columns of its table "
                "(output.pooled=false). Embed it again, into another folder, with "
                "output.pooled=true."
            )
        if target is None:
            names = own_columns(opened.run)
            raise ConfigError(
                "--target",
                None,
                f"not given, and `{opened.run.path}` keeps columns of its table"
                if names
                else f"not given, and `{opened.run.path}` keeps no column of its table",
                f"Choose one of {', '.join(names)}."
                if names
                else "Give --labels and --target, or embed the table again with data.places.keep.",
            )
        self.name = chosen_column(opened.run, target, "--target")
        self.source = f"table of {opened.run.path}"
        rows = read_done(opened, [self.name])
        column = read_labels(
            self.name,
            as_series(rows.columns[self.name]),
            task,
            ignore,
            source=f"place of {opened.run.path}",
        )
        self.task, self.classes = column.task, column.classes
        self._counts = column.counts
        self.codes: Float64Array = np.full(len(plan), np.nan)
        self.codes[rows.index[column.labelled]] = column.values
        self.notes = (*column.notes, *self._doubts(opened))

    def _doubts(self, opened: OpenedRun) -> tuple[str, ...]:
        """Return what speaks against these labels."""
        if self.name == id_column(opened.run):
            return (f"`{self.name}` is the table's column of ids, which say nothing of the ground",)
        labelled = int(np.isfinite(self.codes).sum())
        different = len(self.classes)
        if labelled < _FEW or different <= labelled / 2:
            return ()
        return (
            f"`{self.name}` has {different:,} different values at {labelled:,} places, as ids "
            "have: most classes have a single sample. Numbers need --task regression",
        )

    def class_of(self, code: float) -> str | int:
        """Return the class that a code stands for."""
        return self.classes[int(code)]

    def record(self) -> Mapping[str, object]:
        """Return the record of the labels for probe.json."""
        return {"file": None, "kind": self.kind, "column": self.name, **self._counts}


def as_series(column: pa.ChunkedArray) -> Any:
    """Return a column as a pandas Series; integers stay integers, whatever is null.

    Args:
        column: Any column of a table that is not nested.
    """
    import pandas as pd
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    if pa.types.is_integer(column.type):
        return column.to_pandas(types_mapper=pd.ArrowDtype)
    return column.to_pandas()
