"""rs-embed on given pixels, in a Python of its own: a script, told over its standard input.

rs-embed needs Python 3.12 and another timm than TerraTorch, so it has an environment of its own,
and this file imports nothing but it. `benchmarks.rs_embed` starts it with ``-P``: beside it lie
modules whose names other packages use. In come lines of JSON, one after the other, and out goes one
for each: ``["load", FILE, COLLECTION, BANDS, VARIANT]``, ``["embed"]`` and ``["vectors", FILE]``.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from rs_embed import UserData, get_embeddings_batch_from_data  # type: ignore[import-not-found]


class Side:
    """The images, and the last call's embeddings."""

    def __init__(self) -> None:
        self.images: list[Any] = []
        self.variant = ""
        self.embeddings: list[Any] = []

    def load(self, file: str, collection: str, bands: list[str], variant: str) -> dict[str, Any]:
        """Read images (n, bands, H, W), and embed one: rs-embed keeps the model that it loaded."""
        pixels = np.load(file)
        self.variant = variant
        self.images = [
            UserData(data=image, collection=collection, bands=tuple(bands)) for image in pixels
        ]
        (first,) = get_embeddings_batch_from_data(
            "thor", self.images[:1], variant=variant, device="cpu"
        )
        return {
            "packages": {name: version(name) for name in ("rs-embed", "torch", "timm")},
            "python": sys.version.split()[0],
            "threads": torch.get_num_threads(),
            "strategy": first.meta["preprocess_strategy"],
            "size": list(first.meta["final_hw"]),
            "patch_size": first.meta["patch_size"],
        }

    def embed(self) -> tuple[float, float]:
        """Embed all images in one call; return its seconds, and CPU seconds of all threads."""
        began, cpu = time.perf_counter(), time.process_time()
        self.embeddings = get_embeddings_batch_from_data(
            "thor", self.images, variant=self.variant, device="cpu"
        )
        return time.perf_counter() - began, time.process_time() - cpu

    def vectors(self, file: str) -> int:
        """Write the last call's vectors (n, D)."""
        np.save(file, np.stack([embedding.data for embedding in self.embeddings]))
        return len(self.embeddings)


def main() -> None:
    """Answer until the input ends."""
    warnings.simplefilter("ignore")  # about dates and places, which given pixels do not have
    answers, sys.stdout = sys.stdout, sys.stderr  # what the library prints is no answer
    side = Side()
    calls: dict[str, Callable[..., Any]] = {
        "load": side.load,
        "embed": side.embed,
        "vectors": side.vectors,
    }
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(calls[name](*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
