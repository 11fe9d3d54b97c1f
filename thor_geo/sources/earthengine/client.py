"""The one layer of retries: every request to Earth Engine goes through `EarthEngineClient.call`.

`Asker` holds what all sources share; here is what Earth Engine's failures mean. Sources: usage
limits (429, 40 requests in flight), the REST reference of image.computePixels (size), and the texts
that the service answers with.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from thor_geo.errors import BlockError, ThorGeoError, UnreachableError, error_chain
from thor_geo.sources.asking import Asker
from thor_geo.sources.earthengine._split import SizeMemory
from thor_geo.sources.earthengine.remedies import to_error
from thor_geo.sources.earthengine.session import EarthEngineSession
from thor_geo.sources.policy import (
    FailureKind,
    FetchStats,
    TruncatedError,
    Verdict,
    classify_status,
)

#: Texts of HTTP 400 answers that a smaller request avoids.
_TOO_LARGE = re.compile(
    r"user memory limit exceeded|computation timed out|total request size|out of memory|"
    r"too many pixels|must be less than or equal to \d+ bytes",
    re.IGNORECASE,
)

#: Texts that put the blame on the project, its registration or its permissions.
_PROJECT = re.compile(
    r"has not been used in project|is disabled|required permission to use project|not registered|"
    r"not signed up|permission '?earthengine|no project found|service ?usage|project .*not found|"
    r"not authorized to use|user project|consumer .*(invalid|suspended)",
    re.IGNORECASE,
)

#: A certificate that is not trusted: no connection, but waiting does not help.
_CERTIFICATE = re.compile(r"certificate verify failed", re.IGNORECASE)

#: What decoding JSON raises on a body that is cut short or comes from a proxy.
_UNDECODABLE = (json.JSONDecodeError, UnicodeDecodeError)


class EarthEngineClient(Asker):
    """A session with Earth Engine, a budget of concurrent requests, and a retry policy."""

    service = "Earth Engine"
    restriction = (
        "The project has used up its Earth Engine quota and is in restricted mode (https://"
        "developers.google.com/earth-engine/guides/noncommercial_tiers#restricted_mode)"
    )
    session: EarthEngineSession

    def __init__(self, session: EarthEngineSession, **settings: Any) -> None:
        """Initialize a new instance; no request is made.

        Args:
            session: Access to Earth Engine.
            settings: See `Asker`.
        """
        super().__init__(session, **settings)
        #: The size of window that could be computed in one request.
        self.sizes = SizeMemory()

    def connect(self) -> None:
        """Set the session up unless it is, with retries; graphs can be built from then on.

        Raises:
            AuthenticationError: If there are no usable credentials.
            ProjectError: If the project is missing or may not be used.
            UnreachableError: If the service cannot be reached.
            EarthEngineError: If it refuses.
        """
        if self.session.ready:
            return
        try:
            self.call(lambda: None, "its list of functions", FetchStats())
        except BlockError as error:
            endpoint = self.session.spec.endpoint
            raise UnreachableError(
                f"{endpoint} could not be reached. {error} Check the network, the proxy settings "
                "(HTTPS_PROXY) and https://status.cloud.google.com."
            ) from error

    def classify(self, error: BaseException) -> Verdict | None:
        """Classify a failed request; see `classify_earthengine_error`."""
        return classify_earthengine_error(error)

    def refusal(self, verdict: Verdict, subject: str) -> ThorGeoError:
        """Return the error for a refusal; see `remedies.to_error`."""
        return to_error(verdict, self.session.spec, subject)


def classify_earthengine_error(error: BaseException) -> Verdict | None:
    """Classify a failed request.

    The client's EEException carries only text; the HTTP status is in the exception it was raised
    from.

    Args:
        error: What the request raised.

    Returns:
        The verdict; None if the error came neither from the service nor from the connection: it is
        a bug, and propagates.
    """
    from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
    from googleapiclient.errors import Error as GoogleApiError
    from googleapiclient.errors import HttpError

    if isinstance(error, ThorGeoError):
        return None
    text = str(error) or type(error).__name__
    if isinstance(error, RefreshError):
        kind: FailureKind = "transient" if error.retryable else "authentication"
        return Verdict(kind=kind, message=f"the login could not be renewed: {text}")
    if isinstance(error, TransportError):
        return Verdict(kind="unreachable", message=text)
    if isinstance(error, GoogleAuthError):
        return Verdict(kind="authentication", message=text)
    if _CERTIFICATE.search(text):
        return Verdict(kind="fatal", message=text)
    if isinstance(error, ConnectionError):
        return Verdict(kind="unreachable", message=f"{type(error).__name__}: {text}")
    if isinstance(error, (TimeoutError, TruncatedError, *_UNDECODABLE)):
        return Verdict(kind="transient", message=f"{type(error).__name__}: {text}")
    # By name: importing ee takes a second, and the code that raised it has imported it.
    from_client = type(error).__name__ == "EEException"
    if not (from_client or isinstance(error, GoogleApiError)):
        return None
    for link in error_chain(error):
        if isinstance(link, HttpError):
            headers = {str(k).lower(): v for k, v in link.resp.items()}
            return _classify_answer(int(link.resp.status), text, headers)
    # Raised by the client itself, before a request (it names the missing project or login).
    if _PROJECT.search(text):
        return Verdict(kind="permission", message=text)
    if "authorize access" in text:
        return Verdict(kind="authentication", message=text)
    return Verdict(kind="fatal", message=text)


def _classify_answer(status: int, text: str, headers: Mapping[str, Any]) -> Verdict:
    """Classify an HTTP status, and the texts that Earth Engine adds."""
    verdict = classify_status(status, text, headers)
    if status == 400 and _TOO_LARGE.search(text):
        return dataclasses.replace(verdict, kind="too_large")
    if status in (400, 403, 404) and _PROJECT.search(text):
        return dataclasses.replace(verdict, kind="permission")
    return verdict
