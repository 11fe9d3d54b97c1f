"""The one layer of retries for requests to a catalogue and for its files."""

from __future__ import annotations

from thor_geo.errors import BlockError, StacError, StacUnreachableError, ThorGeoError
from thor_geo.sources.asking import Asker
from thor_geo.sources.policy import FetchStats, Verdict
from thor_geo.sources.stac.session import StacSession
from thor_geo.sources.stac.verdicts import CERTIFICATE, MISSING_FILE, classify_stac_error
from thor_geo.support.redact import redact


class UnreadableFileError(BlockError):
    """A file is not there, or is not what it should be.

    Attributes:
        reason: What its server or GDAL says, without a full stop.
        whole: Whether no part of it can be read.
    """

    def __init__(self, reason: str) -> None:
        """Initialize a new UnreadableFileError instance.

        Args:
            reason: What its server or GDAL says.
        """
        self.reason = reason.strip().rstrip(".")
        self.whole = MISSING_FILE.search(reason) is not None
        super().__init__(reason)


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
        if verdict.kind in ("missing", "damaged"):
            return UnreadableFileError(f"HTTP {verdict.status}" if verdict.status else reason)
        where = f"{self.service} {self.session.spec.endpoint}"
        return StacError(f"{where} refused {subject}. {reason} {_remedy(verdict)}")


def _remedy(verdict: Verdict) -> str:
    if verdict.status in (401, 403):
        return (
            "It requires a login or a signature: the Planetary Computer's files need "
            "`data.stac.sign: planetary_computer`, others credentials that GDAL reads from the "
            "environment (AWS_ACCESS_KEY_ID, GDAL_HTTP_HEADERS, ...). Earth Search's are public."
        )
    if verdict.status in (404, 410):
        return "Check `data.stac.url` and `data.stac.collection`."
    if CERTIFICATE.search(verdict.message):
        return (
            "A proxy may be in between that signs with its own certificate: set the environment "
            "variables REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE to a file with it."
        )
    return (
        "Asking again would not help: check `data.stac.url`, `data.stac.collection` and the dates."
    )
