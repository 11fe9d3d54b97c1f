"""Processes that benchmarks call functions in, so that alternatives do not share a process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from unittest.mock import patch


def _like_a_command() -> None:
    # A spawned process would spawn its DataLoader's workers, too, with all their imports.
    multiprocessing.set_start_method(None, force=True)


class Side:
    """A process of its own that calls functions: one for each alternative."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start the process.

        Args:
            environment: What the command sets for libraries that read it when they are loaded.
        """
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            max_workers=1, mp_context=context, initializer=_like_a_command
        )
        with patch.dict(os.environ, {**environment, **os.environ}):
            self(os.getpid)  # starts it

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what a function returns there."""
        return self._pool.submit(call, *args, **kwargs).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()
