"""Where the pixels of a call come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thor_geo.datamodules.sensors import Sensors
from thor_geo.datamodules.source import Source, SourceSpec, cache_folder
from thor_geo.errors import ConfigError
from thor_geo.sources.earthengine.spec import CredentialsKind
from thor_geo.sources.stac import Sign
from thor_geo.sources.stac.recipe import stac_spec
from thor_geo.specs import check_choice

Backend = Literal["auto", "gee", "emulator", "stac"]

_NAMES: Mapping[str, Source] = {"gee": "earthengine", "emulator": "emulator", "stac": "stac"}


@dataclass(frozen=True, kw_only=True)
class Provider:
    """The arguments of a call that say where its pixels come from.

    Attributes:
        backend: As the caller said it.
        project: Cloud project registered for Earth Engine.
        credentials: Kind of login.
        service_account_file: Path of a service account's JSON key.
        url: Another endpoint than Earth Engine's.
        emulator_archive: Folder of scenes for the emulator.
        stac_url: The catalogue; this and what follows are `StacSpec`'s.
        stac_collection: Its collection.
        stac_assets: Where bands are.
        stac_offset: What to add to reflectances, DN.
        stac_sign: Who signs addresses.
        cache_dir: Where composites are kept.
        fetch_workers: Threads that fetch, as the caller said it.
        given: Whether the caller gives the pixels, so that none are fetched.

    Raises:
        ConfigError: If the backend is unknown, or something was said that another one needs, or,
            with given pixels, any.
    """

    backend: Backend
    project: str | None
    credentials: CredentialsKind
    service_account_file: str | Path | None
    url: str | None
    emulator_archive: str | Path | None
    stac_url: str | Path | None
    stac_collection: str | None
    stac_assets: Mapping[str, str] | None
    stac_offset: int | None
    stac_sign: Sign
    cache_dir: str | Path | None
    fetch_workers: int | None = None
    given: bool = False

    def __post_init__(self) -> None:
        """Validate."""
        check_choice("backend", self.backend, Backend)
        check_choice("stac_sign", self.stac_sign, Sign)
        if self.backend == "auto" and None not in (self.emulator_archive, self.stac_url):
            raise ConfigError(
                "backend",
                self.backend,
                "emulator_archive and stac_url are two sources",
                'Give one of them, or say backend="emulator" or backend="stac".',
            )
        if self.given:
            self._refuse_all()
        for backend, arguments in self._own().items():
            for name, value in arguments.items():
                if value is not None and self.source != _NAMES[backend]:
                    raise ConfigError(
                        name,
                        value,
                        f"the pixels come from {self.source}, where it has no effect",
                        "Leave it out, or give stac_url, too."
                        if self.backend == "auto" and backend == "stac"
                        else f'Leave it out, or use backend="{backend}".',
                    )

    def _refuse_all(self) -> None:
        """Refuse what says how to fetch, as nothing is; the name of a backend alone is let pass."""
        said = {
            **{name: value for own in self._own().values() for name, value in own.items()},
            "project": self.project,
            "credentials": None if self.credentials == "auto" else self.credentials,
            "service_account_file": self.service_account_file,
            "fetch_workers": self.fetch_workers,
            "cache_dir": self.cache_dir,
        }
        for name, value in said.items():
            if value is not None:
                raise ConfigError(
                    name,
                    value,
                    "the pixels are given as input_chw, where it has no effect",
                    "Leave it out, or leave input_chw out to have pixels fetched.",
                )

    def _own(self) -> dict[str, dict[str, Any]]:
        """Return what makes sense for one backend alone, None where it was not given.

        Of Earth Engine the address: an account is no statement about the pixels.
        """
        return {
            "gee": {"url": self.url},
            "emulator": {"emulator_archive": self.emulator_archive},
            "stac": {
                "stac_url": self.stac_url,
                "stac_collection": self.stac_collection,
                "stac_assets": self.stac_assets,
                "stac_offset": self.stac_offset,
                "stac_sign": None if self.stac_sign == "none" else self.stac_sign,
            },
        }

    @property
    def source(self) -> Source:
        """The source of a run that the backend is."""
        if self.backend != "auto":
            return _NAMES[self.backend]
        if self.emulator_archive is not None:
            return "emulator"
        return "earthengine" if self.stac_url is None else "stac"

    def spec(self, sensors: Sensors, threads: int) -> SourceSpec:
        """Return the source; nothing is contacted.

        Args:
            sensors: Bands and recipes.
            threads: Threads that fetch.

        Raises:
            ConfigError: If a catalogue is missing, or the composites are none of its scenes'.
        """
        return SourceSpec(
            source=self.source,
            collections={kind: one.collection for kind, one in sensors.by_kind.items()},
            cache_dir=cache_folder(self.cache_dir),
            project=self.project,
            credentials=self.credentials,
            service_account_file=_optional(self.service_account_file),
            url=self.url,
            emulator_archive=_optional(self.emulator_archive),
            pool_size=threads,
            linked=() if sensors.sentinel2 is None else sensors.sentinel2.linked,
            stac=None
            if self.source != "stac"
            else stac_spec(
                sensors.by_kind.values(),
                None if self.stac_url is None else str(self.stac_url),
                self.stac_collection,
                self.stac_assets,
                self.stac_offset,
                self.stac_sign,
                pool_size=threads,
            ),
        )


def _optional(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser()
