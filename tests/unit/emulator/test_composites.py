"""Composites through the unmodified client, against plain NumPy."""

from __future__ import annotations

from typing import Any

import ee
import numpy as np
import pytest

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
BAD = (3, 8, 9, 10)


def _valid(b2: Any, scl: Any) -> Any:
    """Where B2 is neither nodata nor classed as cloud or shadow."""
    return (b2 != 0) & ~np.isin(scl, BAD)


def _median(values: Any, valid: Any) -> Any:
    return np.nan_to_num(np.nanmedian(np.where(valid, values, np.nan), axis=0))


@pytest.mark.parametrize("count", [1, 2, 5, 6, 13])
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_masked_median_equals_numpy_for_odd_and_even_counts(
    serve: Any, stack: Any, pixels: Any, clear: Any, count: int
) -> None:
    scenes, b2, scl = stack(count, seed=count)
    serve(scenes)
    image = ee.ImageCollection(COLLECTION).map(clear).select(["B2"]).median()
    got = pixels(image)["B2"]
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, _median(b2, _valid(b2, scl)))


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_recipe_of_a_composite_with_count_fill_and_rounding(
    serve: Any, stack: Any, pixels: Any, clear: Any
) -> None:
    scenes, b2, scl = stack()
    serve(scenes)
    chosen = ee.ImageCollection(COLLECTION).filter(
        ee.Filter.inList("system:index", ["S0", "S2", "S3", "S5"])
    )
    masked = chosen.map(clear).select(["B2", "B3"])
    image = masked.median().add(0.5).floor().toUint16().unmask(7, False)
    count = masked.select("B2").count().unmask(0, False).toUint8().rename(["n"])
    got = pixels(image.addBands(count))
    assert got.dtype.descr == [("B2", "<u2"), ("B3", "<u2"), ("n", "|u1")]
    b2, scl = b2[[0, 2, 3, 5]], scl[[0, 2, 3, 5]]
    valid = _valid(b2, scl)
    expected = np.where(valid.any(axis=0), np.floor(_median(b2, valid) + 0.5), 7)
    np.testing.assert_array_equal(got["B2"], expected)
    np.testing.assert_array_equal(got["n"], valid.sum(axis=0))
    # B3 is never 0: only SCL masks it. A band's own nodata does not mask the others.
    np.testing.assert_array_equal(got["B3"] == 7, ~(~np.isin(scl, BAD)).any(axis=0))


def test_other_reductions_and_their_band_names(serve: Any, stack: Any, pixels: Any) -> None:
    scenes, b2, _ = stack()
    serve(scenes)
    bands = ee.ImageCollection(COLLECTION).select(["B2"])
    valid, values = b2 != 0, np.where(b2 != 0, b2, np.nan)
    np.testing.assert_allclose(pixels(bands.mean())["B2"], np.nanmean(values, axis=0))
    np.testing.assert_array_equal(pixels(bands.count())["B2"], valid.sum(axis=0))
    np.testing.assert_array_equal(pixels(bands.min())["B2"], np.nanmin(values, axis=0))
    np.testing.assert_array_equal(pixels(bands.max())["B2"], np.nanmax(values, axis=0))
    np.testing.assert_allclose(pixels(bands.sum())["B2"], np.nansum(values, axis=0))
    both = pixels(bands.reduce(ee.Reducer.percentile([10, 50])))
    assert both.dtype.names == ("B2_p10", "B2_p50")
    np.testing.assert_allclose(both["B2_p10"], np.nanpercentile(values, 10, axis=0))
    combined = ee.Reducer.median().combine(ee.Reducer.count(), sharedInputs=True)
    named = pixels(bands.reduce(combined))
    assert named.dtype.names == ("B2_median", "B2_count")
    np.testing.assert_array_equal(named["B2_median"], both["B2_p50"])
    spread = pixels(bands.reduce(ee.Reducer.stdDev()))["B2_stdDev"]
    np.testing.assert_allclose(spread, np.nanstd(values, axis=0), atol=1e-9)


def test_mosaic_shows_the_last_valid_image_and_sort_turns_it_around(
    serve: Any, stack: Any, pixels: Any
) -> None:
    scenes, b2, _ = stack()
    serve(scenes)
    bands = ee.ImageCollection(COLLECTION).select(["B2"])

    def topmost(order: Any) -> Any:
        result = np.zeros_like(b2[0])
        for image in order:
            result = np.where(image != 0, image, result)
        return result

    np.testing.assert_array_equal(pixels(bands.mosaic())["B2"], topmost(b2))
    turned = bands.sort("system:time_start", False).mosaic()
    np.testing.assert_array_equal(pixels(turned)["B2"], topmost(b2[::-1]))
    first = bands.reduce(ee.Reducer.first())
    np.testing.assert_array_equal(pixels(first)["B2_first"], topmost(b2[::-1]))


def test_images_are_stacked_in_the_order_of_a_list(serve: Any, stack: Any, pixels: Any) -> None:
    """If this fails, a mosaic of the emulator is not in the order that was asked for."""
    scenes, b2, _ = stack(4)
    serve(scenes)
    order = ee.List(["S2", "S0", "S3", "S1"])
    assert order.indexOf("S3").getInfo() == 2
    assert order.indexOf("S9").getInfo() == -1
    ranked = ee.ImageCollection(COLLECTION).map(
        lambda image: image.set("rank", order.indexOf(image.get("system:index")))
    )
    expected = np.zeros_like(b2[0])
    for k in (2, 0, 3, 1):
        expected = np.where(b2[k] != 0, b2[k], expected)
    got = pixels(ranked.sort("rank").select(["B2"]).mosaic())["B2"]
    np.testing.assert_array_equal(got, expected)


def test_an_empty_collection_has_no_bands(serve: Any, stack: Any, pixels: Any) -> None:
    serve(stack(2)[0])
    empty = ee.ImageCollection(COLLECTION).filterDate("1999-01-01", "2000-01-01")
    assert empty.size().getInfo() == 0
    assert empty.first().getInfo() is None
    assert empty.median().bandNames().getInfo() == []
    with pytest.raises(
        ee.EEException, match="Band pattern 'B2' was applied to an Image with no bands"
    ):
        pixels(empty.median().select("B2"))
    with pytest.raises(ee.EEException, match="no bands"):
        pixels(empty.select("B2").count())


def test_unmask_keeps_the_footprint_unless_told_otherwise(
    serve: Any, stack: Any, pixels: Any, grid: Any
) -> None:
    serve(stack(1)[0])
    image = ee.Image(f"{COLLECTION}/S0").select("B2").add(0).unmask(7)
    wider = grid(10, 8)
    inside, outside = np.split(pixels(image, wider)["B2"], [8], axis=1)
    assert (inside != 0).all()
    assert (outside == 0).all()
    everywhere = ee.Image(f"{COLLECTION}/S0").select("B2").unmask(7, False)
    assert (pixels(everywhere, wider)["B2"][:, 8:] == 7).all()


def test_arithmetic_casts_and_band_handling(serve: Any, stack: Any, pixels: Any) -> None:
    _, b2, scl = stack(1)
    serve(stack(1)[0])
    scene = ee.Image(f"{COLLECTION}/S0")
    valid = b2[0] != 0
    values = b2[0].astype(np.int64)

    def b2_of(image: Any) -> Any:
        return pixels(image)[image.bandNames().getInfo()[0]]

    two = scene.select("B2")
    np.testing.assert_array_equal(b2_of(two.multiply(1000)), np.where(valid, values * 1000, 0))
    np.testing.assert_array_equal(b2_of(two.subtract(900)), np.where(valid, values - 900, 0))
    np.testing.assert_array_equal(b2_of(two.divide(0)), 0 * values)
    np.testing.assert_allclose(b2_of(two.divide(8)), values / 8)
    np.testing.assert_array_equal(b2_of(two.subtract(900).toUint8()),
                                  np.where(valid, np.clip(values - 900, 0, 255), 0))  # fmt: skip
    np.testing.assert_array_equal(b2_of(two.clamp(300, 600.7).int()),
                                  np.where(valid, np.clip(values, 300, 600), 0))  # fmt: skip
    np.testing.assert_array_equal(b2_of(two.gte(500).And(two.lt(900)).Or(two.eq(0))),
                                  valid & (values >= 500) & (values < 900))  # fmt: skip
    recoded = scene.select("SCL").remap([3, 8], [1, 2], 9)
    expected = np.select([scl[0] == 3, scl[0] == 8], [1, 2], 9)
    np.testing.assert_array_equal(pixels(recoded)["remapped"], expected)
    # Names: suffixes where they repeat, new ones where given, regular expressions and indices.
    twice = scene.select(["B2"]).addBands(scene.select(["B2", "B3"]))
    assert twice.bandNames().getInfo() == ["B2", "B2_1", "B3"]
    replaced = scene.addBands(scene.select(["B3"], ["B2"]), overwrite=True)
    assert replaced.bandNames().getInfo() == ["B2", "B3", "SCL"]
    np.testing.assert_array_equal(pixels(replaced)["B2"], b2[0] + 1)
    assert scene.select(["B.*"]).bandNames().getInfo() == ["B2", "B3"]
    assert scene.select([2, 0], ["c", "b"]).bandNames().getInfo() == ["c", "b"]
    constants = ee.Image.cat([ee.Image.constant([1, 2]), 3.5])
    got = pixels(constants)
    assert [got[name][0, 0] for name in got.dtype.names] == [1, 2, 3.5]


def test_linked_collection_brings_bands_of_the_matching_image(
    tmp_path: Any, write_scenes: Any, stack: Any, connect: Any, pixels: Any
) -> None:
    from thor_geo.emulator import EmulatorServer

    scenes, b2, _ = stack(2)
    score = np.full((8, 8), 0.9, dtype=np.float32)
    score[:4] = 0.2
    linked = [{"id": "S0", "date": "2022-06-01", "bands": {"cs": score}}]
    scores = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
    archives = {
        COLLECTION: write_scenes(tmp_path / "s2", scenes),
        scores: write_scenes(tmp_path / "cs", linked),
    }
    with EmulatorServer(archives) as server:
        connect(server.url)
        joined = ee.ImageCollection(COLLECTION).linkCollection(ee.ImageCollection(scores), ["cs"])
        masked = joined.map(lambda image: image.updateMask(image.select("cs").gte(0.5)))
        # S1 has no score, so its pixels are masked; S0's are where the score is high.
        expected = np.where(score >= 0.5, b2[0], 0)
        np.testing.assert_array_equal(pixels(masked.select("B2").median())["B2"], expected)


def test_unclassified_pixels_are_masked_like_nodata(serve: Any, pixels: Any, clear: Any) -> None:
    b2 = np.full((8, 8), 500, dtype=np.uint16)
    scl = np.full((8, 8), 4, dtype=np.uint8)
    scl[0], b2[1] = 0, 0
    serve([{"id": "a", "date": "2022-06-01", "bands": {"B2": b2, "SCL": scl}}])
    scenes = ee.ImageCollection(COLLECTION)
    counts = pixels(scenes.map(clear).select(["B2"]).count())["B2"]
    np.testing.assert_array_equal(counts[:, 0], [0, 0, 1, 1, 1, 1, 1, 1])
    # Without the cloud mask, only the band's own nodata is masked.
    counts = pixels(scenes.select(["B2"]).count())["B2"]
    np.testing.assert_array_equal(counts[:, 0], [1, 0, 1, 1, 1, 1, 1, 1])
