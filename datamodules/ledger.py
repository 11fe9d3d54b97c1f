"""What a datamodule may ask of whoever keeps the outputs."""

from __future__ import annotations

from typing import Protocol

from thor_geo.plan import Shard


class Ledger(Protocol):
    """Knows what is already done: the run writer registers itself as the datamodule's ledger."""

    def open(self) -> None:
        """Create or join the run directory; refuses another plan's before anything is fetched."""

    def finished(self, shard: Shard) -> bool:
        """Return whether a shard needs no more work."""
