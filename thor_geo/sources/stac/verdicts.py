"""What a failed request to a catalogue, or for one of its files, means."""

from __future__ import annotations

import json
import re

from thor_geo.errors import ThorGeoError, error_chain, shorten
from thor_geo.sources.policy import FailureKind, Verdict, classify_status

#: How GDAL reports an answer, and the lack of one.
_GDAL_STATUS = re.compile(r"HTTP (?:response|error) code\D{0,40}(\d{3})\b")
_GDAL_NO_CONNECTION = re.compile(
    r"could ?n.t (?:resolve|connect)|could not (?:resolve|connect)|failed to connect|"
    r"connection (?:refused|reset|timed out)|timed? ?out|empty reply|CURL error",
    re.IGNORECASE,
)
#: How it says that a file is not there, or is no raster.
MISSING_FILE = re.compile(
    r"HTTP (?:404|410)|not recognized as being in a supported file format|no such|not exist",
    re.IGNORECASE,
)
#: How GDAL says that a file's content is not what it should be. All else may be the connection's or
#: the server's doing: of a refusal while a part of a file is read it passes on no status.
_GDAL_DAMAGED = re.compile(
    r"not recognized as being in a supported file format|"
    r"decod(?:e|ing) error|Decode:|corrupt|cannot decode|not a TIFF|wrong tile size",
    re.IGNORECASE,
)
#: What GDAL's errors of object stores mean, by the end of their class's name.
_GDAL_STORES: tuple[tuple[str, FailureKind], ...] = (
    ("ObjectNotFoundError", "missing"),
    ("AccessDeniedError", "permission"),
    ("InvalidCredentialsError", "authentication"),
    ("SignatureDoesNotMatchError", "authentication"),
    ("BucketNotFoundError", "fatal"),
)
#: A certificate that is not trusted: no connection, but waiting does not help.
CERTIFICATE = re.compile(r"certificate", re.IGNORECASE)

#: Characters of what a library says that are passed on.
_LONGEST = 500


def classify_stac_error(error: BaseException) -> Verdict | None:
    """Classify a failed request to a catalogue or for one of its files.

    Args:
        error: What the request raised.

    Returns:
        The verdict; None if the error came neither from the catalogue nor from the connection.
    """
    # The code that raised one has loaded it.
    import requests
    from rasterio.errors import RasterioError

    if isinstance(error, ThorGeoError):
        return None
    for link in error_chain(error):
        text = shorten(str(link) or type(link).__name__, _LONGEST)
        if isinstance(link, requests.HTTPError) and link.response is not None:
            answer = link.response
            message = shorten(answer.text or answer.reason or text, _LONGEST)
            headers = {key.lower(): value for key, value in answer.headers.items()}
            verdict = classify_status(answer.status_code, message, headers)
            # Nothing can be asked for in smaller pieces here.
            return _fatal(verdict) if verdict.kind == "too_large" else verdict
        if isinstance(link, requests.exceptions.SSLError) or CERTIFICATE.search(text):
            return Verdict(kind="fatal", message=text)
        if isinstance(link, requests.ConnectTimeout):
            return Verdict(kind="unreachable", message=_no_connection(link))
        if isinstance(link, (requests.Timeout, requests.exceptions.ChunkedEncodingError)):
            return Verdict(kind="transient", message=f"{type(link).__name__}: {text}")
        if isinstance(link, (requests.ConnectionError, ConnectionError)):
            return Verdict(kind="unreachable", message=_no_connection(link))
        if isinstance(link, (requests.RequestException, json.JSONDecodeError)):
            return Verdict(kind="fatal", message=f"{type(link).__name__}: {text}")
    if isinstance(error, RasterioError):
        return _classify_gdal_error(list(error_chain(error)))
    if isinstance(error, OSError):  # a file of a catalogue on this machine
        return Verdict(kind="fatal", message=str(error))
    return None


def _classify_gdal_error(chain: list[BaseException]) -> Verdict:
    """Classify a failure of GDAL to read a file by all its messages."""
    texts = [str(link) for link in chain]
    message = " / ".join(dict.fromkeys(shorten(text, _LONGEST) for text in texts))
    status = next((match for text in texts if (match := _GDAL_STATUS.search(text))), None)
    if status is not None:
        verdict = classify_status(int(status[1]), message, {})
        if verdict.status in (404, 410):
            return Verdict(kind="missing", message=message, status=verdict.status)
        return _fatal(verdict) if verdict.kind == "too_large" else verdict
    if _GDAL_NO_CONNECTION.search(message):
        return Verdict(kind="unreachable", message=message)
    for ending, kind in _GDAL_STORES:
        if any(type(link).__name__.endswith(ending) for link in chain):
            return Verdict(kind=kind, message=message)
    damaged = _GDAL_DAMAGED.search(message) is not None
    return Verdict(kind="damaged" if damaged else "transient", message=message)


def _no_connection(error: BaseException) -> str:
    """Return why there is no connection, without what requests and urllib3 write around it."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    # "HTTPConnection(host='x', port=80): Failed to resolve 'x'"; "max retries" are not ours.
    text = str(error if reason is None else reason)
    return shorten(text.partition("): ")[2] or text or type(error).__name__, _LONGEST)


def _fatal(verdict: Verdict) -> Verdict:
    return Verdict(kind="fatal", message=verdict.message, status=verdict.status)
