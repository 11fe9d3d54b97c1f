from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

# Workers of pytest-xdist share the cores. Libraries read this when they are imported; processes
# that tests start inherit it.
if WORKERS := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, str(max(1, (os.cpu_count() or 1) // WORKERS)))

# A shell that starts a job in the background has it ignore Ctrl-C, and so would every process that
# a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.transform import from_origin

from benchmarks.support.object_store import CREDENTIALS, ObjectStore, new_bucket, s3_server

ROOT = Path(__file__).parent.parent

WriteTif = Callable[..., Path]

_buckets = count()


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give this process, or worker of pytest-xdist, temporary files and a cache of its own."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        patch.setenv("THOR_GEO_CACHE", str(folder / "cache"))
        yield


@pytest.fixture(autouse=True)
def own_precision() -> None:
    """Multiply float32 matrices as float32, as every run does unless it is told otherwise.

    Importing some of TerraTorch's models sets another precision for the whole process, and so for
    the tests after it.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real scenes, or skip."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real scenes are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def write_tif() -> WriteTif:
    """Return a function that writes pixels (C, H, W) as a GeoTIFF in UTM zone 32."""

    def write(
        path: Path,
        pixels: npt.NDArray[Any],
        corner: tuple[float, float],
        res: float = 10,
        *,
        scale: float | None = None,
        **profile: Any,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        bands, height, width = pixels.shape
        settings: dict[str, Any] = {
            "driver": "GTiff",
            "crs": "EPSG:32632",
            "transform": from_origin(*corner, res, res),
            "count": bands,
            "height": height,
            "width": width,
            "dtype": np.dtype(pixels.dtype).name,
        }
        with rasterio.open(path, "w", **{**settings, **profile}) as file:
            file.write(pixels)
            if scale is not None:
                file.scales = [scale] * bands
        return path

    return write


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Serve S3 on loopback."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """Return an empty bucket, which this process and those that it starts can reach."""
    made = new_bucket(s3_endpoint, f"bucket-{next(_buckets)}")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    assert CREDENTIALS.items() <= made.environment.items()
    return made
