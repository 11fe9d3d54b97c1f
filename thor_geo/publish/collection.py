"""The collection of a run."""

from __future__ import annotations

from collections.abc import Sequence

from thor_geo.publish.credits import THOR_DOI, THOR_PAPER, attribution, citation, is_thor, title_of
from thor_geo.publish.facts import RunFacts
from thor_geo.publish.items import ItemPart
from thor_geo.publish.lineage import lineage
from thor_geo.publish.stac import (
    COLLECTION,
    EMBEDDINGS,
    GEOJSON,
    HTML,
    ITEMS,
    JSON_TYPE,
    MODEL,
    PAGE,
    SCIENTIFIC,
    VERSION,
    common_assets,
    link,
    period,
    source_links,
)
from thor_geo.publish.terms import NO_LICENCE, Terms
from thor_geo.runs.fingerprint import JSON
from thor_geo.support.antimeridian import bounding_box

_UP = "./"


def collection(
    facts: RunFacts, parts: Sequence[ItemPart], terms: Terms, *, model: bool
) -> dict[str, JSON]:
    """Return the collection.

    Args:
        facts: The run.
        parts: What its items describe.
        terms: What the publisher says.
        model: Whether the model has an item of its own.
    """
    box = [round(edge, 7) for edge in bounding_box(part.geometry for part in parts)]
    span = period(min(p.span.start for p in parts), max(p.span.end for p in parts))
    thor = {"sci:publications": [{"doi": THOR_DOI, "citation": THOR_PAPER}]}
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [SCIENTIFIC],
        "id": facts.name,
        "title": title_of(facts, terms),
        "description": terms.description or _warned(facts),
        "keywords": ["embeddings", *(["THOR"] if is_thor(facts) else []), *facts.sensors],
        "license": terms.licence or NO_LICENCE,
        **_providers(terms),
        "extent": {"spatial": {"bbox": [box]}, "temporal": {"interval": [list(span)]}},
        "sci:citation": citation(facts, terms),
        **(thor if is_thor(facts) else {}),
        **_embeddings(facts),
        "summaries": {"gsd": [facts.about["gsd"]]},
        "links": _links(facts, parts, terms, model=model),
        "assets": common_assets(facts, _UP),
    }


def _warned(facts: RunFacts) -> str:
    """Return the description, which of meaningless embeddings begins with a warning."""
    warning = f"{random_warning()} " if facts.random_weights else ""
    return f"{warning}{description(facts)}"


def description(facts: RunFacts) -> str:
    """Return sentences about the embeddings: what they are, how many, and how they were made."""
    about, plan = facts.about, facts.opened.plan
    embedded, total = int(facts.embedded.sum()), facts.embedded.size
    noun = "places" if facts.opened.places else "tiles"
    if facts.opened.windows.listed:
        noun = f"{noun} and time windows"
    sentences = [
        f"Embeddings of {about['dimensions']} dimensions ({about['data_type']}) for {embedded:,} "
        f"{noun}.",
        lineage(facts),
    ]
    if embedded < total:
        empty = total - embedded - facts.failed
        gone = [f"{n:,} {why}" for n, why in ((empty, "without a scene"), (facts.failed, "failed"))]
        sentences.append(
            f"{total - embedded:,} of {total:,} have none "
            f"({', '.join(text for text in gone if not text.startswith('0 '))})."
        )
    if not facts.opened.places:
        covered = int(facts.embedded.any(axis=1).sum()) * plan.tile_km2
        sentences.append(f"The tiles cover {covered:,.0f} km².")
    if (notice := attribution(facts)) is not None:
        sentences.append(notice)
    return " ".join(sentences)


def random_warning() -> str:
    """Return what is to be said of embeddings by a model that was never trained."""
    return (
        "The weights are RANDOM: these embeddings are meaningless, and only good for testing "
        "software."
    )


def _providers(terms: Terms) -> dict[str, JSON]:
    if terms.provider is None:
        return {}
    page = {} if terms.url is None else {"url": terms.url}
    return {"providers": [{"name": terms.provider, "roles": ["producer", "host"], **page}]}


def _embeddings(facts: RunFacts) -> dict[str, JSON]:
    """Return the facts by the names of the STAC extension for embeddings."""
    about = facts.about
    described: dict[str, JSON] = {
        "emb:type": about["type"],
        "emb:dimensions": about["dimensions"],
        "data_type": about["data_type"],
        "gsd": about["gsd"],
    }
    layout = about.get("chip_layout")
    if layout is not None and layout["layout_type"] == "regular_grid":
        described["emb:chip_layout"] = layout
    return described


def _links(facts: RunFacts, parts: Sequence[ItemPart], terms: Terms, *, model: bool) -> list[JSON]:
    links = [link("root", f"{_UP}{COLLECTION}", JSON_TYPE)]
    if terms.url is not None:
        links.append(link("self", f"{terms.url}/{COLLECTION}", JSON_TYPE))
    links += [link("item", f"{_UP}{ITEMS}/{part.id}.json", GEOJSON) for part in parts]
    if model:
        links.append(link("item", f"{_UP}{MODEL}", GEOJSON, "the model"))
        links.append(link("emb:model", f"{_UP}{MODEL}", GEOJSON, "the model"))
    else:
        links.append(link("emb:model", f"{_UP}run.json", JSON_TYPE, "the model, in run.json"))
    links += source_links(facts, "emb:source-data")
    if terms.licence_page is not None:
        links.append(link("license", terms.licence_page, HTML))
    links.append(link("alternate", f"{_UP}{PAGE}", HTML, "this collection, for people"))
    links.append(link("describedby", EMBEDDINGS, HTML, "the fields emb:"))
    return links
