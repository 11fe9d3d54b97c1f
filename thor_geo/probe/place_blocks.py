"""Blocks of places by their distance: what is nearer than some metres stays together.

Blocks of scattered places are the clusters of single linkage (Gower and Ross 1969, "Minimum
spanning trees and single linkage cluster analysis"): places nearer to each other than a distance
are in one cluster, and so are those that a chain of such steps connects. Places of different
clusters are therefore at least that far apart, whatever their number and shape, and nothing needs
to be left out between training and testing.

Where places lie so densely that most of them are one chain, blocks are squares of twice the
distance, and training places nearer to a test place than the distance are left out: spatial blocks
with a buffer (Roberts et al. 2017, "Cross-validation strategies for data with temporal, spatial,
hierarchical, or phylogenetic structure", doi:10.1111/ecog.02881). In both cases no place is tested
with a model that was trained on one nearer than the distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.probe.folds import block_indices, geocentric
from thor_geo.probe.samples import PlaceSamples
from thor_geo.probe.spec import ProbeSpec
from thor_geo.support.arrays import Float64Array, Int64Array
from thor_geo.support.words import counted

#: Least distance between places of different blocks where none is given, metres. Crops, soils and
#: management are alike over some kilometres; the choice is a round number, and stated in reports.
DISTANCE_M = 10_000.0
#: Side of a square over the distance. A square of twice the distance whose neighbours are all in
#: other folds would keep nothing for training; with five folds at random, about half stays.
SQUARE = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceBlocks:
    """Blocks of places.

    Attributes:
        block: Block of each place, (N,) int64, numbered from 0.
        count: Number of blocks.
        distance_m: What `block_m` means for them, metres.
        buffer_m: Training places nearer to a test place than this are to be left out, so that the
            distance holds; 0 for clusters.
        drawn: What blocks are, in the plural.
        words: How many of what, e.g. ``37 clusters of places at least 10 km apart``.
        detail: Why they are not clusters, or not at the usual distance; may be empty.
    """

    block: Int64Array
    count: int
    distance_m: float
    buffer_m: float
    drawn: str
    words: str
    detail: str = ""


def kilometres(metres: float) -> str:
    """Return a distance for reading, e.g. ``10 km`` or ``320 m``."""
    return f"{metres / 1000:.3g} km" if metres >= 1000 else f"{metres:.3g} m"


def clusters(positions: Float64Array, distance: float) -> Int64Array:
    """Return the clusters of single linkage, numbered from 0, (N,).

    In O(N) memory: a dense table has too many pairs of near places to list them.

    Args:
        positions: (N, K) metres, straight lines between which are distances; two or more.
        distance: Positions nearer than this are in one cluster.
    """
    from sklearn.cluster import AgglomerativeClustering

    linkage = AgglomerativeClustering(
        n_clusters=None, linkage="single", distance_threshold=distance
    )
    return block_indices(linkage.fit(positions).labels_[:, None])


def place_blocks(samples: PlaceSamples, spec: ProbeSpec) -> PlaceBlocks:
    """Return blocks of places for a cross-validation.

    At the distance asked for, or else at 10 km, clusters are taken if there are as many as folds
    and none is so large that folds would be lopsided; or else squares, if there are twice as many
    as folds. Without a distance that was asked for, 10 km need four times as many squares as folds,
    as those on the edge of test squares lose most of their places; with fewer, all is tried again
    at the distance from which on chips share no pixel.

    Args:
        samples: The places.
        spec: Settings.

    Raises:
        ConfigError: If there are too few blocks.
    """
    positions = geocentric(samples.lon, samples.lat)
    usual = (DISTANCE_M, samples.reach_m) if samples.reach_m < DISTANCE_M else (samples.reach_m,)
    distances = usual if spec.block_m is None else (spec.block_m,)
    tried: list[str] = []
    # Squares for each fold.
    least = [4, 2] if len(distances) > 1 else [2]
    for distance, each in zip(distances, least, strict=True):
        block = clusters(positions, distance)
        found, largest = int(block.max()) + 1, _largest(block)
        apart = f"places at least {kilometres(distance)} apart"
        if found >= spec.folds and largest <= _share(spec):
            return PlaceBlocks(
                block=block,
                count=found,
                distance_m=distance,
                buffer_m=0.0,
                drawn="clusters of places",
                words=f"{counted(found, 'cluster')} of {apart}",
                detail=_why(tried),
            )
        tried.append(
            f"{counted(found, 'cluster')} of {apart}, the largest with {largest:.0%} of all"
        )
        squares, side = square_blocks(samples, SQUARE * distance), kilometres(SQUARE * distance)
        count = int(squares.max()) + 1
        if count >= each * spec.folds and _largest(squares) <= _share(spec):
            return PlaceBlocks(
                block=squares,
                count=count,
                distance_m=distance,
                buffer_m=distance,
                drawn="squares",
                words=f"{counted(count, 'square')} of {side}, {kilometres(distance)} kept between "
                "training and test",
                detail=_why(tried),
            )
        tried.append(f"{counted(count, 'square')} of {side}")
    raise ConfigError(
        "--block-m",
        spec.block_m,
        f"{counted(len(samples), 'place')} make too few blocks for {spec.folds} folds: there "
        f"would be {'; '.join(tried)}",
        "Give a smaller distance with --block-m, fewer --folds, or divide the places otherwise: "
        "--group COLUMN, --split-date DAY, or --split random.",
    )


def square_blocks(samples: PlaceSamples, side: float) -> Int64Array:
    """Return the squares of the UTM grid that hold places, numbered from 0, (N,).

    Args:
        samples: The places.
        side: Side of a square, metres.
    """
    col, row = np.floor(samples.x / side), np.floor(samples.y / side)
    return block_indices(np.stack([samples.epsg, col, row], axis=1).astype(np.int64))


def _largest(block: Int64Array) -> float:
    """Return the share of the samples that lie in the largest block."""
    return float(np.bincount(block).max() / len(block))


def _share(spec: ProbeSpec) -> float:
    """Return the largest share of a block: two even folds, and no more than is left to train on."""
    return min(0.5, 2 / spec.folds)


def _why(tried: list[str]) -> str:
    return f"tried first, too few or too uneven: {'; '.join(tried)}" if tried else ""
