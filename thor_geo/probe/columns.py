"""Labels in a column of a table: which values are some, and what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from thor_geo.errors import ConfigError
from thor_geo.probe.spec import Task, ignore_option
from thor_geo.support.arrays import BoolArray, Float64Array


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelColumn:
    """The labels of a column.

    Attributes:
        task: What is predicted.
        classes: The classes in ascending order; empty for numbers.
        values: Index of each label's class, or the number, (n,); without the rows that have none.
        labelled: Which rows have a label, (rows,).
        counts: What became of the rows, for probe.json.
        notes: What a user should know about how the labels were read.
    """

    task: Task
    classes: tuple[str | int, ...]
    values: Float64Array
    labelled: BoolArray
    counts: dict[str, int]
    notes: tuple[str, ...]


def read_labels(
    target: str,
    column: Any,
    task: Task | None,
    ignore: tuple[str, ...],
    *,
    usable: BoolArray | None = None,
    source: str,
) -> LabelColumn:
    """Read a column of labels.

    Args:
        target: Its name.
        column: pandas Series.
        task: What is predicted; None follows the column.
        ignore: Labels to leave out.
        usable: Which rows can have a label at all, (rows,); None for all.
        source: What the rows are of, for the message.

    Raises:
        ConfigError: If no row has a label, or the labels do not fit the task.
    """
    blank, ignored = blank_labels(column), ignored_labels(column, ignore)
    labelled = ~(blank | ignored) if usable is None else ~(blank | ignored) & usable
    if not labelled.any():
        raise ConfigError("--target", target, f"no {source} has a label", "Choose another column.")
    chosen, values = label_values(target, column[labelled], task, gaps=bool(blank.any()))
    classes: list[str | int] = []
    if chosen == "classification":
        classes, values = class_codes(values)
    return LabelColumn(
        task=chosen,
        classes=tuple(classes),
        values=values,
        labelled=labelled,
        counts={
            "features": len(column),
            "features_without_label": int((~labelled).sum()),
            "blank_labels": int(blank.sum()),
            "ignored_labels": int((ignored & ~blank).sum()),
        },
        notes=ignore_notes(column, ignore),
    )


def blank_labels(column: Any) -> Any:
    """Return which values are no label: null, and text that is blank or says NaN, (N,) bool."""
    if pd.api.types.is_numeric_dtype(column):
        return column.isna().to_numpy()
    texts = column.astype(str).str.strip()
    # Rows that became text before they were written say how Python or NumPy write NaN.
    return (column.isna() | texts.isin(("", "nan", "NaN"))).to_numpy()


def ignored_labels(column: Any, ignore: tuple[str, ...]) -> Any:
    """Return which values are to be ignored, compared as text, and numbers as numbers, too.

    Readers turn integers with gaps into floats, so 255 becomes 255.0.
    """
    ignored = column.astype(str).isin(ignore)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        numbers = pd.to_numeric(pd.Series(ignore, dtype=object), errors="coerce").dropna()
        ignored |= column.isin(numbers.astype(np.float64).tolist())
    return ignored.to_numpy()


def ignore_notes(column: Any, ignore: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note about values to ignore that no label has."""
    missing = [value for value in ignore if not ignored_labels(column, (value,)).any()]
    if not missing:
        return ()
    comma = next((v for v in column.dropna().astype(str).unique() if "," in v), None)
    hint = "" if comma is None else f" A label with a comma needs quotes: {ignore_option(comma)}."
    return (
        f"no label is {' or '.join(map(repr, missing))}, so --ignore has no effect on it.{hint}",
    )


def label_values(target: str, column: Any, task: Task | None, *, gaps: bool) -> tuple[Task, Any]:
    """Return the task and the column's values."""
    numbers = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if not numbers:
        if task == "regression":
            raise ConfigError(
                "--task", task, f"`{target}` holds text", "Choose a column of numbers."
            )
        return "classification", column.astype(str).to_numpy(dtype=object)
    values = column.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise ConfigError(
            "--target", target, "it holds infinite values", "Remove them, or make them null."
        )
    whole = bool((values == np.rint(values)).all())
    # Readers turn integers with gaps into floats, which are still classes.
    integers = pd.api.types.is_integer_dtype(column) or (whole and gaps)
    chosen: Task = task or ("classification" if integers else "regression")
    if chosen == "classification" and not whole:
        raise ConfigError(
            "--task",
            task,
            f"`{target}` holds numbers that are not whole",
            "Use --task regression, or a column of classes.",
        )
    return chosen, values


def class_codes(values: Any) -> tuple[list[str | int], Float64Array]:
    """Return the classes in ascending order, and the index of each value's class."""
    classes, codes = np.unique(values, return_inverse=True)
    named: list[str | int] = [c if isinstance(c, str) else int(c) for c in classes.tolist()]
    return named, codes.reshape(-1).astype(np.float64)
