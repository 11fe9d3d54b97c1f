"""Settings that are one of a few words."""

from __future__ import annotations

from typing import Literal, get_args

from thor_geo.errors import ConfigError

Normalize = Literal["thor_stats", "unit_scale", "none", "dataset", "log1p_p99"]
NodataFill = Literal["value", "mean"]
Merge = Literal["mean", "sum", "concat"]
Pooling = Literal["mean", "max", "grid_mean", "group_mean"]
Implementation = Literal["thorgeo", "official"]
#: What is compared, searched or probed: vectors of whole tiles, or of the cells of their maps.
Unit = Literal["tiles", "cells"]


#: Pixel size in metres where none is given: that of THOR's 10 m groups.
USUAL_RESOLUTION = 10


def check_choice(argument: str, value: object, choices: object) -> None:
    """Refuse a value that is not one of the choices.

    Args:
        argument: Name of the argument, for the message.
        value: Its value.
        choices: A ``Literal`` type.

    Raises:
        ConfigError: If *value* is not among *choices*.
    """
    allowed = get_args(choices)
    if value not in allowed:
        raise ConfigError(
            argument, value, "unknown value", f"Choose from: {', '.join(map(str, allowed))}."
        )


def check_least(least: int, **values: int | None) -> None:
    """Refuse numbers that are too small.

    Args:
        least: The smallest allowed one.
        values: Values by the names of their arguments; None where one is not given.

    Raises:
        ConfigError: If one is smaller.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise ConfigError(name, value, f"less than {least}", f"Give {least} or more.")


def check_pixel_size(argument: str, value: int | None) -> None:
    """Refuse a pixel size that is not a positive whole number of metres; None is one not given.

    Args:
        argument: Name of the argument, for the message.
        value: Its value.

    Raises:
        ConfigError: If it is anything else.
    """
    if value is not None and not (isinstance(value, int) and value > 0):
        raise ConfigError(
            argument, value, "not a positive whole number of metres", "Use 10 for THOR."
        )
