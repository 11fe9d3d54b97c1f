"""Settings that are one of a few words."""

from __future__ import annotations

from typing import Literal, get_args

from thor_geo.errors import ConfigError

Normalize = Literal["thor_stats", "unit_scale", "none", "dataset"]
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
