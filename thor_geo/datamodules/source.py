"""Connects to what composites come from: Earth Engine, its emulator over a folder, or STAC."""

from __future__ import annotations

import logging
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from thor_geo.composites.copies import Copies
from thor_geo.datamodules.sensors import Sensors
from thor_geo.errors import ConfigError
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.stac import CatalogueSpec
from thor_geo.sources.stac.recipe import catalogue_spec
from thor_geo.specs.bands import Sensor
from thor_geo.specs.sources import AnySource, EarthEngineSpec, EmulatorSpec, StacSpec, source_name
from thor_geo.storage import Location, StoreOptions, StorePath, located
from thor_geo.support.coverage import Coverage
from thor_geo.support.jsontext import parse_json
from thor_geo.support.progress import is_first_process

if TYPE_CHECKING:
    from thor_geo.emulator import EmulatorProcess

_log = logging.getLogger(__name__)

#: Address of an emulator that an earlier process of the run has started; ranks inherit it.
EMULATOR_URL = "THOR_GEO_EMULATOR_URL"


_USUAL_CACHE = "~/.cache/thor-geo"


def cache_location(given: str | Path | None, options: StoreOptions | None = None) -> Location:
    """Return where the block cache is: here, in $THOR_GEO_CACHE, or in the usual folder.

    Args:
        given: A folder, or the address of an object store.
        options: How the object store is reached.

    Raises:
        ConfigError: If it begins as an address does, and is none of a bucket.
    """
    named = given or os.environ.get("THOR_GEO_CACHE", _USUAL_CACHE)
    return located(named, options, argument="data.cache_dir")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A source that is ready to be asked.

    Attributes:
        session: How to reach it.
        catalogues: Each sensor's; part of every cache key: two catalogues never share a block.
        cache: Folder from which blocks are read: the cache, or copies of it.
        shared: Root of the cache in an object store; None where the folder is the cache.
        copies: What holds the copies of one in an object store.
        emulator: The emulator that this process started, if it did.
        inherited: Address of an emulator that the environment named before.
    """

    session: SessionSpec | CatalogueSpec
    catalogues: Mapping[Sensor, str]
    cache: Path
    shared: StorePath | None = None
    copies: Copies | None = None
    emulator: EmulatorProcess | None = None
    inherited: str | None = None


@dataclass(frozen=True, kw_only=True)
class CompositeSource:
    """Composites of some sensors from one source; nothing is contacted before `connect`.

    Attributes:
        source: Earth Engine, its emulator, or a STAC catalogue.
        sensors: Bands and recipes. The emulator serves its scenes under their collections' ids.
        cache_dir: Folder of the block cache, and of the generated archive; or the root of the
            cache in an object store: archives then lie in the usual folder.
        pool_size: Connections to keep open.

    Raises:
        ConfigError: If a STAC catalogue's scenes cannot be reduced to such composites.
    """

    source: AnySource
    sensors: Sensors
    cache_dir: Location
    pool_size: int = 40

    def __post_init__(self) -> None:
        """Validate."""
        if isinstance(self.source, StacSpec):
            self._catalogue_spec(self.source)

    @property
    def name(self) -> str:
        """The setting that names the source: ``earthengine``, ``emulator`` or ``stac``."""
        return source_name(self.source)

    @property
    def collections(self) -> dict[Sensor, str]:
        """Earth Engine image collection of each sensor."""
        return {kind: sensor.collection for kind, sensor in self.sensors.by_kind.items()}

    @property
    def linked(self) -> tuple[str, ...]:
        """Collections that the composites need besides the sensors' own."""
        return () if self.sensors.sentinel2 is None else self.sensors.sentinel2.linked

    def connect(self) -> Connection:
        """Describe the service, start an emulator or join the run's, or open a catalogue.

        Raises:
            ConfigError: If the cache folder cannot be made, the emulator's folder lacks a
                collection, or there is no such catalogue.
            DependencyError: If what reads a catalogue is not installed.
            StacError: If a catalogue cannot be reached, refuses, or lacks the bands.
            CacheError: If no folder for copies of a cache in an object store can be made.
        """
        if isinstance(self.cache_dir, StorePath):
            copies = Copies.open()
            try:
                return replace(
                    self._connected(copies.of(self.cache_dir)),
                    shared=self.cache_dir,
                    copies=copies,
                )
            except BaseException:
                copies.close()
                raise
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                "cache_dir",
                str(self.cache_dir),
                f"it cannot be made ({error.strerror})",
                "Choose a folder where you may write.",
            ) from error
        return self._connected(self.cache_dir)

    def _connected(self, cache: Path) -> Connection:
        if isinstance(self.source, StacSpec):
            return self._stac(self.source, cache)
        if isinstance(self.source, EmulatorSpec):
            return self._emulator(cache)
        return self._earthengine(self.source, cache)

    def coverage(self) -> Coverage | None:
        """Return where and when the source's scenes are; None for Earth Engine, which has all.

        Raises:
            StacError: If a catalogue cannot be reached, or refuses.
            BlockError: If it failed too often.
        """
        if isinstance(self.source, StacSpec):
            from thor_geo.sources.stac.opening import catalogue_coverage

            return catalogue_coverage(self._catalogue_spec(self.source))
        if isinstance(self.source, EmulatorSpec):
            from thor_geo.emulator import Archive

            return Archive.open(self._folder(next(iter(self.collections)))).coverage()
        return None

    def places_table(self) -> Path | None:
        """Return the table of places on the generated landscape, made if it is missing.

        Returns:
            The file, beside the archive in the cache; None where scenes are not generated.
        """
        if not isinstance(self.source, EmulatorSpec) or self.source.archive is not None:
            return None
        from thor_geo.emulator import ensure_places

        table = ensure_places(self._generated_folder / "emulator-places.csv")
        if is_first_process():
            _log.warning("The places are those of %s, a table of the generated land.", table)
        return table

    def _stac(self, source: StacSpec, cache: Path) -> Connection:
        # Loads what no other source needs.
        from thor_geo.sources.stac.opening import catalogue_name

        spec = self._catalogue_spec(source)
        catalogues = dict.fromkeys(self.collections, catalogue_name(spec))
        return Connection(session=spec, catalogues=catalogues, cache=cache)

    def _catalogue_spec(self, source: StacSpec) -> CatalogueSpec:
        sensors = self.sensors.by_kind.values()
        return catalogue_spec(source, sensors, pool_size=self.pool_size)

    def _earthengine(self, source: EarthEngineSpec, cache: Path) -> Connection:
        session = SessionSpec(**vars(source), pool_size=self.pool_size)
        catalogues = dict.fromkeys(self.collections, "earthengine")
        return Connection(session=session, catalogues=catalogues, cache=cache)

    def _emulator(self, cache: Path) -> Connection:
        from thor_geo.emulator import Archive, EmulatorProcess

        # By collection: a sensor's own, and what its masks need besides.
        folders = {name: self._folder(kind) for kind, name in self.collections.items()}
        folders |= {name: self._linked(name) for name in self.linked}
        fingerprints = {
            name: Archive.open(folder).fingerprint() for name, folder in folders.items()
        }
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
            cache=cache,
            emulator=emulator,
            inherited=inherited,
        )

    def _catalogue(self, kind: Sensor, name: str, fingerprints: Mapping[str, str]) -> str:
        names = (name, *self.linked) if kind == "S2" else (name,)
        return f"emulator-{'+'.join(fingerprints[name] for name in names)}"

    @property
    def _archive(self) -> Path | None:
        return self.source.archive if isinstance(self.source, EmulatorSpec) else None

    def _folder(self, kind: Sensor) -> Path:
        """Return the folder of a sensor's scenes; generate it if the user has none."""
        from thor_geo.emulator import ensure_sentinel1_archive
        from thor_geo.emulator.launch import SENTINEL1_FOLDER

        archive, collection = self._archive, self.collections[kind]
        if kind != "S1":
            if archive is None:
                return self._generated(collection)
            return archive / collection if (archive / collection).is_dir() else archive
        if archive is None:
            return ensure_sentinel1_archive(self._generated_folder / "emulator-archive-s1")
        if not (archive / SENTINEL1_FOLDER).is_dir():
            raise ConfigError(
                "emulator.archive",
                str(archive),
                f"it has no folder {SENTINEL1_FOLDER} with scenes of Sentinel-1",
                "Add one (docs/emulator.md), or leave archive out to generate scenes.",
            )
        return archive / SENTINEL1_FOLDER

    def _linked(self, collection: str) -> Path:
        """Return the folder of a collection that a mask needs; generate it if the user has none."""
        archive = self._archive
        if archive is None:
            return self._generated(collection)
        folder = archive / collection
        if not folder.is_dir():
            raise ConfigError(
                "emulator.archive",
                str(archive),
                f"it holds no scenes of {collection}, which `mask` needs",
                f"Put them and their index into {folder}, or choose another mask.",
            )
        return folder

    @property
    def _generated_folder(self) -> Path:
        cache = self.cache_dir
        return cache if isinstance(cache, Path) else Path(_USUAL_CACHE).expanduser()

    def _generated(self, collection: str) -> Path:
        from thor_geo.emulator import COLLECTIONS, ensure_archive

        # First, as a folder that is not empty is never generated into.
        root = ensure_archive(self._generated_folder / "emulator-archive")
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
    """Stop the emulator if this process started it, and remove the copies if it made them."""
    if connection.copies is not None:
        connection.copies.close()
    if connection.emulator is None:
        return
    connection.emulator.stop()
    if connection.inherited is None:
        os.environ.pop(EMULATOR_URL, None)
    else:
        os.environ[EMULATOR_URL] = connection.inherited
