"""Where composites come from: Earth Engine itself, or the emulator over a folder of scenes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thor_geo.earthengine.session import CredentialsKind, SessionSpec

if TYPE_CHECKING:
    from thor_geo.emulator import EmulatorProcess

Source = Literal["earthengine", "emulator"]

#: Address of an emulator that an earlier process of the run has started; ranks inherit it.
EMULATOR_URL = "THOR_GEO_EMULATOR_URL"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A source that is ready to be asked.

    Attributes:
        session: How to reach it.
        catalogue: Part of every cache key: two catalogues never share a block.
        emulator: The emulator that this process started, if it did.
    """

    session: SessionSpec
    catalogue: str
    emulator: EmulatorProcess | None = None


def connect_earthengine(
    *,
    project: str | None,
    credentials: CredentialsKind,
    service_account_file: Path | None,
    url: str | None,
    pool_size: int,
) -> Connection:
    """Describe the real service; nothing is contacted yet."""
    session = SessionSpec(
        project=project,
        credentials=credentials,
        service_account_file=service_account_file,
        url=url,
        pool_size=pool_size,
    )
    return Connection(session=session, catalogue="earthengine")


def connect_emulator(archive: Path | None, *, default_archive: Path, pool_size: int) -> Connection:
    """Start an emulator over an archive, or join the one the run already has.

    Args:
        archive: Folder of scenes; None generates the quickstart's at *default_archive*.
        default_archive: Where the generated archive is kept.
        pool_size: Connections to keep open.
    """
    from thor_geo.emulator import Archive, EmulatorProcess, ensure_archive

    if archive is None:
        archive = ensure_archive(default_archive)
    catalogue = f"emulator-{Archive.open(archive).fingerprint()}"
    url = os.environ.get(EMULATOR_URL)
    emulator = None
    if url is None:
        emulator = EmulatorProcess(archive)
        emulator.start()
        url = emulator.url
        os.environ[EMULATOR_URL] = url
    session = SessionSpec(credentials="anonymous", url=url, pool_size=pool_size)
    return Connection(session=session, catalogue=catalogue, emulator=emulator)


def disconnect(connection: Connection) -> None:
    """Stop the emulator if this process started it."""
    if connection.emulator is not None:
        connection.emulator.stop()
        os.environ.pop(EMULATOR_URL, None)
