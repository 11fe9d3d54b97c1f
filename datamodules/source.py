"""Where composites come from: Earth Engine, its emulator over a folder of scenes, or STAC."""

from __future__ import annotations

import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thor_geo.earthengine.session import CredentialsKind, SessionSpec
from thor_geo.errors import ConfigError
from thor_geo.jsontext import parse_json
from thor_geo.specs import check_choice
from thor_geo.stac import StacSpec

if TYPE_CHECKING:
    from thor_geo.emulator import EmulatorProcess

Source = Literal["earthengine", "emulator", "stac"]

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

    session: SessionSpec | StacSpec
    catalogue: str
    emulator: EmulatorProcess | None = None
    inherited: str | None = None


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """Where composites come from, as the user says it; nothing is contacted before `connect`.

    Attributes:
        source: ``earthengine``; ``emulator`` for a folder of scenes on this machine; ``stac`` for a
            STAC catalogue.
        collection: Earth Engine image collection; the emulator serves its scenes under this id.
        cache_dir: Folder of the block cache, and of the generated archive.
        project: Cloud project registered for Earth Engine.
        credentials: Kind of login.
        service_account_file: Path of a service account's JSON key.
        url: Another endpoint than Earth Engine's high-volume one.
        emulator_archive: Folder of scenes; None generates the quickstart's.
        pool_size: Connections to keep open.
        stac: The catalogue of the source ``stac``.

    Raises:
        ConfigError: If a choice is unknown.
    """

    source: Source
    collection: str
    cache_dir: Path
    project: str | None = None
    credentials: CredentialsKind = "auto"
    service_account_file: Path | None = None
    url: str | None = None
    emulator_archive: Path | None = None
    pool_size: int = 40
    stac: StacSpec | None = None

    def __post_init__(self) -> None:
        """Validate."""
        check_choice("source", self.source, Source)
        check_choice("credentials", self.credentials, CredentialsKind)

    def connect(self) -> Connection:
        """Describe the service, start an emulator or join the run's, or open a catalogue.

        Raises:
            ConfigError: If the cache folder cannot be made, or there is no such catalogue.
            DependencyError: If what reads a catalogue is not installed.
            StacError: If a catalogue cannot be reached, refuses, or has not the bands.
        """
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                "cache_dir",
                str(self.cache_dir),
                f"it cannot be made ({error.strerror})",
                "Choose a folder where you may write.",
            ) from error
        if self.stac is not None:
            # Loads what no other source needs.
            from thor_geo.stac.opening import catalogue_of

            return Connection(session=self.stac, catalogue=catalogue_of(self.stac))
        return self._emulator() if self.source == "emulator" else self._earthengine()

    def _earthengine(self) -> Connection:
        session = SessionSpec(
            project=self.project,
            credentials=self.credentials,
            service_account_file=self.service_account_file,
            url=self.url,
            pool_size=self.pool_size,
        )
        return Connection(session=session, catalogue="earthengine")

    def _emulator(self) -> Connection:
        from thor_geo.emulator import Archive, EmulatorProcess, ensure_archive

        folder = self.emulator_archive or ensure_archive(self.cache_dir / "emulator-archive")
        fingerprint = Archive.open(folder).fingerprint()
        inherited = os.environ.get(EMULATOR_URL)
        emulator = None
        url = inherited
        # Another archive's pixels must never be cached under this one's name.
        if url is None or _served(url).get(self.collection) != fingerprint:
            emulator = EmulatorProcess(folder, collection=self.collection)
            emulator.start()
            url = os.environ[EMULATOR_URL] = emulator.url
        return Connection(
            session=SessionSpec(credentials="anonymous", url=url, pool_size=self.pool_size),
            catalogue=f"emulator-{fingerprint}",
            emulator=emulator,
            inherited=inherited,
        )


def _served(url: str) -> dict[str, str]:
    """Return the fingerprints of an emulator's archives by collection; none if it is gone."""
    try:
        with urllib.request.urlopen(f"{url}/_emulator/archives", timeout=10) as answer:
            fingerprints = parse_json(answer.read())
    except (OSError, ValueError):  # ValueError: something else answers there
        return {}
    return fingerprints if isinstance(fingerprints, dict) else {}


def disconnect(connection: Connection) -> None:
    """Stop the emulator if this process started it."""
    if connection.emulator is None:
        return
    connection.emulator.stop()
    if connection.inherited is None:
        os.environ.pop(EMULATOR_URL, None)
    else:
        os.environ[EMULATOR_URL] = connection.inherited
