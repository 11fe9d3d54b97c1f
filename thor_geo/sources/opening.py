"""Opens whichever source the settings describe."""

from __future__ import annotations

from thor_geo.sources.asking import CONCURRENCY
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.policy import RetryPolicy
from thor_geo.sources.service import CompositeService
from thor_geo.sources.stac import CatalogueSpec


def open_service(
    session: SessionSpec | CatalogueSpec,
    *,
    concurrency: int = CONCURRENCY,
    retry: RetryPolicy | None = None,
) -> CompositeService:
    """Return access to a source; nothing is contacted.

    Args:
        session: How to reach it.
        concurrency: Largest number of requests in flight.
        retry: How often and how patiently to ask again.
    """
    # Imported here: a run loads only the source that it uses.
    if isinstance(session, CatalogueSpec):
        from thor_geo.sources.stac.client import StacClient
        from thor_geo.sources.stac.service import Stac
        from thor_geo.sources.stac.session import StacSession

        return Stac(StacClient(StacSession(session), concurrency=concurrency, retry=retry))
    from thor_geo.sources.earthengine.client import EarthEngineClient
    from thor_geo.sources.earthengine.service import EarthEngine
    from thor_geo.sources.earthengine.session import EarthEngineSession

    return EarthEngine(
        EarthEngineClient(EarthEngineSession(session), concurrency=concurrency, retry=retry)
    )
