"""The two things that go wrong in the emulator: a bad archive, and a refused request."""

from __future__ import annotations

import json
from collections.abc import Mapping

from thor_geo.errors import ThorGeoError, shorten

# Characters of a message.
_LONGEST = 2000

#: The `status` that Google APIs put beside each HTTP code (google.rpc.Code).
STATUS_NAMES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ArchiveError(ThorGeoError, ValueError):
    """A folder is not an archive of scenes, or its index and its files disagree."""

    def __init__(self, message: str) -> None:
        """Initialize a new ArchiveError instance.

        Args:
            message: What is wrong; long quotations of files are shown in part.
        """
        super().__init__(shorten(message, _LONGEST))


class RequestError(Exception):
    """A request that is answered with an error in the shape Earth Engine gives it.

    Attributes:
        code: HTTP status.
        message: What the client raises as the text of its ``EEException``.
        status: Google's name of the status.
        headers: Extra response headers.
    """

    def __init__(
        self,
        message: str,
        code: int = 400,
        *,
        status: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Initialize a new RequestError instance.

        Args:
            message: The text of the error.
            code: HTTP status.
            status: Google's name of the status; by default the one that belongs to the code.
            headers: Extra response headers.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS_NAMES.get(code, "UNKNOWN")
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the JSON body, ``{"error": {"code", "message", "status"}}``."""
        error = {"code": self.code, "message": self.message, "status": self.status}
        return json.dumps({"error": error}).encode()
