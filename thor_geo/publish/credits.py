"""Who is to be named: the paper on THOR, this package, and the missions that made the data."""

from __future__ import annotations

import datetime as dt

from thor_geo.models.variants import VARIANTS
from thor_geo.publish.facts import RunFacts
from thor_geo.publish.terms import Terms

#: The paper on THOR, as CITATION.cff has it; arXiv gives every preprint a DOI with its number.
THOR_PAPER = (
    "Forgaard, T., Reksten, J. H., Waldeland, A. U., Marsocci, V., Longépé, N., Kampffmeyer, M., "
    "and Salberg, A.-B. (2026). THOR: A Versatile Foundation Model for Earth Observation Climate "
    "and Society Applications. arXiv:2601.16011. https://arxiv.org/abs/2601.16011"
)
THOR_DOI = "10.48550/arXiv.2601.16011"
#: This package, as CITATION.cff has it.
SOFTWARE = "The thor-geo developers. thor-geo: from an area of the Earth to THOR embeddings"


def is_thor(facts: RunFacts) -> bool:
    """Return whether the run's model is one of THOR's, trained or not."""
    return facts.model.get("model_key") in VARIANTS


def title_of(facts: RunFacts, terms: Terms) -> str:
    """Return the title: the publisher's, or one made from the run."""
    return terms.title or f"{'THOR embeddings' if is_thor(facts) else 'Embeddings'}: {facts.name}"


def citation(facts: RunFacts, terms: Terms) -> str:
    """Return how to cite the embeddings."""
    year, title = facts.finished.year, title_of(facts, terms).rstrip(".")
    head = (
        f"{title} ({year})." if terms.provider is None else f"{terms.provider} ({year}). {title}."
    )
    version = facts.opened.run.build_version
    made = "thor-geo" if version is None else f"thor-geo {version}"
    using = "THOR (Forgaard et al., 2026) and " if is_thor(facts) else ""
    where = "" if terms.url is None else f" {terms.url}"
    return f"{head} Computed with {using}{made}.{where}"


def software(facts: RunFacts) -> str:
    """Return how to cite this package."""
    version = facts.opened.run.build_version
    return f"{SOFTWARE}." if version is None else f"{SOFTWARE}. Version {version}."


def attribution(facts: RunFacts) -> str | None:
    """Return the notice that Copernicus asks for; None where no scene of Sentinel's was used.

    Scenes from the emulator's folder may be generated ones, and the user's own files anything.
    """
    catalogues = [str(sensor.get("catalogue")) for sensor in facts.sensors.values()]
    if not catalogues or any(name.startswith("emulator") for name in catalogues):
        return None
    span = facts.opened.span
    first, last = span.start.year, (span.end - dt.timedelta(seconds=1)).year
    years = str(first) if first == last else f"{first}-{last}"
    return f"Contains modified Copernicus Sentinel data {years}."
