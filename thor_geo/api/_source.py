"""Where the pixels of a call come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

from thor_geo.api._options import Backend, Options
from thor_geo.datamodules.sensors import Sensors
from thor_geo.datamodules.source import CompositeSource, cache_location
from thor_geo.errors import ConfigError
from thor_geo.specs.sources import AnySource, EarthEngineSpec, EmulatorSpec, StacSpec

_NAMED: Mapping[object, type[EarthEngineSpec | EmulatorSpec]] = {
    "auto": EarthEngineSpec,
    "gee": EarthEngineSpec,
    "emulator": EmulatorSpec,
}

# Options that say how pixels are fetched. The name of a backend alone is let pass.
_FETCHING = ("project", "fetch_workers", "cache_dir", "cache_store")


def composite_source(options: Options, sensors: Sensors, threads: int) -> CompositeSource:
    """Return where a call's composites come from; nothing is contacted.

    Args:
        options: The options of the call.
        sensors: Bands and recipes.
        threads: Threads that fetch.

    Raises:
        ConfigError: If the backend is unknown or incomplete, or cannot make such composites.
    """
    return CompositeSource(
        source=_source(options),
        sensors=sensors,
        cache_dir=cache_location(options.get("cache_dir"), options.get("cache_store")),
        pool_size=threads,
    )


def _source(options: Options) -> AnySource:
    backend, project = options.get("backend", "auto"), options.get("project")
    if isinstance(backend, EmulatorSpec | StacSpec):
        return backend
    if isinstance(backend, EarthEngineSpec):
        if None not in (project, backend.project):
            raise ConfigError(
                "project",
                project,
                f"backend has the project {backend.project!r}",
                "Give one of them.",
            )
        return backend if project is None else replace(backend, project=project)
    if backend == "stac":
        raise ConfigError(
            "backend",
            backend,
            "a catalogue is needed",
            "Give backend=StacSpec(url=...): the root of a STAC API, e.g. "
            "https://earth-search.aws.element84.com/v1, or the path of a catalog.json.",
        )
    kind = _NAMED.get(backend) if isinstance(backend, str) else None
    if kind is None:
        raise ConfigError(
            "backend",
            backend,
            "unknown value",
            f"Choose from: {', '.join(get_args(Backend))}; or give an EarthEngineSpec, an "
            "EmulatorSpec or a StacSpec.",
        )
    return EarthEngineSpec(project=project) if kind is EarthEngineSpec else kind()


def refuse_fetching(options: Options, given: str) -> None:
    """Refuse options that say how pixels are fetched, for a call that has its own pixels.

    Args:
        options: The options of the call.
        given: Argument that holds the pixels.

    Raises:
        ConfigError: If there is one.
    """
    backend = options.get("backend")
    options = {
        "backend": None if isinstance(backend, str) else backend,
        **{name: options.get(name) for name in _FETCHING},
    }
    for name, value in options.items():
        if value is not None:
            raise ConfigError(
                name,
                value,
                f"the pixels are given as {given}, where it has no effect",
                f"Leave it out, or leave {given} out to have pixels fetched.",
            )
