"""When a run reaches what a user waits for, as a callback of Lightning's sees it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback


class Moments(Callback):
    """Writes down, in seconds since the epoch, when a run's first steps took place.

    Into the file that the environment variable ``THOR_GEO_BENCHMARK_MOMENTS`` names.
    """

    def __init__(self) -> None:
        """Initialize a new Moments instance: the command's arguments have been parsed."""
        self._moments = {"arguments parsed": time.time()}

    def setup(self, *_: Any, **__: Any) -> None:
        """The trainer begins; the datamodule has been set up."""
        self._moments["sources connected"] = time.time()

    def on_predict_start(self, *_: Any) -> None:
        """The model is there, and the run directory is open."""
        self._moments["model built, run open"] = time.time()

    def on_predict_batch_start(self, *_: Any) -> None:
        """A batch has been read."""
        self._moments.setdefault("first batch read", time.time())

    def on_predict_batch_end(self, *_: Any) -> None:
        """A batch has been embedded; the first one writes the file."""
        if "first tile embedded" not in self._moments:
            self._moments["first tile embedded"] = time.time()
            Path(os.environ["THOR_GEO_BENCHMARK_MOMENTS"]).write_text(
                json.dumps(self._moments), encoding="utf-8"
            )
