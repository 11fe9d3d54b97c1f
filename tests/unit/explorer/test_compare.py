"""If these fail, the page calls places similar that are not, or its probe is not the usual one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thor_geo.errors import InputError
from thor_geo.explorer.compare import Comparison
from thor_geo.explorer.located import HeldVectors, RasterVectors


@pytest.mark.parametrize("unit", ["tiles", "cells"])
def test_the_most_similar_are_those_of_numpy(unit: str, request: pytest.FixtureRequest) -> None:
    places: RasterVectors = request.getfixturevalue(unit)
    query = 3
    x = places.vectors.astype(np.float64)
    cosine = x @ x[query] / np.linalg.norm(x, axis=1) / np.linalg.norm(x[query])
    nearest_places = Comparison(places).similar(query, 5)
    np.testing.assert_allclose(nearest_places.cosine, cosine, atol=1e-6)
    allowed = [k for k in np.argsort(-cosine).tolist() if k != query and places.searched[k]]
    np.testing.assert_allclose(cosine[nearest_places.nearest], cosine[allowed[:5]], atol=1e-6)
    assert query not in nearest_places.nearest
    # Ground on a zone's edge would be found twice.
    assert places.searched[nearest_places.nearest].all()
    assert unit == "tiles" or not places.searched.all()


def test_more_neighbours_than_places_are_all_of_them(tiles: RasterVectors) -> None:
    assert len(Comparison(tiles).similar(0, 1000).nearest) == tiles.searched[1:].sum()


def test_the_probe_is_scikit_learns_on_standardised_embeddings(cells: RasterVectors) -> None:
    positive, negative = np.array([0, 1, 2, 40]), np.array([100, 200])
    scores = Comparison(cells).probe(positive, negative)
    scaler = StandardScaler().fit(cells.vectors)
    model = make_pipeline(scaler, LogisticRegression(class_weight="balanced"))
    model[-1].fit(
        scaler.transform(cells.vectors[np.concatenate([positive, negative])]), [1] * 4 + [0] * 2
    )
    np.testing.assert_allclose(scores, model.predict_proba(cells.vectors)[:, 1], atol=1e-3)
    assert scores.dtype == np.float32


def test_a_dimension_without_variance_does_no_harm(tiles: RasterVectors) -> None:
    flat = tiles.vectors.copy()
    flat[:, 2] = 7
    scores = Comparison(dataclasses.replace(tiles, source=HeldVectors(flat))).probe(
        np.array([0]), np.array([3])
    )
    assert np.isfinite(scores).all()
    assert scores[0] > 0.5 > scores[3]


@pytest.mark.parametrize(
    ("positive", "negative", "told"),
    [([1], [], "1 positive and 0 negative"), ([1, 2], [2], "both positive and negative")],
)
def test_examples_that_make_no_probe_are_refused(
    tiles: RasterVectors, positive: list[int], negative: list[int], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        Comparison(tiles).probe(np.array(positive, dtype=int), np.array(negative, dtype=int))
