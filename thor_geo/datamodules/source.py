"""Where composites come from: Earth Engine, its emulator over a folder of scenes, or STAC."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thor_geo.errors import ConfigError
from thor_geo.sources.earthengine.spec import CredentialsKind, SessionSpec
from thor_geo.sources.stac import StacSpec
from thor_geo.specs import check_choice
from thor_geo.specs.bands import Sensor
from thor_geo.support.jsontext import parse_json

if TYPE_CHECKING:
    from thor_geo.emulator import EmulatorProcess

Source = Literal["earthengine", "emulator", "stac"]

#: Address of an emulator that an earlier process of the run has started; ranks inherit it.
EMULATOR_URL = "THOR_GEO_EMULATOR_URL"


def cache_folder(given: str | Path | None) -> Path:
    """Return the folder of the block cache: the one given, $THOR_GEO_CACHE, or the usual one."""
    return Path(given or os.environ.get("THOR_GEO_CACHE", "~/.cache/thor-geo")).expanduser()


def expanded(path: str | Path | None) -> Path | None:
    """Return a path with ``~`` resolved; None for none."""
    return None if path is None else Path(path).expanduser()


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A source that is ready to be asked.

    Attributes:
        session: How to reach it.
        catalogues: Of each sensor; part of every cache key: two catalogues never share a block.
        emulator: The emulator that this process started, if it did.
        inherited: What the environment said of an emulator before.
    """

    session: SessionSpec | StacSpec
    catalogues: Mapping[Sensor, str]
    emulator: EmulatorProcess | None = None
    inherited: str | None = None


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """Where composites come from, as the user says it; nothing is contacted before `connect`.

    Attributes:
        source: ``earthengine``; ``emulator`` for a folder of scenes on this machine; ``stac`` for a
            STAC catalogue.
        collections: Earth Engine image collection of each sensor; the emulator serves its scenes
            under these ids.
        cache_dir: Folder of the block cache, and of the generated archive.
        project: Cloud project registered for Earth Engine.
        credentials: Kind of login.
        service_account_file: Path of a service account's JSON key.
        url: Another endpoint than Earth Engine's high-volume one.
        emulator_archive: Folder of scenes; None generates the quickstart's. Scenes of another
            collection may lie in a folder below it that is called by the collection's id, those of
            Sentinel-1 in its folder S1_GRD.
        pool_size: Connections to keep open.
        linked: Collections that the composites need besides.
        stac: The catalogue of the source ``stac``.

    Raises:
        ConfigError: If a choice is unknown.
    """

    source: Source
    collections: Mapping[Sensor, str]
    cache_dir: Path
    project: str | None = None
    credentials: CredentialsKind = "auto"
    service_account_file: Path | None = None
    url: str | None = None
    emulator_archive: Path | None = None
    pool_size: int = 40
    linked: tuple[str, ...] = ()
    stac: StacSpec | None = None

    def __post_init__(self) -> None:
        """Validate."""
        check_choice("source", self.source, Source)
        check_choice("credentials", self.credentials, CredentialsKind)

    def connect(self) -> Connection:
        """Describe the service, start an emulator or join the run's, or open a catalogue.

        Raises:
            ConfigError: If the cache folder cannot be made, the emulator's folder lacks a
                collection, or there is no such catalogue.
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
            from thor_geo.sources.stac.opening import catalogue_name

            name = catalogue_name(self.stac)
            return Connection(session=self.stac, catalogues=dict.fromkeys(self.collections, name))
        return self._emulator() if self.source == "emulator" else self._earthengine()

    def _earthengine(self) -> Connection:
        session = SessionSpec(
            project=self.project,
            credentials=self.credentials,
            service_account_file=self.service_account_file,
            url=self.url,
            pool_size=self.pool_size,
        )
        catalogues = dict.fromkeys(self.collections, "earthengine")
        return Connection(session=session, catalogues=catalogues)

    def _emulator(self) -> Connection:
        from thor_geo.emulator import Archive, EmulatorProcess

        # By collection: a sensor's own, and what its masks need besides.
        folders = {name: self._folder(kind) for kind, name in self.collections.items()}
        folders |= {name: self._linked(name) for name in self.linked}
        fingerprints = {name: Archive.open(at).fingerprint() for name, at in folders.items()}
        inherited = os.environ.get(EMULATOR_URL)
        emulator = None
        url = inherited
        # Another archive's pixels must never be cached under this one's name.
        if url is None or not fingerprints.items() <= _served(url).items():
            emulator = EmulatorProcess(folders)
            emulator.start()
            url = os.environ[EMULATOR_URL] = emulator.url
        return Connection(
            session=SessionSpec(credentials="anonymous", url=url, pool_size=self.pool_size),
            catalogues={
                kind: self._catalogue(kind, name, fingerprints)
                for kind, name in self.collections.items()
            },
            emulator=emulator,
            inherited=inherited,
        )

    def _catalogue(self, kind: Sensor, name: str, fingerprints: Mapping[str, str]) -> str:
        names = (name, *self.linked) if kind == "S2" else (name,)
        return f"emulator-{'+'.join(fingerprints[one] for one in names)}"

    def _folder(self, kind: Sensor) -> Path:
        """Return the folder of a sensor's scenes; generate it if none was given."""
        from thor_geo.emulator import ensure_sentinel1_archive
        from thor_geo.emulator.launch import SENTINEL1_FOLDER

        given = self.emulator_archive
        if kind != "S1":
            return self._generated(self.collections[kind]) if given is None else self._given(kind)
        if given is None:
            return ensure_sentinel1_archive(self.cache_dir / "emulator-archive-s1")
        if not (given / SENTINEL1_FOLDER).is_dir():
            raise ConfigError(
                "emulator_archive",
                str(given),
                f"it has no folder {SENTINEL1_FOLDER} with scenes of Sentinel-1",
                "Add one (docs/emulator.md), or leave emulator_archive out to generate scenes.",
            )
        return given / SENTINEL1_FOLDER

    def _given(self, kind: Sensor) -> Path:
        """Return the folder that was given, or the collection's own within it."""
        assert self.emulator_archive is not None
        own = self.emulator_archive / self.collections[kind]
        return own if own.is_dir() else self.emulator_archive

    def _linked(self, collection: str) -> Path:
        """Return the folder of a collection that a mask needs; generate it if none was given."""
        if self.emulator_archive is None:
            return self._generated(collection)
        own = self.emulator_archive / collection
        if not own.is_dir():
            raise ConfigError(
                "emulator_archive",
                str(self.emulator_archive),
                f"it holds no scenes of {collection}, which `mask` needs",
                f"Put them and their index into {own}, or choose another mask.",
            )
        return own

    def _generated(self, collection: str) -> Path:
        from thor_geo.emulator import COLLECTIONS, ensure_archive

        # First, as a folder that is not empty is never generated into.
        root = ensure_archive(self.cache_dir / "emulator-archive")
        products = {name: product for product, name in COLLECTIONS.items() if product != "sr"}
        if collection not in products:
            return root
        return ensure_archive(root / collection, product=products[collection])


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
