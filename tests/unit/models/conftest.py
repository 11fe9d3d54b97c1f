"""Shared pieces of the model's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# The helper module thor_golden.py lies next to the tests, which are no package.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Keep to two threads: the suite shares its cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)
