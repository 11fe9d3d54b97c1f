"""If one of these fails, the first picture of a run is missing, misplaced or misleading."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.synthetic_run import CELLS, Data, Model, plan_of, write_run
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.lattice import Bounds
from thor_geo.ground.plan import Plan
from thor_geo.pictures import zone_pictures
from thor_geo.pictures.caption import run_caption
from thor_geo.pictures.maps import nice_length
from thor_geo.pictures.pca import Colours
from thor_geo.pictures.quicklook import write_quicklook
from thor_geo.pictures.zone_pictures import drawn_zones, read_pictures
from thor_geo.runs import RunDirectory


def test_colours_follow_the_components_and_are_reproducible() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1, 1, size=(2000, 3)) * (9, 3, 1)
    axes = np.linalg.qr(rng.normal(size=(8, 3)))[0]
    sample = (scores @ axes.T + 5).astype(np.float32)
    colours = Colours.fit(sample)
    for k in range(3):
        red = colours(sample)[:, k].astype(float)
        assert abs(np.corrcoef(red, scores[:, k])[0, 1]) > 0.98
    assert colours.share[0] > colours.share[1] > colours.share[2] > 0
    assert sum(colours.share) == pytest.approx(1)
    assert (colours.axes[np.abs(colours.axes).argmax(axis=0), range(3)] > 0).all()
    # A component's sign is free: the same ground must not change its colours between runs.
    np.testing.assert_array_equal(Colours.fit(sample)(sample), colours(sample))


@pytest.mark.parametrize("sample", [np.ones((1, 8)), np.ones((9, 8)), np.eye(2, 8)])
def test_few_or_equal_embeddings_have_colours_too(sample: np.ndarray) -> None:
    assert Colours.fit(sample)(sample).dtype == np.uint8
    if (sample == sample[0]).all():
        assert (Colours.fit(sample)(sample) == 128).all()


def ramp(epsg: int, bounds: Bounds, shape: tuple[int, int]) -> np.ndarray:
    """Return pixels whose red is their easting within the bounds, and green their northing."""
    rows, cols = shape
    image = np.zeros((rows, cols, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, cols).round()[None]
    image[..., 1] = np.linspace(255, 0, rows).round()[:, None]
    return image


@pytest.mark.parametrize("grid", [True, False])
def test_every_zone_is_drawn_in_its_place(tmp_path: Path, plan: Plan, grid: bool) -> None:
    run = write_run(tmp_path / "run", plan, failed={1: "x"}, empty=(2,), grid=grid).run
    found, colours = read_pictures(run, plan, ramp)
    assert colours is not None
    assert [picture.epsg for picture in found] == [32632, 32633]
    for picture in found:
        left, bottom, right, top = picture.bounds
        rows, cols = picture.observations.shape
        assert (right - left, top - bottom) == (cols * 2880, rows * 2880)
        cells = CELLS if grid else 1
        assert picture.embeddings.shape == (rows * cells, cols * cells, 4)
        assert picture.truecolour is not None
        per_tile = picture.truecolour.shape[0] // rows
        tiles = {k: plan.tile(k) for k in range(len(plan)) if plan.tile(k).epsg == picture.epsg}
        assert picture.tiles == len(tiles)
        inside = np.zeros((rows, cols), bool)
        for k, tile in tiles.items():
            row = round((top - tile.bounds[3]) / 2880)
            col = round((tile.bounds[0] - left) / 2880)
            inside[row, col] = True
            assert picture.embeddings[row * cells, col * cells, 3] == (0 if k in (1, 2) else 255)
            if k != 1:
                assert picture.observations[row, col] == (0 if k == 2 else k % 7 + 2.5)
        alpha = picture.truecolour[::per_tile, ::per_tile, 3] == 255
        np.testing.assert_array_equal(alpha, inside)
        assert np.isfinite(picture.observations).sum() == len(tiles) - (1 in tiles)
        assert picture.truecolour[0, -1, 0] >= picture.truecolour[0, 0, 0]
    assert [b for p in found for b in p.failed] == [plan.tile(1).bounds]
    assert [b for p in found for b in p.empty] == [plan.tile(2).bounds]


def test_the_embedding_image_shows_east_and_north(written: RunDirectory, plan: Plan) -> None:
    # Easting and northing dominate the synthetic embedding, so some channel must grow with each.
    for picture in read_pictures(written, plan)[0]:
        image = picture.embeddings.astype(float)
        rows, cols = np.nonzero(image[..., 3])
        values = image[rows, cols, :3]
        for place in (rows, cols):
            correlation = [abs(np.corrcoef(place, values[:, k])[0, 1]) for k in range(3)]
            assert max(correlation) > 0.5


def test_large_grids_are_read_in_strides(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", plan).run
    whole = read_pictures(run, plan)[0]
    monkeypatch.setattr(zone_pictures, "MAX_SIDE", 7)
    for full, few in zip(whole, read_pictures(run, plan)[0], strict=True):
        step = -(-max(full.embeddings.shape[:2]) // 7)
        assert step > 1
        assert max(few.embeddings.shape) <= 7
        expected = full.embeddings[step // 2 :: step, step // 2 :: step]
        np.testing.assert_array_equal(few.embeddings, expected)


def test_a_run_too_large_for_a_picture_is_drawn_in_part_or_said_to_be_too_large(
    tmp_path: Path,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = write_run(tmp_path / "run", plan).run
    tiles = np.bincount(plan.zone)
    assert drawn_zones(plan) == [0, 1]
    shards = np.bincount(plan.shards.zone)
    monkeypatch.setattr(zone_pictures, "MAX_SHARDS", int(shards.sum()) - 1)
    assert drawn_zones(plan) == [int(tiles.argmax())]
    (picture,) = read_pictures(run, plan)[0]
    assert picture.tiles == tiles.max()
    write_quicklook(run, plan)
    run.quicklook.unlink()
    monkeypatch.setattr(zone_pictures, "MAX_SHARDS", int(shards[tiles.argmax()]) - 1)
    with caplog.at_level(logging.WARNING):
        write_quicklook(run, plan)
    assert not run.quicklook.exists()
    assert "quicklook.png is not drawn" in caplog.text


def test_the_picture_is_1600_pixels_wide_and_reproducible(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path / "run", plan, failed={1: "x"}, empty=(2,)).run
    write_quicklook(run, plan, truecolour=ramp)
    first = run.quicklook.read_bytes()
    with Image.open(run.quicklook) as image:
        assert image.width == 1600
        assert 500 < image.height < 4000
        small = np.asarray(image.convert("RGB").resize((200, 200))).reshape(-1, 3)
        assert len(np.unique(small, axis=0)) > 500
    write_quicklook(run, plan, truecolour=ramp)
    assert run.quicklook.read_bytes() == first
    write_quicklook(run, plan, truecolour=lambda epsg, bounds, shape: None)
    assert run.quicklook.read_bytes() != first


@pytest.mark.parametrize(
    "bbox",
    [(10.7, 59.91, 10.71, 59.915), (10.2, 59.9, 11.0, 59.92), (10.6, 59.5, 10.62, 60.2)],
    ids=["one tile", "wide", "tall"],
)
def test_areas_of_any_shape_fit(tmp_path: Path, bbox: tuple[float, float, float, float]) -> None:
    plan = plan_of(bbox)
    run = write_run(tmp_path / "run", plan, quicklook=True).run
    with Image.open(run.quicklook) as image:
        assert image.width == 1600
        assert 400 < image.height < 1800


@pytest.mark.parametrize("damaged", ["embeddings", "scale", "pooled"])
def test_a_damaged_file_is_named_with_the_remedy_which_works(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str], damaged: str
) -> None:
    how: dict[str, Any] = {"pooled": damaged == "pooled", "grid": damaged != "pooled"}
    how |= {"dtype": "int8", "quicklook": True}
    run = write_run(tmp_path / "run", plan, only=len(plan.shards) - 1, **how).run
    shard = plan.shards[0]
    marker = run.marker_path(shard)
    (name,) = [name for name in json.loads(marker.read_text())["outputs"] if damaged in name]
    at = 8  # in the first chunk
    if damaged == "pooled":
        group = pq.read_metadata(run.path / name).row_group(0)
        columns = [group.column(k) for k in range(group.num_columns)]
        (column,) = [one for one in columns if one.path_in_schema.startswith("embedding")]
        at = column.dictionary_page_offset
    content = bytearray((run.path / name).read_bytes())
    content[at] ^= 0x10
    (run.path / name).write_bytes(content)
    capsys.readouterr()
    # The second time there is nothing to do but the picture.
    for _ in range(2):
        with pytest.raises(RunDirectoryError) as caught:
            write_run(run.path, plan, **how)
        message = str(caught.value)
        assert message.startswith(f"`{run.path / name}` cannot be read (")
        assert f"Delete `{marker}`, then run the same `thor-geo predict` command" in message
        assert f"{len(plan)} of {len(plan)}: " in capsys.readouterr().out
    assert not run.quicklook.exists()
    marker.unlink()
    write_run(run.path, plan, **how)
    assert run.quicklook.exists()


def test_a_run_without_any_embedding_is_drawn(tmp_path: Path, plan: Plan) -> None:
    everything = tuple(range(len(plan)))
    run = write_run(tmp_path / "run", plan, empty=everything, quicklook=True).run
    assert run.quicklook.stat().st_size > 10_000


def test_random_weights_are_told(tmp_path: Path, plan: Plan) -> None:
    caption = run_caption(write_run(tmp_path / "random", plan).run, plan)
    assert caption.notice.startswith("random weights (seed 0)")
    assert caption.title == "THOR embeddings, thor_v1_tiny"
    assert "2022-06-01 to 2022-09-01" in caption.subtitle

    class Pretrained(Model):
        def info(self) -> dict[str, object]:
            return {"model_key": "thor_v1_base", "pretrained": True}

    trained = write_run(tmp_path / "trained", plan, model=Pretrained()).run
    assert run_caption(trained, plan).notice == ""


def test_the_true_colours_come_from_the_datamodule(tmp_path: Path, plan: Plan) -> None:
    asked = []

    class WithPixels(Data):
        def truecolour(self, epsg: int, bounds: Bounds, shape: tuple[int, int]) -> np.ndarray:
            asked.append(epsg)
            return ramp(epsg, bounds, shape)

    write_run(tmp_path / "run", plan, data=WithPixels(plan), quicklook=True)
    assert asked == [32632, 32633]


@pytest.mark.parametrize(
    ("longest", "nice"), [(7300, 5000), (2000, 2000), (19.9, 10), (1.2e5, 1e5)]
)
def test_scale_bars_have_round_lengths(longest: float, nice: float) -> None:
    assert nice_length(longest) == pytest.approx(nice)
