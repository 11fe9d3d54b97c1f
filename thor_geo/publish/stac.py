"""The words of STAC 1.1 that a run's collection and items share: extensions, media types, links."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from thor_geo.publish.facts import RunFacts
from thor_geo.runs.fingerprint import JSON

VERSION = "1.1.0"

#: Names of the files, relative to the run.
COLLECTION, MODEL, PAGE, ITEMS = "collection.json", "model.json", "index.html", "items"

_EXTENSIONS = "https://stac-extensions.github.io"
PROJECTION = f"{_EXTENSIONS}/projection/v2.0.0/schema.json"
RASTER = f"{_EXTENSIONS}/raster/v2.0.0/schema.json"
FILE = f"{_EXTENSIONS}/file/v2.1.0/schema.json"
PROCESSING = f"{_EXTENSIONS}/processing/v1.2.0/schema.json"
SCIENTIFIC = f"{_EXTENSIONS}/scientific/v1.0.0/schema.json"
ZARR_STORE = f"{_EXTENSIONS}/zarr/v1.1.0/schema.json"
MLM = f"{_EXTENSIONS}/mlm/v1.5.2/schema.json"
# No collection says that it uses the extension for embeddings (v0.0.1, a proposal), though its
# fields `emb:` are here: its schema allows STAC 1.0 alone, so that validators would refuse it.

JSON_TYPE = "application/json"
GEOJSON = "application/geo+json"
HTML = "text/html"
PARQUET = "application/vnd.apache.parquet"
ZARR = "application/vnd.zarr; version=3"

#: The conventions for embeddings, and the same for Zarr, from which the facts come.
EMBEDDINGS = "https://github.com/geo-embeddings/embeddings-stac-specification"


def link(rel: str, href: str, media: str | None = None, title: str | None = None) -> JSON:
    """Return a link.

    Args:
        rel: Relation.
        href: Target, relative to the file that holds the link, or absolute.
        media: Media type; None where there is nothing to load.
        title: What it is.
    """
    given = {"rel": rel, "href": href, "type": media, "title": title}
    return {name: value for name, value in given.items() if value is not None}


def source_links(facts: RunFacts, rel: str) -> list[JSON]:
    """Return a link to each collection that a run was computed from.

    A folder of files or of the emulator's scenes has no page: its link is the checksum of its
    content (RFC 6920).

    Args:
        facts: The run.
        rel: Relation.
    """
    links: list[JSON] = []
    for source in facts.about["source_data"]:
        page = source.startswith("http")
        title = None if page else "the files that were read, by the checksum of their content"
        links.append(link(rel, source, HTML if page else None, title))
    return links


def time_text(when: dt.datetime) -> str:
    """Return a time as STAC has it, in UTC."""
    return when.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def period(start: dt.datetime, end: dt.datetime) -> tuple[str, str]:
    """Return the first and the last second of a window whose end is exclusive."""
    return time_text(start), time_text(end - dt.timedelta(seconds=1))


def common_assets(facts: RunFacts, up: str) -> dict[str, JSON]:
    """Return the assets that a collection and all its items have.

    Args:
        facts: The run.
        up: What leads from the file to the run's folder: ``./`` or ``../``.
    """
    noun = "place" if facts.opened.places else "tile"
    assets: dict[str, JSON] = {
        "plan": {
            "href": f"{up}plan.parquet",
            "type": PARQUET,
            "title": f"Every {noun}",
            "description": f"GeoParquet: a row for each {noun}, with its footprint and its shard.",
            "roles": ["metadata"],
        },
        "run": {
            "href": f"{up}run.json",
            "type": JSON_TYPE,
            "title": "Settings, weights and versions",
            "description": "Everything that the numbers depend on.",
            "roles": ["metadata"],
        },
    }
    if facts.overview:
        assets["overview"] = {
            "href": f"{up}overview.parquet",
            "type": PARQUET,
            "title": f"Colour and state of every {noun}",
            "description": "What a first map needs, in the order of plan.parquet.",
            "roles": ["metadata"],
        }
    if facts.quicklook:
        assets["quicklook"] = {
            "href": f"{up}quicklook.png",
            "type": "image/png",
            "title": "Picture of the run",
            "roles": ["overview"],
        }
    return assets


def file_fields(facts: RunFacts, name: str) -> Mapping[str, JSON]:
    """Return size and checksum of a shard's file, by the names of the file extension."""
    file = facts.files[name]
    # A multihash: sha2-256 (12), of 32 bytes (20).
    return {"file:size": file.size, "file:checksum": f"1220{file.sha256}"}
