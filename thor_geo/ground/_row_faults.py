"""What is wrong with rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from thor_geo.errors import ConfigError, shorten
from thor_geo.support.arrays import Int64Array
from thor_geo.support.words import counted

if TYPE_CHECKING:
    from thor_geo.ground.geofile import GeoFile

# Rows that a message names for each fault, and the longest value that it shows of one.
_NAMED_ROWS, _LONGEST_VALUE = 5, 40

#: From rows of a table, from 0, to lines of its file, from 1, of those that are found.
Lines: TypeAlias = Callable[[Sequence[int]], dict[int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class RowFault:
    """A fault that some rows of a table have.

    Attributes:
        argument: Name of the argument that is concerned; empty for the file.
        value: Its value.
        problem: What is wrong, as it is said of one row.
        rows: Which rows, from 0, ascending (k,).
        values: What stands there, k values; None where nothing does.
        remedy: What to do about it.
    """

    argument: str = ""
    value: object = None
    problem: str
    rows: Int64Array
    values: Sequence[Any] | None = None
    remedy: str


class ColumnValues(Sequence[Any]):
    """Some values of a column, read one by one: of a million faults, a message shows five."""

    def __init__(self, column: Any, rows: Int64Array) -> None:
        """Initialize a new ColumnValues instance.

        Args:
            column: pyarrow array or chunked array.
            rows: Which of its values, (k,).
        """
        self._column, self._rows = column, rows

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._rows)

    def __getitem__(self, k: Any) -> Any:
        """Return a value as Python has it."""
        return self._column[int(self._rows[k])].as_py()


def faults_error(
    source: GeoFile, faults: Sequence[RowFault], count: int, lines: Lines | None, hint: str = ""
) -> ConfigError:
    """Return the error about all that is wrong with rows.

    Args:
        source: The file.
        faults: What is wrong, at least one.
        count: Rows of the table.
        lines: Lines of a text file for rows; None for other files.
        hint: What else can be done, appended to the remedies.
    """
    problems = [_listed(fault, count, lines) for fault in faults]
    remedies = dict.fromkeys(fault.remedy for fault in faults)
    argument, value = faults[0].argument, faults[0].value
    where = f"{source.path}: " if argument else ""
    return source.error(
        argument or source.argument,
        value if argument else str(source.path),
        f"{where}{'; '.join(problems)} (rows are counted from 1, without a header)",
        " ".join([*remedies, hint]).strip(),
    )


def reasons_by_row(faults: Sequence[RowFault]) -> dict[int, str]:
    """Return what is wrong with each bad row, in words, rows ascending.

    Args:
        faults: What is wrong.
    """
    reasons: dict[int, str] = {}
    for fault in faults:
        for k, row in enumerate(fault.rows.tolist()):
            reason = fault.problem if fault.values is None else _with_value(fault, k)
            reasons[row] = f"{reasons[row]}; {reason}" if row in reasons else reason
    return dict(sorted(reasons.items()))


def _with_value(fault: RowFault, k: int) -> str:
    assert fault.values is not None
    return f"{fault.problem}: {shorten(str(fault.values[k]), _LONGEST_VALUE)}"


def _listed(fault: RowFault, count: int, lines: Lines | None) -> str:
    rows = fault.rows[:_NAMED_ROWS].tolist()
    found = {} if lines is None else lines(rows)
    named = []
    for k, row in enumerate(rows):
        value = "" if fault.values is None else shorten(str(fault.values[k]), _LONGEST_VALUE)
        line = f"line {found[row]}" if row in found else ""
        inside = ": ".join(part for part in (line, value) if part)
        named.append(f"{row + 1:,} ({inside})" if inside else f"{row + 1:,}")
    if len(fault.rows) > _NAMED_ROWS:
        named.append("...")
    number = counted(len(fault.rows), "row")
    return f"{fault.problem} in {number} of {count:,}: {', '.join(named)}"
