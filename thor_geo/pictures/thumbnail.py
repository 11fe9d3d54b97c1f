"""A small copy of a picture, for pages that hold it themselves."""

from __future__ import annotations

import io
from base64 import b64encode

from thor_geo.storage import Location

# Of JPEG: text of a quicklook stays readable, at a tenth of the bytes of a PNG.
_QUALITY = 80


def thumbnail_uri(path: Location, side: int) -> str:
    """Return a picture as a data URI, at most *side* pixels wide and high.

    Args:
        path: A PNG, or another picture that Pillow reads.
        side: Pixels.

    Raises:
        OSError: If it cannot be read, or is no picture.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            small = picture.convert("RGB")
    except (ValueError, SyntaxError) as error:  # what Pillow raises for some damage
        raise OSError(str(error)) from error
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
