"""The settings of a Python call, checked, and where each comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex, cast

from thor_geo.api._bands import model_names
from thor_geo.api._cutter import Cutter
from thor_geo.api._options import Inspect, Options
from thor_geo.api.prep import InputPrep
from thor_geo.datamodules.sensors import Sensors
from thor_geo.errors import ConfigError
from thor_geo.ground.chips import chip_unit
from thor_geo.models import checkpoint_path, variant
from thor_geo.specs import (
    Merge,
    NodataFill,
    Normalize,
    OutputKind,
    OutputSpec,
    SensorSpec,
    check_choice,
)
from thor_geo.specs.bands import STORAGE, BandSelection, select_bands
from thor_geo.specs.environment import Origin, Setting, resolve
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec, channels_of
from thor_geo.specs.sources import expanded_path
from thor_geo.transforms.statistics import Statistics

# As the environment variable may say it; `raw` is rs-embed's second name for none.
_ALIASES = {"raw": "none"}

# The options that the environment can set.
_FROM_ENVIRONMENT = (
    "ckpt",
    "pretrained",
    "image_size",
    "normalize",
    "patch_size",
    "fetch_workers",
)


@dataclass(frozen=True, kw_only=True)
class EmbeddingRequest:
    """One call's settings.

    Attributes:
        model_key: Name of the variant.
        pretrained: Whether the published weights are used.
        ckpt: Checkpoint file instead.
        seed: Seed of random weights.
        sensors: Bands and recipes of fetched pixels.
        names: Bands of given pixels that the model takes as they are; nothing for the sensor's.
        plane_names: Names of given planes among which the sensor's bands are; nothing if they are
            in the sensor's order, or tell their names themselves.
        input_scale: Factor from given values to the physical unit; None for stored units.
        selection: The bands, as the encoder wants them.
        resolution: Pixel size in metres.
        output: Vectors or maps.
        group_merge: How the groups' maps become one.
        normalize: How pixels are normalised.
        statistics: Measured statistics, for ``dataset``.
        clamp_z: Whether z-scores are clamped as in pre-training.
        nodata_fill: What pixels without observation become.
        layers: Blocks whose tokens are taken.
        norm: Whether the final LayerNorm is applied.
        patch_size: Side of a patch in pixels of each group's own grid.
        image_size: Side of tiles and of resized inputs, pixels.
        prep: How pixels of any extent become inputs.
        crop: Whether maps are cut back to the area.
        inspect: Whether pixels are looked at, and whether bad ones are refused.
        device: ``auto``, or a device of PyTorch.
        batch_size: Most inputs in a forward pass; None leaves it to the device.
        fetch_workers: Threads that fetch.
        origins: Where values come from, by the name of the argument.
    """

    model_key: str
    pretrained: bool
    ckpt: Path | None
    seed: int
    sensors: Sensors
    names: tuple[str, ...]
    plane_names: tuple[str, ...]
    input_scale: float | None
    selection: BandSelection
    resolution: int
    output: OutputSpec
    group_merge: Merge
    normalize: Normalize
    statistics: Statistics | None
    clamp_z: bool
    nodata_fill: NodataFill
    layers: tuple[int, ...]
    norm: bool
    patch_size: int
    image_size: int
    prep: InputPrep
    crop: bool
    inspect: Inspect | None
    device: str
    batch_size: int | None
    fetch_workers: int
    origins: Mapping[str, Origin]

    @classmethod
    def from_options(cls, model: str | None, options: Options) -> EmbeddingRequest:
        """Take options, the environment and defaults together.

        Args:
            model: Name of the model, or None.
            options: Options of the call, see `EmbeddingOptions`.

        Raises:
            ConfigError: If a value is unknown or out of range.
            BandError: If a band is unknown or repeated.
            CheckpointError: If the checkpoint is not a file.
        """
        sensors = _sensors(_option(options, "sensor", SensorSpec()))
        output = _output(_option(options, "output", "pooled"), crop=options.get("crop", False))
        settings = _with_environment(model, options, output)
        value = {name: setting.value for name, setting in settings.items()}
        resolution = options.get("resolution")
        planes = tuple(options.get("bands") or ())
        names = model_names(planes) if options.get("sensor") is None else ()
        batch_size = options.get("batch_size")
        _check_positive(
            batch_size=1 if batch_size is None else batch_size,
            resolution=sensors.resolution if resolution is None else resolution,
            **{name: value[name] for name in ("fetch_workers", "image_size", "patch_size")},
        )
        check_choice("normalize", value["normalize"], Normalize)
        if (inspect := options.get("inspect")) is not None:
            check_choice("inspect", inspect, Inspect)
        ckpt, statistics = value["ckpt"], expanded_path(options.get("statistics"))
        prep = options.get("input_prep", "auto")
        return cls(
            model_key=variant(str(value["model"])).model_key,
            pretrained=bool(value["pretrained"]),
            ckpt=None if ckpt is None else checkpoint_path(ckpt),
            seed=options.get("seed", 0),
            sensors=sensors,
            names=names,
            plane_names=() if names else planes,
            input_scale=_scale(options.get("input_scale")),
            selection=select_bands(names) if names else sensors.selection,
            resolution=sensors.resolution if resolution is None else resolution,
            output=output,
            group_merge=value["group_merge"],
            normalize=value["normalize"],
            statistics=None if statistics is None else Statistics.read(statistics),
            clamp_z=options.get("clamp_z", False),
            nodata_fill=options.get("nodata_fill", "value"),
            layers=_layers(options.get("layers", -1)),
            norm=options.get("norm", False),
            patch_size=value["patch_size"],
            image_size=value["image_size"],
            prep=prep if isinstance(prep, InputPrep) else InputPrep(mode=prep),
            crop=options.get("crop", False),
            inspect=inspect,
            device=options.get("device", "auto"),
            batch_size=batch_size,
            fetch_workers=value["fetch_workers"],
            origins={name: setting.origin for name, setting in settings.items()},
        )

    @property
    def bands(self) -> list[str]:
        """Names under which the model takes the planes."""
        if self.names:
            return list(self.names)
        return channels_of(self.sensors.by_kind.values())

    @property
    def fill_values(self) -> tuple[float, ...]:
        """Value of pixels without observation, plane by plane; NaN where it is any but finite."""
        if self.names:
            # As stored: what the normalisation takes for no data.
            rows = [STORAGE[band.sensor] for band in self.selection.bands]
            return tuple(
                0.0
                if row.valid_range is not None
                else math.nan
                if row.nodata is None
                else float(row.nodata)
                for row in rows
            )
        sensors = self.sensors.by_kind.values()
        return tuple(float(sensor.fill_value) for sensor in sensors for _ in sensor.bands)

    @property
    def has_own_resolution(self) -> bool:
        """Whether the pixel size differs from the sensors'."""
        return self.resolution != self.sensors.resolution

    @property
    def chip_unit(self) -> int:
        """Side in pixels of the coarsest band's pixel, on whose corners chips of places lie."""
        return chip_unit(self.selection, self.resolution)

    @property
    def cutter(self) -> Cutter:
        """How images are cut.

        Raises:
            ConfigError: If the image size is not a valid side.
        """
        return Cutter(
            prep=self.prep,
            selection=self.selection,
            patch_size=self.patch_size,
            resolution=self.resolution,
            image_size=self.image_size,
        )


def _option(options: Options, name: str, default: Any) -> Any:
    """Return an option, or its default where it is left out or None."""
    value = options.get(name)
    return default if value is None else value


def _with_environment(
    model: str | None, options: Options, output: OutputSpec
) -> dict[str, Setting]:
    """Return the settings that the environment can set, and where each comes from."""
    arguments: dict[str, Any] = {
        "model": model,
        **{name: options.get(name) for name in _FROM_ENVIRONMENT},
    }
    if arguments["normalize"] in _ALIASES:
        arguments["normalize"] = _ALIASES[arguments["normalize"]]
    settings = {name: resolve(name, value) for name, value in arguments.items()}
    if settings["pretrained"].origin == "argument" and settings["ckpt"].origin == "environment":
        # An argument comes before the environment: it says which weights.
        settings["ckpt"] = Setting(value=None, origin="argument")
    return {**settings, "group_merge": resolve("group_merge", output.merge)}


def _check_positive(**numbers: Any) -> None:
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ConfigError(name, number, "not a positive whole number", "Give 1 or more.")


def _scale(scale: Any) -> float | None:
    if scale is None:
        return None
    if not isinstance(scale, int | float) or not (math.isfinite(scale) and scale > 0):
        raise ConfigError(
            "input_scale",
            scale,
            "not a positive number",
            "Give what turns values into reflectance 0..1, decibels or kelvin: 1, 0.0001, ...",
        )
    return float(scale)


def _output(output: OutputSpec | OutputKind, *, crop: bool) -> OutputSpec:
    if not isinstance(output, OutputSpec):
        check_choice("output", output, OutputKind)
        output = OutputSpec(kind=output)
    if crop and output.kind != "grid":
        raise ConfigError(
            "crop",
            crop,
            "a vector has no cells that could be cut off",
            "Leave it out, or use output=OutputSpec.grid().",
        )
    return output


def _layers(layers: int | Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(map(index, [layers] if isinstance(layers, SupportsIndex) else layers))
    except TypeError as error:
        raise ConfigError(
            "layers", layers, "neither a block's number nor several", "Give e.g. -1, or [-4, -1]."
        ) from error


def _sensors(sensor: AnySensor | Sequence[AnySensor]) -> Sensors:
    sensors = list(sensor) if isinstance(sensor, Sequence) else [sensor]
    by_kind = {type(each): each for each in sensors}
    if not sensors or set(by_kind) - {SensorSpec, Sentinel1Spec} or len(by_kind) < len(sensors):
        raise ConfigError(
            "sensor",
            sensor,
            "not one sensor, nor one of each kind",
            "Give a SensorSpec (Sentinel-2), a Sentinel1Spec, or both in a list.",
        )
    return Sensors.on_grid(
        sensors[0].resolution,
        cast(SensorSpec | None, by_kind.get(SensorSpec)),
        cast(Sentinel1Spec | None, by_kind.get(Sentinel1Spec)),
    )
