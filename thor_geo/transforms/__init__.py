"""Normalisation of stored pixels, and their inspection beforehand."""

from thor_geo.transforms.inspection import InputReport, inspect_input, unit_problem
from thor_geo.transforms.normalize import (
    ONE_THREAD,
    PIXEL_DTYPES,
    THORNormalize,
    check_input,
    observation_planes,
    stored_range,
)

__all__ = [
    "ONE_THREAD",
    "PIXEL_DTYPES",
    "InputReport",
    "THORNormalize",
    "check_input",
    "inspect_input",
    "observation_planes",
    "stored_range",
    "unit_problem",
]
