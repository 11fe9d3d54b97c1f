"""The features that a probe compares, all of the same samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.probe.beside import BesideVectors
from thor_geo.probe.beside_samples import in_all, match_words, read_besides
from thor_geo.probe.joining import Labels
from thor_geo.probe.samples import Samples
from thor_geo.probe.spec import ProbeSpec
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import AnyArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """Samples, and their features on all sides.

    Attributes:
        samples: Those that every side has.
        features: (N, D) each: ``embeddings``, then ``bands`` if they are asked for, then other
            vectors by their names.
        besides: Other vectors, of all samples that have a label.
        without_beside: Samples left out since they lack one of these.
        without_pixels: Samples left out since some band has no pixel.
    """

    samples: Samples
    features: dict[str, AnyArray]
    besides: tuple[BesideVectors, ...]
    without_beside: int = 0
    without_pixels: int = 0

    @property
    def matches(self) -> tuple[str, ...]:
        """How many samples have one of the other vectors, of each that not all have."""
        return tuple(
            f"{match_words(each, self.samples.unit)}: the others leave all sides."
            for each in self.besides
            if not each.has.all()
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know before believing a comparison."""
        few = (
            f"{match_words(each, self.samples.unit)}: the others leave all sides"
            for each in self.besides
            if each.has.mean() < 0.5
        )
        doubts = (f"{each.name} is {each.doubt}" for each in self.besides if each.doubt)
        return (*few, *doubts)


def beside_sides(
    opened: OpenedRun, samples: Samples, spec: ProbeSpec, *, progress: bool = False
) -> Sides:
    """Return the samples that have a vector in all that is compared, and these vectors.

    Args:
        opened: The run.
        samples: The samples that have a label.
        spec: Settings.
        progress: Whether to draw progress bars on standard error, where that is a terminal.

    Raises:
        ConfigError: If some vectors cannot be used, or no sample has one in each.
        RunDirectoryError: If a file of a run cannot be read.
    """
    besides = read_besides(opened, samples, spec, progress=progress)
    every = in_all(samples, besides)
    kept = samples if every.all() else samples.take(every)
    return Sides(
        samples=kept,
        features={
            "embeddings": kept.vectors,
            **{each.name: each.vectors[every] for each in besides},
        },
        besides=besides,
        without_beside=len(samples) - len(kept),
    )


def band_sides(
    opened: OpenedRun, sides: Sides, labels: Labels, spec: ProbeSpec, *, progress: bool = False
) -> Sides:
    """Return the samples with an observation in every band, and the features of their bands, too.

    Args:
        opened: The run; its composites are read from the cache, or fetched again.
        sides: The samples so far.
        labels: Their labels, for the message.
        spec: Settings.
        progress: Whether to draw progress bars on standard error, where that is a terminal.

    Raises:
        ConfigError: If no sample has one.
        ThorGeoError: If the pixels are gone.
    """
    from thor_geo.probe.baseline import band_features

    samples = sides.samples
    bands = band_features(opened, samples, window=spec.window, progress=progress)
    seen = np.asarray(np.isfinite(bands).all(axis=1))
    if not seen.any():
        raise ConfigError(
            "--labels",
            labels.source,
            f"none of the {len(samples):,} samples has an observation in every band",
            "Use --no-baseline to probe the embeddings alone.",
        )
    kept = samples.take(seen)
    others = {name: values[seen] for name, values in sides.features.items()}
    return Sides(
        samples=kept,
        # In the order of reports: ours, the plainest, then others.
        features={"embeddings": kept.vectors, "bands": bands[seen], **others},
        besides=sides.besides,
        without_beside=sides.without_beside,
        without_pixels=len(samples) - len(kept),
    )
