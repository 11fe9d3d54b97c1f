"""Which failures are worth asking again, how long to wait, and what the others mean.

Sources: Earth Engine usage limits (429, 40 requests in flight), REST reference of
image.computePixels (size), and the texts that the service answers with.
"""

from __future__ import annotations

import json
import re

from thor_geo.errors import ThorGeoError
from thor_geo.sources.policy import (
    _PROJECT,
    FailureKind,
    TruncatedError,
    Verdict,
    _chain,
    classify_status,
)

#: A certificate that is not trusted: no connection, but waiting does not help.
_CERTIFICATE = re.compile(r"certificate verify failed", re.IGNORECASE)

#: What decoding JSON raises on a body that is cut short or comes from a proxy.
_UNDECODABLE = (json.JSONDecodeError, UnicodeDecodeError)


def classify(error: BaseException) -> Verdict | None:
    """Say what a failed request means.

    The client's EEException carries only text; the HTTP status is in the exception it was raised
    from.

    Args:
        error: What the request raised.

    Returns:
        The verdict; None if the error is none of the service's or the connection's, and should
        propagate as the bug it is.
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
    # By name: importing ee takes a second, and whoever raised it has imported it.
    from_client = type(error).__name__ == "EEException"
    if not (from_client or isinstance(error, GoogleApiError)):
        return None
    for link in _chain(error):
        if isinstance(link, HttpError):
            headers = {str(k).lower(): v for k, v in link.resp.items()}
            return classify_status(int(link.resp.status), text, headers)
    # Raised by the client itself, before a request (it names the missing project or login).
    if _PROJECT.search(text):
        return Verdict(kind="project", message=text)
    if "authorize access" in text:
        return Verdict(kind="authentication", message=text)
    return Verdict(kind="fatal", message=text)
