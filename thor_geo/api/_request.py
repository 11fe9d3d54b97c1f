"""What the Python call was asked for: every setting, checked, and who set it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, Literal, SupportsIndex

from thor_geo.api.prep import Cutter, InputPrep, Mode
from thor_geo.datamodules.sensors import Sensors
from thor_geo.errors import ConfigError
from thor_geo.models import checkpoint_path, variant
from thor_geo.specs import (
    Merge,
    NodataFill,
    Normalize,
    OutputSpec,
    SensorSpec,
    check_choice,
)
from thor_geo.specs.bands import STORAGE, BandSelection, select_bands
from thor_geo.specs.environment import Origin, Setting, resolve
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec, channels_of
from thor_geo.transforms.statistics import Statistics

Inspect = Literal["report", "error"]
OutputKind = Literal["pooled", "grid"]

# As the environment variable may say it; `raw` is rs-embed's second name for none.
_ALIASES = {"raw": "none"}


@dataclass(frozen=True, kw_only=True)
class EmbeddingRequest:
    """One call's settings.

    Attributes:
        model_key: Name of the variant.
        pretrained: Whether the published weights are used.
        ckpt: Checkpoint file instead.
        seed: Seed of random weights.
        sensors: Bands and recipes of fetched pixels.
        names: THOR channels or TerraTorch names of given pixels, or nothing.
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
        batch_size: Most inputs in a forward pass.
        fetch_workers: Threads that fetch.
        origins: Who said what, by the name of the argument.
    """

    model_key: str
    pretrained: bool
    ckpt: Path | None
    seed: int
    sensors: Sensors
    names: tuple[str, ...]
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
    batch_size: int
    fetch_workers: int
    origins: Mapping[str, Origin]

    @classmethod
    def of(
        cls,
        model: str | None,
        *,
        sensor: AnySensor | Sequence[AnySensor],
        bands: Sequence[str] | None,
        resolution: int | None,
        output: OutputSpec | OutputKind,
        input_prep: InputPrep | Mode,
        crop: bool,
        inspect: Inspect | None,
        device: str,
        batch_size: int,
        seed: int,
        statistics: str | Path | None,
        clamp_z: bool,
        nodata_fill: NodataFill,
        layers: int | Sequence[int],
        norm: bool,
        settable: Mapping[str, Any],
    ) -> EmbeddingRequest:
        """Take arguments, the environment and defaults together.

        Args:
            model: Name of the model, or None.
            sensor: Bands and recipe of fetched pixels; one sensor, or two in either order.
            bands: THOR channels or TerraTorch names of given pixels; None for the sensor's.
            resolution: Pixel size of given pixels in metres; None for the sensor's.
            output: Vectors or maps; a kind's name will do.
            input_prep: How pixels become inputs; a mode's name will do.
            crop: Whether maps are cut back to the area.
            inspect: Whether and how pixels are looked at.
            device: The device.
            batch_size: Most inputs in a forward pass.
            seed: Seed of random weights.
            statistics: File of measured statistics.
            clamp_z: Whether z-scores are clamped.
            nodata_fill: What pixels without observation become.
            layers: Block, or blocks, whose tokens are taken.
            norm: Whether the final LayerNorm is applied.
            settable: Arguments that the environment can set, by name; None where not given.

        Raises:
            ConfigError: If a value is unknown or out of range.
            BandError: If a band is unknown or repeated.
            CheckpointError: If the checkpoint is no file.
        """
        sensors, output = _sensors(sensor), _output(output)
        if crop and output.kind == "pooled":
            raise ConfigError(
                "crop",
                crop,
                "a vector has no cells that could be cut off",
                "Leave it out, or take output=OutputSpec.grid().",
            )
        given = {"model": model, **settable}
        if given.get("normalize") in _ALIASES:
            given["normalize"] = _ALIASES[given["normalize"]]
        found = {name: resolve(name, value) for name, value in given.items()}
        if found["pretrained"].origin == "argument" and found["ckpt"].origin == "environment":
            # An argument comes before the environment: it says which weights.
            found["ckpt"] = Setting(value=None, origin="argument")
        merge = resolve("group_merge", output.merge)
        value = {name: setting.value for name, setting in found.items()}
        check_choice("normalize", value["normalize"], Normalize)
        for name, number in (
            ("batch_size", batch_size),
            ("fetch_workers", value["fetch_workers"]),
            ("image_size", value["image_size"]),
            ("patch_size", value["patch_size"]),
            ("resolution", 1 if resolution is None else resolution),
        ):
            if not isinstance(number, int) or number < 1:
                raise ConfigError(name, number, "not a positive whole number", "Give 1 or more.")
        if inspect is not None:
            check_choice("inspect", inspect, Inspect)
        ckpt = value["ckpt"]
        return cls(
            model_key=variant(str(value["model"])).model_key,
            pretrained=bool(value["pretrained"]),
            ckpt=None if ckpt is None else checkpoint_path(ckpt),
            seed=seed,
            sensors=sensors,
            names=() if bands is None else tuple(bands),
            selection=sensors.selection if bands is None else select_bands(bands),
            resolution=sensors.resolution if resolution is None else resolution,
            output=output,
            group_merge=merge.value,
            normalize=value["normalize"],
            statistics=None
            if statistics is None
            else Statistics.read(Path(statistics).expanduser()),
            clamp_z=clamp_z,
            nodata_fill=nodata_fill,
            layers=_layers(layers),
            norm=norm,
            patch_size=value["patch_size"],
            image_size=value["image_size"],
            prep=input_prep if isinstance(input_prep, InputPrep) else InputPrep(mode=input_prep),
            crop=crop,
            inspect=inspect,
            device=device,
            batch_size=batch_size,
            fetch_workers=value["fetch_workers"],
            origins={**{name: s.origin for name, s in found.items()}, "group_merge": merge.origin},
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
            found = [STORAGE[band.sensor] for band in self.selection.bands]
            return tuple(
                0.0
                if row.valid_range is not None
                else math.nan
                if row.nodata is None
                else float(row.nodata)
                for row in found
            )
        sensors = self.sensors.by_kind.values()
        return tuple(float(sensor.fill_value) for sensor in sensors for _ in sensor.bands)

    @property
    def has_own_bands(self) -> bool:
        """Whether bands or pixel size are others than the sensors'."""
        return bool(self.names) or self.resolution != self.sensors.resolution

    @property
    def cutter(self) -> Cutter:
        """How images are cut.

        Raises:
            ConfigError: If the image size is no valid side.
        """
        return Cutter(
            prep=self.prep,
            selection=self.selection,
            patch_size=self.patch_size,
            resolution=self.resolution,
            image_size=self.image_size,
        )


def _output(given: OutputSpec | OutputKind) -> OutputSpec:
    if isinstance(given, OutputSpec):
        return given
    check_choice("output", given, OutputKind)
    return OutputSpec(kind=given)


def _layers(given: int | Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(map(index, [given] if isinstance(given, SupportsIndex) else given))
    except TypeError as error:
        raise ConfigError(
            "layers", given, "neither a block's number nor several", "Give e.g. -1, or [-4, -1]."
        ) from error


def _sensors(given: AnySensor | Sequence[AnySensor]) -> Sensors:
    every = list(given) if isinstance(given, Sequence) else [given]
    kinds = [type(sensor) for sensor in every]
    if not every or set(kinds) - {SensorSpec, Sentinel1Spec} or len(set(kinds)) < len(kinds):
        raise ConfigError(
            "sensor",
            given,
            "not one sensor, nor one of each kind",
            "Give a SensorSpec (Sentinel-2), a Sentinel1Spec, or both in a list.",
        )
    return Sensors(
        resolution=every[0].scale_m,
        sentinel2=next((one for one in every if isinstance(one, SensorSpec)), None),
        sentinel1=next((one for one in every if isinstance(one, Sentinel1Spec)), None),
    )
