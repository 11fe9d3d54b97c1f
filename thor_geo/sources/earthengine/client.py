"""The one layer of retries: every request to Earth Engine goes through `Client.call`.

What it does not know of Earth Engine is in `Asker`, which other sources share.
"""

from __future__ import annotations

import logging

from thor_geo.errors import BlockError, ThorGeoError, UnreachableError
from thor_geo.sources.asking import Asker
from thor_geo.sources.earthengine.policy import classify
from thor_geo.sources.earthengine.remedies import to_error
from thor_geo.sources.earthengine.session import EarthEngineSession
from thor_geo.sources.policy import FetchStats, Verdict

logger = logging.getLogger(__name__)


class Client(Asker):
    """A session with Earth Engine."""

    service = "Earth Engine"
    session: EarthEngineSession

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
        """Say what a failed request means; see `policy.classify`."""
        return classify(error)

    def refusal(self, verdict: Verdict, what: str) -> ThorGeoError:
        """Return the error for a refusal; see `remedies.to_error`."""
        return to_error(verdict, self.session.spec, what)
