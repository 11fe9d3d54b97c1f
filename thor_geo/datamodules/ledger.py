"""What a datamodule may ask the writer of the outputs."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Ledger(Protocol):
    """Knows what is already done: the run writer registers itself as the datamodule's ledger."""

    def unfinished(self) -> npt.NDArray[np.int64]:
        """Create or join the run directory, and return the shards to make.

        Every rank calls it at the same point, before anything is fetched; it refuses another
        plan's directory.

        Returns:
            Indices of the plan's shards, ascending, (n,) int64; the same on all ranks, and of the
            datamodule's job only.
        """
