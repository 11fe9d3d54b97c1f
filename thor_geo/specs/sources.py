"""Where composites come from: one dataclass for each source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from thor_geo.errors import ConfigError
from thor_geo.specs.bands import BANDS
from thor_geo.specs.choices import check_choice

CredentialsKind = Literal["auto", "user", "service_account", "application_default", "anonymous"]
Sign = Literal["none", "planetary_computer"]

#: Names of the bands that `StacSpec.assets` can locate.
_LOCATABLE = (*(str(band.ee_name) for band in BANDS if band.sensor == "S2"), "SCL")

#: A place in `StacSpec.assets`: an asset's key, perhaps with the number of the band in its file.
_ASSET = re.compile(r"[^#\s]+(#[1-9]\d*)?")


def expanded_path(path: str | Path | None) -> Path | None:
    """Return a path with ``~`` resolved; None for none."""
    return None if path is None else Path(path).expanduser()


@dataclass(frozen=True, kw_only=True)
class EarthEngineSpec:
    """Google Earth Engine, which computes the composites; needs an account and a cloud project.

    Attributes:
        project: Id of a cloud project that is registered for Earth Engine. None for the project
            that comes with the credentials.
        credentials: How to sign in: ``auto``, ``service_account``, ``user`` (what ``earthengine
            authenticate`` stored) or ``application_default``, of which ``auto`` takes the first
            that there is; or ``anonymous``, for servers on this machine.
        service_account_file: Path of a service account's JSON key.
        url: Another address than Earth Engine's high-volume endpoint.

    Raises:
        ConfigError: If a choice is unknown, the key file is missing, or the URL is not http(s).
    """

    project: str | None = None
    credentials: CredentialsKind = "auto"
    service_account_file: Path | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        """Validate, and turn a path given as text into a Path."""
        check_choice("earthengine.credentials", self.credentials, CredentialsKind)
        if self.service_account_file is not None:
            path = expanded_path(self.service_account_file)
            object.__setattr__(self, "service_account_file", path)
        elif self.credentials == "service_account":
            raise ConfigError(
                "earthengine.service_account_file",
                None,
                "credentials='service_account' needs a key file",
                "Give the path of the service account's JSON key.",
            )
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ConfigError(
                "earthengine.url",
                self.url,
                "not an http(s) address",
                "Leave it out for Earth Engine itself.",
            )


@dataclass(frozen=True, kw_only=True)
class EmulatorSpec:
    """An emulated Earth Engine on this machine, over a folder of scenes; needs no account.

    Attributes:
        archive: Folder of scenes; None generates a landscape across 12 E. Scenes of another
            collection lie in a folder below it, named by the collection's id or S1_GRD.
    """

    archive: Path | None = None

    def __post_init__(self) -> None:
        """Turn a path given as text into a Path."""
        object.__setattr__(self, "archive", expanded_path(self.archive))


@dataclass(frozen=True, kw_only=True)
class StacSpec:
    """A STAC API or a static STAC catalogue, whose files are read directly; needs no account.

    Attributes:
        url: Root of a STAC API, or address or path of a static catalogue.
        collection: Id of the catalogue's collection; None takes every item of a static catalogue;
            an API needs one.
        assets: Assets of bands that the items' metadata does not name, e.g. ``{B4: red}``, or
            ``{B4: KEY#2}`` for the second band of a file.
        offset: Number to add to every reflectance, DN; None for what each item says. 0 for
            reflectance x 10,000, -1000 for ESA's files since baseline 04.00.
        sign: Service that signs the addresses of files: ``planetary_computer`` or ``none``.
        exclude: Ids of items to leave out, e.g. of scenes known to be wrong.

    Raises:
        ConfigError: If a value is out of range or a choice unknown.
    """

    url: str
    collection: str | None = None
    assets: Mapping[str, str] = field(default_factory=dict)
    offset: int | None = None
    sign: Sign = "none"
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validate, and turn a path into text."""
        object.__setattr__(self, "url", str(self.url))
        object.__setattr__(self, "exclude", _ids(self.exclude))
        check_choice("stac.sign", self.sign, Sign)
        if not self.url or ("://" in self.url and not self.url.startswith(("http://", "https://"))):
            raise ConfigError(
                "stac.url",
                self.url,
                "neither an http(s) address nor a path",
                "Give the root of a STAC API, e.g. https://earth-search.aws.element84.com/v1, or "
                "the path of a catalog.json.",
            )
        self._check_assets()
        if self.offset is not None and not (
            isinstance(self.offset, int) and -10000 <= self.offset <= 10000
        ):
            raise ConfigError(
                "stac.offset",
                self.offset,
                "not a whole number of DN between -10000 and 10000",
                "Give 0 where the files hold reflectance x 10000, -1000 where they hold what ESA "
                "publishes since processing baseline 04.00.",
            )

    def _check_assets(self) -> None:
        for band, place in self.assets.items():
            if band not in _LOCATABLE:
                raise ConfigError(
                    "stac.assets",
                    band,
                    "not a Sentinel-2 band",
                    f"Choose from: {', '.join(_LOCATABLE)}.",
                )
            if not (isinstance(place, str) and _ASSET.fullmatch(place)):
                raise ConfigError(
                    "stac.assets",
                    f"{band}: {place}",
                    "not the key of an asset",
                    "Give the key, e.g. red, or red#2 for the second band of the asset's file.",
                )


def _ids(ids: object) -> tuple[str, ...]:
    """Return ids of items, each once.

    Raises:
        ConfigError: If they are not a list of texts.
    """
    if isinstance(ids, list | tuple | set) and all(isinstance(one, str) and one for one in ids):
        return tuple(sorted(set(ids)))
    raise ConfigError(
        "stac.exclude", ids, "not a list of ids", "Give the items' ids, e.g. [ID] or [ID, ID]."
    )


#: Where the composites of a run or a call come from.
AnySource: TypeAlias = EarthEngineSpec | EmulatorSpec | StacSpec

#: The settings that name a source, and their classes.
SOURCES: Mapping[str, type[AnySource]] = {
    "earthengine": EarthEngineSpec,
    "emulator": EmulatorSpec,
    "stac": StacSpec,
}


def source_name(source: AnySource) -> str:
    """Return the setting that names a source: ``earthengine``, ``emulator`` or ``stac``."""
    return next(name for name, kind in SOURCES.items() if isinstance(source, kind))


def chosen_source(**sources: AnySource | None) -> AnySource:
    """Return the one source that is named.

    Args:
        sources: The sources by the name of their setting; None where it is not named.

    Raises:
        ConfigError: If none is named, or more than one.
    """
    named = {name: source for name, source in sources.items() if source is not None}
    if len(named) == 1:
        return next(iter(named.values()))
    keys = [f"data.{name}" for name in SOURCES]
    if named:
        first, *others = (f"data.{name}" for name in named)
        raise ConfigError(
            first,
            next(iter(named.values())),
            f"set together with {' and '.join(others)}, but composites come from one source",
            "Keep one of them and set the rest to null.",
        )
    raise ConfigError(
        "data",
        None,
        "no source of composites is set",
        f"Set one of {', '.join(keys[:-1])} and {keys[-1]}: "
        "for example --data.earthengine.project=my-project.",
    )
