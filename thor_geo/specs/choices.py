"""Settings that are one of a few words."""

from __future__ import annotations

from typing import Literal, get_args

from thor_geo.errors import ConfigError

Normalize = Literal["thor_stats", "unit_scale", "none", "dataset", "log1p_p99"]
NodataFill = Literal["value", "mean"]
Merge = Literal["mean", "sum", "concat"]
Pooling = Literal["mean", "max", "grid_mean", "group_mean"]
Implementation = Literal["thorgeo", "official"]


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


def check_least(least: int, **values: int) -> None:
    """Refuse numbers that are too small.

    Args:
        least: The smallest allowed one.
        values: Values by the names of their arguments.

    Raises:
        ConfigError: If one is smaller.
    """
    for name, value in values.items():
        if value < least:
            raise ConfigError(name, value, f"less than {least}", f"Give {least} or more.")
