from __future__ import annotations

import sys
from pathlib import Path

# `--import-mode=importlib` leaves these folders off the path.
for folder in (Path(__file__).parent, Path(__file__).parents[1] / "unit" / "writers"):
    sys.path.insert(0, str(folder))
