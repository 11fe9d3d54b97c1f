"""Where composites come from: Earth Engine itself, or the emulator over a folder of scenes."""

from __future__ import annotations

import json
import os
import urllib.request
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
        inherited: What the environment said of an emulator before.
    """

    session: SessionSpec
    catalogue: str
    emulator: EmulatorProcess | None = None
    inherited: str | None = None


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


def connect_emulator(
    archive: Path | None, *, collection: str, default_archive: Path, pool_size: int
) -> Connection:
    """Start an emulator over an archive, or join the one the run already has.

    Args:
        archive: Folder of scenes; None generates the quickstart's at *default_archive*.
        collection: Collection id to serve it as.
        default_archive: Where the generated archive is kept.
        pool_size: Connections to keep open.
    """
    from thor_geo.emulator import Archive, EmulatorProcess, ensure_archive

    folder = ensure_archive(default_archive) if archive is None else archive
    fingerprint = Archive.open(folder).fingerprint()
    inherited = os.environ.get(EMULATOR_URL)
    emulator = None
    url = inherited
    # Another archive's pixels must never be cached under this one's name.
    if url is None or _served(url).get(collection) != fingerprint:
        emulator = EmulatorProcess(folder, collection=collection)
        emulator.start()
        url = os.environ[EMULATOR_URL] = emulator.url
    return Connection(
        session=SessionSpec(credentials="anonymous", url=url, pool_size=pool_size),
        catalogue=f"emulator-{fingerprint}",
        emulator=emulator,
        inherited=inherited,
    )


def _served(url: str) -> dict[str, str]:
    """Return the fingerprints of an emulator's archives by collection; none if it is gone."""
    try:
        with urllib.request.urlopen(f"{url}/_emulator/archives", timeout=10) as answer:
            fingerprints: dict[str, str] = json.load(answer)
    except OSError:
        return {}
    return fingerprints


def disconnect(connection: Connection) -> None:
    """Stop the emulator if this process started it."""
    if connection.emulator is None:
        return
    connection.emulator.stop()
    if connection.inherited is None:
        os.environ.pop(EMULATOR_URL, None)
    else:
        os.environ[EMULATOR_URL] = connection.inherited
