"""What the scenes of all sensors have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class AnyAcquisition:
    """One acquisition behind a composite.

    Attributes:
        index: ``system:index`` within the collection.
        time_start: Acquisition time, UTC, ISO 8601; None where the catalogue has none.
    """

    index: str
    time_start: str | None

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the scene that `to_dict` described.

        Args:
            fields: The attributes by name.

        Raises:
            ValueError: If an attribute is missing or superfluous, or the index is no text.
        """
        if set(fields) != set(cls.__dataclass_fields__):
            raise ValueError(f"a {cls.__name__} with the fields {sorted(fields)}")
        if not isinstance(fields["index"], str):
            raise ValueError(f"a {cls.__name__} with the index {fields['index']!r}")
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes by name, ready for JSON."""
        return asdict(self)
