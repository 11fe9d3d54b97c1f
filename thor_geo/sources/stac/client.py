"""The one layer of retries for requests to a catalogue and for its files."""

from __future__ import annotations

import json
import re

from thor_geo.errors import (
    BlockError,
    StacError,
    StacUnreachableError,
    ThorGeoError,
    error_chain,
    shorten,
)
from thor_geo.sources.asking import Asker
from thor_geo.sources.policy import FetchStats, Verdict, classify_status
from thor_geo.sources.stac.session import StacSession
from thor_geo.support.redact import redact

#: How GDAL reports an answer, and the lack of one.
_GDAL_STATUS = re.compile(r"HTTP (?:response|error) code\D{0,40}(\d{3})\b")
_GDAL_NO_CONNECTION = re.compile(
    r"could ?n.t (?:resolve|connect)|could not (?:resolve|connect)|failed to connect|"
    r"connection (?:refused|reset|timed out)|timed? ?out|empty reply|CURL error",
    re.IGNORECASE,
)
#: A certificate that is not trusted: no connection, but waiting does not help.
_CERTIFICATE = re.compile(r"certificate", re.IGNORECASE)

#: Characters of what a library says that are passed on.
_LONGEST = 500


class StacClient(Asker):
    """A session with a catalogue, a budget of concurrent requests, and a retry policy."""

    service = "The STAC catalogue"
    session: StacSession

    def connect(self) -> None:
        """Open the catalogue unless it is, with retries.

        Raises:
            DependencyError: If pystac-client is not installed.
            ConfigError: If there is no catalogue, or no such collection.
            StacUnreachableError: If it cannot be reached.
            StacError: If it refuses, or is not a catalogue.
        """
        if self.session.ready:
            return
        try:
            self.call(lambda: None, "its root", FetchStats())
        except BlockError as error:
            raise StacUnreachableError(
                f"{self.session.spec.endpoint} could not be reached. {error} Check "
                "`data.stac.url`, the network, and the proxy settings (HTTPS_PROXY)."
            ) from error

    def classify(self, error: BaseException) -> Verdict | None:
        """Classify a failed request; see `classify_stac_error`."""
        return classify_stac_error(error)

    def refusal(self, verdict: Verdict, subject: str) -> ThorGeoError:
        """Return the error for a refusal that asking again would not change.

        Args:
            verdict: What the refusal means.
            subject: What was asked for.
        """
        reason = redact(verdict.sentence)
        if verdict.kind == "missing":
            return BlockError(
                f"{subject} cannot be read. {reason} If the file is gone for good, the catalogue "
                "should no longer list it."
            )
        where = f"{self.service} {self.session.spec.endpoint}"
        return StacError(f"{where} refused {subject}. {reason} {_remedy(verdict)}")


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
        if isinstance(link, requests.exceptions.SSLError) or _CERTIFICATE.search(text):
            return Verdict(kind="fatal", message=text)
        if isinstance(link, (requests.Timeout, requests.exceptions.ChunkedEncodingError)):
            return Verdict(kind="transient", message=f"{type(link).__name__}: {text}")
        if isinstance(link, (requests.ConnectionError, ConnectionError)):
            return Verdict(kind="unreachable", message=text)
        if isinstance(link, (requests.RequestException, json.JSONDecodeError)):
            return Verdict(kind="fatal", message=f"{type(link).__name__}: {text}")
    if isinstance(error, RasterioError):
        return _classify_gdal_error([str(link) for link in error_chain(error)])
    if isinstance(error, OSError):  # a file of a catalogue on this machine
        return Verdict(kind="fatal", message=str(error))
    return None


def _classify_gdal_error(texts: list[str]) -> Verdict:
    """Classify a failure of GDAL to read a file by all its messages."""
    message = " / ".join(dict.fromkeys(shorten(text, _LONGEST) for text in texts))
    status = next((match for text in texts if (match := _GDAL_STATUS.search(text))), None)
    if status is not None:
        verdict = classify_status(int(status[1]), message, {})
        if verdict.status in (404, 410):
            return Verdict(kind="missing", message=message, status=verdict.status)
        return _fatal(verdict) if verdict.kind == "too_large" else verdict
    if _GDAL_NO_CONNECTION.search(message):
        return Verdict(kind="unreachable", message=message)
    return Verdict(kind="missing", message=message)


def _fatal(verdict: Verdict) -> Verdict:
    return Verdict(kind="fatal", message=verdict.message, status=verdict.status)


def _remedy(verdict: Verdict) -> str:
    if verdict.status in (401, 403):
        return (
            "It requires a login or a signature: the Planetary Computer's files need "
            "`data.stac.sign: planetary_computer`, others credentials that GDAL reads from the "
            "environment (AWS_ACCESS_KEY_ID, GDAL_HTTP_HEADERS, ...). Earth Search's are public."
        )
    if verdict.status in (404, 410):
        return "Check `data.stac.url` and `data.stac.collection`."
    if _CERTIFICATE.search(verdict.message):
        return (
            "A proxy may be in between that signs with its own certificate: set the environment "
            "variables REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE to a file with it."
        )
    return (
        "Asking again would not help: check `data.stac.url`, `data.stac.collection` and the dates."
    )
