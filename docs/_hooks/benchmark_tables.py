"""Makes the page of benchmark tables from benchmarks/results, with the newest run of each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference/benchmarks.md"

_ROOT = Path(__file__).parents[2]
# Not an installed package, and `mkdocs` does not put the working directory on the path.
sys.path.append(str(_ROOT))

from benchmarks.support.report import RESULTS, document  # noqa: E402

_INTRODUCTION = """# Benchmark tables

The newest result of every benchmark and campaign, whether its claim holds or not. Each names its
command; [Performance](../performance.md) is the summary. Times depend on the machine, ratios less.

Benchmarks that compare alternatives run them in turns on the same data: *ratio* is a median over
that of the alternative whose ratio is 1.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Return the page: benchmarks first, then the campaigns."""
    parts = [_INTRODUCTION]
    for path in sorted(RESULTS.glob("*.json"), key=lambda path: ("chaos" in path.stem, path.stem)):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "claim" in result:  # others hold the inputs of docs/scale.md
            title = path.stem.replace("_", " ").capitalize()
            parts.append(f"## {title}\n\n{document(result)}\n")
    return "\n".join(parts)
