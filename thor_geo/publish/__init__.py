"""A run for others: a STAC collection and a page beside its files, and a look at their address."""

from thor_geo.publish.publishing import Published, publish_run
from thor_geo.publish.served import ServedFault, check_served
from thor_geo.publish.terms import Terms

__all__ = ["Published", "ServedFault", "Terms", "check_served", "publish_run"]
