"""Signing the addresses of files, right before they are read: a signature is valid for an hour."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from thor_geo.errors import DependencyError
from thor_geo.specs.sources import Sign


def signer(sign: Sign) -> Callable[[str], str]:
    """Return what makes a readable address of an item's.

    Args:
        sign: Who signs.

    Raises:
        DependencyError: If the package that asks the service for signatures is not installed.
    """
    if sign == "none":
        return str
    try:
        module = import_module("planetary_computer")
    except ImportError as error:
        raise DependencyError(
            "`data.stac.sign: planetary_computer` needs the package planetary-computer: "
            "pip install planetary-computer."
        ) from error
    made: Callable[[str], str] = module.sign_url
    return made
