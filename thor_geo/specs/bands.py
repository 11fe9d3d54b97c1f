"""The one table of bands: what Earth Engine, TerraTorch and THOR call each of them.

Source of channels, groups, GSDs and statistics: THOR 1.0, as published with its pre-training
statistics (mean and standard deviation; Sentinel-2 and OLCI/SLSTR reflectance in 0..1, SLSTR
brightness temperature in kelvin, Sentinel-1 sigma0 in decibel). Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from thor_geo.errors import BandError

Sensor = Literal["S1", "S2", "S3"]

#: Nominal GSD in metres of the ten groups, in order; groups 3 and 4 (Sentinel-1) can be overridden.
GROUP_GSD: tuple[int, ...] = (10, 20, 60, 10, 10, 240, 240, 240, 480, 960)

#: GSD in metres from which the Sentinel-1 statistics of the 60 m column apply.
S1_COARSE_GSD = 60


@dataclass(frozen=True, kw_only=True)
class Band:
    """One of THOR's 50 input channels; IW and EW share weights, so there are 46 sets of those.

    Attributes:
        channel: THOR's channel name, e.g. ``S2:Red``.
        sensor: ``S1``, ``S2`` or ``S3``.
        group: Number of the spectral group, 0 to 9.
        gsd: Ground sampling distance in metres at which THOR embeds the channel.
        names: Names TerraTorch knows it by; the first is the usual one.
        ee_name: Band name in the Earth Engine collection, or None where there is none.
        weight: Name of its patch-embedding weights (IW and EW of Sentinel-1 share them).
        mean: Pre-training mean, in the sensor's physical unit.
        std: Pre-training standard deviation, in the same unit.
        coarse: Mean and standard deviation at 60 m (Sentinel-1 only).
    """

    channel: str
    sensor: Sensor
    group: int
    gsd: int
    names: tuple[str, ...]
    ee_name: str | None
    weight: str
    mean: float
    std: float
    coarse: tuple[float, float] | None = None

    def statistics(self, gsd: int | None = None) -> tuple[float, float]:
        """Return mean and standard deviation at a GSD.

        Args:
            gsd: Ground sampling distance in metres; the band's own by default. Only Sentinel-1 has
                a second row, for 60 m and coarser.

        Returns:
            Mean and standard deviation in the sensor's physical unit.
        """
        if self.coarse is not None and gsd is not None and gsd >= S1_COARSE_GSD:
            return self.coarse
        return self.mean, self.std


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How a sensor's composites are kept on disk and in samples.

    Attributes:
        disk: NumPy dtype name on disk.
        sample: Torch dtype name in samples.
        scale: Physical value of one stored unit (reflectance, decibel or as is).
        valid_range: Smallest and largest stored value; values outside are clamped and counted.
        nodata: Stored value of a pixel without data, if it is not also a possible value; None if
            the fill value is one.
    """

    disk: str
    sample: str
    scale: float
    valid_range: tuple[int, int] | None
    nodata: int | None = None


#: Storage of composites by sensor. Sentinel-2 L2A reflectance is quantised by 10,000 (Sentinel-2
#: Products Specification Document: QUANTIFICATION_VALUE). Sentinel-1 as hundredths of a dB: int16
#: spans -327.67 to 327.67 dB, its lowest value is left for "no data".
STORAGE: dict[Sensor, Storage] = {
    "S2": Storage(disk="uint16", sample="int16", scale=1e-4, valid_range=(0, 10000)),
    "S1": Storage(disk="int16", sample="int16", scale=1e-2, valid_range=None, nodata=-32768),
    "S3": Storage(disk="float32", sample="float32", scale=1.0, valid_range=None),
}

# name, group, TerraTorch name, Earth Engine name, mean, std. Order: group, then member.
_S2 = (
    ("Red", 0, "RED", "B4", 0.213948, 0.259180),
    ("Green", 0, "GREEN", "B3", 0.195923, 0.252949),
    ("Blue", 0, "BLUE", "B2", 0.176620, 0.264520),
    ("NIR", 0, "NIR_BROAD", "B8", 0.308133, 0.226434),
    ("RE1", 1, "RED_EDGE_1", "B5", 0.263378, 0.272771),
    ("RE2", 1, "RED_EDGE_2", "B6", 0.300818, 0.248175),
    ("RE3", 1, "RED_EDGE_3", "B7", 0.313144, 0.235432),
    ("RE4", 1, "NIR_NARROW", "B8A", 0.320993, 0.223274),
    ("SWIR1", 1, "SWIR_1", "B11", 0.221550, 0.171606),
    ("SWIR2", 1, "SWIR_2", "B12", 0.175772, 0.156223),
    # "Aerosal" is THOR's own spelling, and part of the state-dict keys.
    ("CoastAerosal", 2, "COASTAL_AEROSOL", "B1", 0.182569, 0.282463),
    ("WaterVapor", 2, "WATER_VAPOR", "B9", 0.322589, 0.235857),
)
# mode, polarisation, group, 10 m mean and std, 60 m mean and std. Order: group, then member.
_S1 = (
    ("IW", "VH", 3, -20.6958, 5.8688, -20.6672, 5.9634),
    ("IW", "VV", 3, -12.9850, 5.0062, -13.0095, 5.2439),
    ("EW", "VH", 3, -23.5719, 6.8895, -23.2024, 7.0584),
    ("EW", "VV", 3, -13.9046, 6.3085, -13.1240, 5.5013),
    ("IW", "HV", 4, -22.4575, 6.9106, -21.2863, 7.6221),
    ("IW", "HH", 4, -13.9485, 6.8015, -13.0126, 7.1580),
    ("EW", "HV", 4, -22.6922, 7.2472, -21.7450, 7.4658),
    ("EW", "HH", 4, -12.7691, 6.6416, -12.1138, 6.5830),
)
# OLCI Oa01 to Oa21: mean, std of reflectance.
_OLCI = (
    (0.418360, 0.271155),
    (0.407687, 0.276213),
    (0.384837, 0.286278),
    (0.356827, 0.291605),
    (0.342093, 0.284960),
    (0.313561, 0.259517),
    (0.305947, 0.260534),
    (0.326632, 0.286289),
    (0.329984, 0.290304),
    (0.331824, 0.291953),
    (0.348113, 0.281539),
    (0.394400, 0.265238),
    (0.101062, 0.066239),
    (0.188930, 0.122599),
    (0.352127, 0.233035),
    (0.394914, 0.258835),
    (0.402817, 0.251323),
    (0.398475, 0.244922),
    (0.312429, 0.213306),
    (0.166702, 0.156878),
    (0.380989, 0.209298),
)
# SLSTR S1 to S6 (reflectance) and S7 to S9 (brightness temperature, kelvin): mean, std.
_SLSTR = (
    (0.338953, 0.280222),
    (0.339034, 0.294075),
    (0.405393, 0.262460),
    (0.010942, 0.030842),
    (0.184803, 0.140885),
    (0.137453, 0.109526),
    (286.190167, 21.070093),
    (278.423815, 22.109991),
    (277.117165, 21.526558),
)


def _s2_bands() -> list[Band]:
    return [
        Band(
            channel=f"S2:{name}",
            sensor="S2",
            group=group,
            gsd=GROUP_GSD[group],
            names=(terratorch,),
            ee_name=ee_name,
            weight=f"S2:{name}",
            mean=mean,
            std=std,
        )
        for name, group, terratorch, ee_name, mean, std in _S2
    ]


def _s1_bands() -> list[Band]:
    bands = []
    for mode, pol, group, mean, std, mean_60, std_60 in _S1:
        names: tuple[str, ...] = (f"{mode}_{pol}",)
        if mode == "IW" and pol in ("VV", "VH"):
            names = (pol, f"ASC_{pol}", f"DSC_{pol}", f"IW_{pol}")
        bands.append(
            Band(
                channel=f"S1:{mode}-{pol}",
                sensor="S1",
                group=group,
                gsd=GROUP_GSD[group],
                names=names,
                ee_name=pol,
                weight=f"S1:{pol}",
                mean=mean,
                std=std,
                coarse=(mean_60, std_60),
            )
        )
    return bands


def _s3_bands() -> list[Band]:
    rows: list[tuple[str, int, tuple[float, float]]] = []
    for k, stats in enumerate(_OLCI, start=1):
        rows.append((f"Oa{k:02d}_reflectance", 5 + (k - 1) // 7, stats))
    for k, stats in enumerate(_SLSTR, start=1):
        rows.append(
            (f"S{k}_reflectance_an" if k <= 6 else f"S{k}_BT_in", 8 if k <= 6 else 9, stats)
        )
    return [
        Band(
            channel=f"S3:{name}",
            sensor="S3",
            group=group,
            gsd=GROUP_GSD[group],
            names=(name.upper(),),
            ee_name=f"Oa{name[2:4]}_radiance" if name.startswith("Oa") else None,
            weight=f"S3:{name}",
            mean=stats[0],
            std=stats[1],
        )
        for name, group, stats in rows
    ]


#: All 50 channels (46 sets of weights), by group and then by member: the order in which THOR
#: averages them.
BANDS: tuple[Band, ...] = tuple(
    sorted(_s2_bands() + _s1_bands() + _s3_bands(), key=lambda band: band.group)
)

#: THOR's default request when no bands are named (12 Sentinel-2 bands, VV and VH), as TerraTorch
#: names.
DEFAULT_MODEL_BANDS: tuple[str, ...] = (
    "COASTAL_AEROSOL",
    "BLUE",
    "GREEN",
    "RED",
    "NIR_BROAD",
    "RED_EDGE_1",
    "RED_EDGE_2",
    "RED_EDGE_3",
    "NIR_NARROW",
    "SWIR_1",
    "SWIR_2",
    "WATER_VAPOR",
    "VV",
    "VH",
)

#: The ten Sentinel-2 bands at 10 and 20 m, as Earth Engine names in sensor order.
S2_DEFAULT_BANDS: tuple[str, ...] = (
    "B2",
    "B3",
    "B4",
    "B5",
    "B6",
    "B7",
    "B8",
    "B8A",
    "B11",
    "B12",
)

_BY_NAME: dict[str, Band] = {name: band for band in BANDS for name in band.names}
_BY_CHANNEL: dict[str, Band] = {band.channel: band for band in BANDS}
_BY_CHANNEL_UPPER: dict[str, Band] = {band.channel.upper(): band for band in BANDS}
# Of the polarisations only those of IW: the names of both modes are the same.
_BY_EE_NAME: dict[str, Band] = {
    band.ee_name: band for band in reversed(BANDS) if band.ee_name and band.sensor != "S3"
}
_ZERO = re.compile(r"^B0(?=\d)")
_POLARISATIONS = frozenset({"VV", "VH", "HH", "HV"})
# Polarisation, then an integer as the last component: `VV_60`, `IW_HH_240`.
_SUFFIX = re.compile(r"^(?P<base>.+)_(?P<gsd>\d+)$")


@dataclass(frozen=True, kw_only=True)
class BandSelection:
    """A validated request for bands.

    Attributes:
        bands: The channels in the order of the request (plane i of the input is ``bands[i]``).
        group_gsd: GSD in metres of all ten groups, with Sentinel-1 suffixes applied.
    """

    bands: tuple[Band, ...]
    group_gsd: tuple[int, ...] = field(default=GROUP_GSD)

    @property
    def gsds(self) -> tuple[int, ...]:
        """GSD in metres of every plane, in the order of the request."""
        return tuple(self.group_gsd[band.group] for band in self.bands)

    @property
    def groups(self) -> dict[int, tuple[Band, ...]]:
        """The used groups, ascending, each with its requested members in table order."""
        used = sorted({band.group for band in self.bands})
        return {
            group: tuple(band for band in BANDS if band.group == group and band in self.bands)
            for group in used
        }

    @property
    def min_gsd(self) -> int:
        """Smallest GSD in metres of all ten groups, used or not."""
        return min(self.group_gsd)

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and standard deviations of the planes, in the order of the request."""
        pairs = [band.statistics(gsd) for band, gsd in zip(self.bands, self.gsds, strict=True)]
        return tuple(mean for mean, _ in pairs), tuple(std for _, std in pairs)


def find_band(name: str) -> Band | None:
    """Return the band that a name means, or None for a name that is not a band's of THOR.

    Args:
        name: TerraTorch's name, THOR's channel, or that of Earth Engine for Sentinel-2 or
            Sentinel-1, in any case and with or without a zero (``B2``, ``b02``, ``B08A``).
    """
    upper = _ZERO.sub("B", name.strip().upper())
    return _BY_NAME.get(upper) or _BY_CHANNEL_UPPER.get(upper) or _BY_EE_NAME.get(upper)


def _split_suffix(name: str) -> tuple[str, int | None]:
    match = _SUFFIX.match(name)
    if match and _POLARISATIONS & set(match["base"].split("_")):
        return match["base"], int(match["gsd"])
    return name, None


def select_bands(names: Iterable[str]) -> BandSelection:
    """Resolve TerraTorch band names to THOR channels.

    Args:
        names: TerraTorch names (``RED``, ``VV``) or THOR channels (``S2:Red``). A Sentinel-1 name
            may end in a GSD in metres (``VV_60``), which then holds for its whole group; of
            conflicting suffixes the last wins.

    Returns:
        The selection, in the order of *names*.

    Raises:
        BandError: If *names* is empty, a name is unknown, a suffix is zero, or two names mean one
            channel.
    """
    names = list(names)
    if not names:
        raise BandError("bands", names, "no band is named", "Name at least one band.")
    bands: list[Band] = []
    group_gsd = list(GROUP_GSD)
    for name in names:
        base, gsd = _split_suffix(name)
        band = _BY_NAME.get(base) or _BY_CHANNEL.get(base)
        if band is None:
            known = ", ".join(sorted(_BY_NAME))
            why = (
                "THOR was trained without band B10 (CIRRUS)"
                if base == "CIRRUS"
                else "THOR has no such channel"
            )
            raise BandError("bands", name, why, f"Choose from: {known}.")
        if band in bands:
            raise BandError(
                "bands",
                name,
                f"{band.channel} is named twice (as {names[bands.index(band)]!r} and {name!r})",
                "Name every channel once.",
            )
        if gsd is not None:
            if gsd <= 0:
                raise BandError("bands", name, "a GSD of 0 m", "Use a suffix such as VV_60.")
            group_gsd[band.group] = gsd
        bands.append(band)
    return BandSelection(bands=tuple(bands), group_gsd=tuple(group_gsd))


def bands_from_ee(names: Sequence[str], *, sensor: Sensor = "S2") -> tuple[Band, ...]:
    """Resolve Earth Engine band names of one sensor to bands.

    Args:
        names: Earth Engine band names, e.g. ``B4``, ``B8A``.
        sensor: The sensor whose collection they are from.

    Returns:
        The bands, in the order of *names*.

    Raises:
        BandError: If *names* is empty, or a name is unknown or repeated.
    """
    table = {band.ee_name: band for band in reversed(BANDS) if band.sensor == sensor}
    table.pop(None, None)
    if not names:
        raise BandError("bands", names, "no band is named", "Name at least one band.")
    for k, name in enumerate(names):
        if name not in table:
            known = ", ".join(
                str(band.ee_name) for band in BANDS if band.sensor == sensor and band.ee_name
            )
            hint = " (THOR was trained without B10)" if name == "B10" else ""
            raise BandError(
                "bands",
                name,
                f"no {sensor} band of THOR has this name{hint}",
                f"Choose from: {known}.",
            )
        if name in names[:k]:
            raise BandError("bands", name, "the band is named twice", "Name every band once.")
    return tuple(table[name] for name in names)
