from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stac_web import Web
from thor_geo.emulator import Acquisition, generate_archive, write_catalogue


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated archive around 12 E, 60 N with its catalogue: three dates, two UTM zones."""
    folder = generate_archive(
        tmp_path_factory.mktemp("stac") / "scenes",
        size_m=2400,
        acquisitions=(
            Acquisition(date="2022-06-05", cloud_cover=0.1),
            Acquisition(date="2022-07-05", cloud_cover=0.3),
            Acquisition(date="2022-08-05", cloud_cover=0.3, coverage=0.7),
        ),
    )
    write_catalogue(folder)
    return folder


@pytest.fixture
def web(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    # A proxy of the environment cannot reach this machine's loopback.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Web(archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
