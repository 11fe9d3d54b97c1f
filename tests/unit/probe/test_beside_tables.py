"""If these fail, somebody's vectors are read from wrong columns, or damaged ones compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from thor_geo.errors import ConfigError
from thor_geo.probe.beside import Beside, check_besides
from thor_geo.probe.beside_table import PlacedVectors, read_placed_vectors

N, D = 12, 64
VECTORS = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
LON, LAT = 10.6 + np.arange(N) / 100, 59.9 + np.arange(N) / 200
IDS = [f"plot {k}" for k in range(N)]


def read(path: Path, ids: tuple[str, ...] = ("plot_id",)) -> PlacedVectors:
    return read_placed_vectors(path, ids)


def numbered(prefix: str, digits: int = 1, first: int = 0) -> dict[str, np.ndarray]:
    return {f"{prefix}{k + first:0{digits}}": VECTORS[:, k] for k in range(D)}


def written(folder: Path, columns: dict[str, Any], name: str = "t.parquet") -> Path:
    path = folder / name
    if path.suffix == ".csv":
        pd.DataFrame(columns).to_csv(path, index=False)
    else:
        pq.write_table(pa.table(columns), path)
    return path


def test_the_csv_of_earth_engine_is_read_as_it_is_exported(tmp_path: Path) -> None:
    """AlphaEarth's annual embeddings, sampled at points: the geometry is GeoJSON in `.geo`."""
    geo = [
        f'{{"geodesic":false,"type":"Point","coordinates":[{x},{y}]}}'
        for x, y in zip(LON, LAT, strict=True)
    ]
    columns = {"system:index": [f"{k}_0" for k in range(N)], **numbered("A", 2), "crop": 1}
    found = read(written(tmp_path, {**columns, ".geo": geo}, "aef.csv"))
    assert found.found.words == "columns A00 to A63"
    np.testing.assert_allclose(found.found.values, VECTORS, rtol=1e-6)
    np.testing.assert_allclose(found.lon, LON)
    np.testing.assert_allclose(found.lat, LAT)


def test_an_export_without_geometries_is_joined_by_its_ids(tmp_path: Path) -> None:
    """Earth Engine writes an empty MultiPoint in each row then."""
    geo = ['{"type":"MultiPoint","coordinates":[]}'] * N
    path = written(tmp_path, {"plot_id": IDS, **numbered("A", 2), ".geo": geo}, "aef.csv")
    found = read(path)
    assert found.lon is None
    assert found.ids["plot_id"].tolist() == IDS
    with pytest.raises(ConfigError, match=r"neither an id nor a place.*Give tile_id, lon and lat"):
        read(path, ids=("tile_id",))
    with pytest.raises(ConfigError, match=r"place\. Give lon and lat \(degrees\) or a geometry\."):
        read(path, ids=())  # cells have none


@pytest.mark.parametrize("kind", ["list", "fixed", "half", "json", "numpy", "f", "dim_", "bare"])
def test_vectors_are_found_however_they_are_written(tmp_path: Path, kind: str) -> None:
    lists: dict[str, Any] = {
        "list": pa.array(list(VECTORS)),
        "fixed": pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), D),
        "half": pa.array([v.astype(np.float16) for v in VECTORS], pa.list_(pa.float16())),
        "json": [str(v.tolist()) for v in VECTORS],
        "numpy": [str(v) for v in VECTORS],
    }
    columns = {"vector": lists[kind]} if kind in lists else {}
    if kind in ("f", "dim_"):
        columns = numbered(kind, 3 if kind == "f" else 1)
    if kind == "bare":
        columns = numbered("", first=1)  # as --export-csv and NeuCo-Bench name them
    found = read(written(tmp_path, {"plot_id": IDS, "lon": LON, "lat": LAT, **columns}))
    tolerance = {"half": 2e-3, "numpy": 1e-6}.get(kind, 1e-7)
    np.testing.assert_allclose(found.found.values, VECTORS, rtol=tolerance, atol=tolerance)
    assert found.found.usable.all()


def test_outlines_of_chips_have_a_middle_and_a_size(tmp_path: Path) -> None:
    """As Clay, Earth Index and Major TOM write theirs; the CRS may be any."""
    boxes = gpd.GeoSeries(gpd.points_from_xy(LON, LAT, crs=4326)).to_crs(32632).buffer(560)
    frame = gpd.GeoDataFrame({"embeddings": list(VECTORS)}, geometry=boxes.envelope)
    frame.to_parquet(tmp_path / "clay.gpq")
    found = read(tmp_path / "clay.gpq")
    assert found.polygons is not None
    assert found.side_m == pytest.approx(1120, rel=0.01)
    np.testing.assert_allclose(found.lon, LON, atol=1e-5)
    frame.geometry = [*boxes.envelope[:-1], shapely.Point(6e5, 6.6e6)]
    frame.to_parquet(tmp_path / "mixed.gpq")
    with pytest.raises(ConfigError, match=r"polygons, and others in row 12 \(Point\)"):
        read(tmp_path / "mixed.gpq")


def test_our_own_codes_are_scaled(tmp_path: Path) -> None:
    """Without its scale an int8 vector is another direction's length for each row."""
    codes = np.random.default_rng(1).integers(-127, 128, (N, D)).astype(np.int8)
    scale = np.linspace(0.1, 2, N).astype(np.float32)
    columns = {"plot_id": IDS, "embedding": pa.array(list(codes)), "scale": scale}
    found = read(written(tmp_path, {**columns, "transform": [[1.0] * 6] * N}))
    np.testing.assert_allclose(found.found.values, codes * scale[:, None], rtol=1e-6)


def test_vectors_that_say_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    rows: list[Any] = [v.tolist() for v in VECTORS]
    rows[1], rows[2][5], rows[3][0], rows[4] = None, float("nan"), float("inf"), [-128.0] * D
    found = read(written(tmp_path, {"plot_id": IDS, "embedding": pa.array(rows)}))
    assert found.found.left_out == {"null": 1, "not_finite": 2, "constant": 1}
    assert np.flatnonzero(~found.found.usable).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"crop": 1}, "it holds no vectors"),
        ({"f": list(VECTORS), "g": list(VECTORS)}, r"several.*column f \(64 values\); column g"),
        (numbered("A", 2) | numbered("f", 3), "columns A00 to A63 .*; columns f000 to f063"),
        ({k: v for k, v in numbered("A", 2).items() if k != "A17"}, "A17 missing"),
        ({"embedding": [[1.0, 2.0]] * 11 + [[1.0]]}, r"of 2 values, and others in row 12 \(1\)"),
        ({"embedding": [[0.0] * D] * N}, r"none of its 12 rows .* \(12 with one value"),
        ({"embedding": [[1.0, 2.0, 3.0]] * N}, "all its 12 vectors are the same"),
        ({"embedding": ["[0.1 0.2 ... 0.3]"] * N}, "It was cut when"),
        ({"embedding": ["[0.1, 0.2, 0.3]"] * 11 + ["[0.1, 0.2, 0.31"]}, r"row 12 .* It was cut"),
    ],
)
def test_columns_that_are_not_clear_are_refused(
    tmp_path: Path, columns: dict[str, Any], problem: str
) -> None:
    columns = {key: [value] * N if np.isscalar(value) else value for key, value in columns.items()}
    with pytest.raises(ConfigError, match=problem) as error:
        read(written(tmp_path, {"plot_id": IDS, **columns}))
    assert error.value.argument == "--beside"


def test_a_vector_column_goes_before_bands_that_are_numbered(tmp_path: Path) -> None:
    columns = {"plot_id": IDS, "embedding": list(VECTORS), **numbered("B", first=1)}
    assert read(written(tmp_path, columns)).found.words == "column embedding"


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "tessera.npz", VECTORS)
    with pytest.raises(ConfigError, match="an array, not a table"):
        read(tmp_path / "tessera.npz")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ConfigError, match="not readable"):
        read(tmp_path / "broken.parquet")


def test_the_lines_for_rs_embed_make_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its combined export: arrays by model, and a manifest of the places in their order."""
    monkeypatch.chdir(tmp_path)
    np.savez_compressed("points.npz", embeddings__remoteclip=VECTORS)
    places = [
        {"lon": x, "lat": y, "buffer_m": 2048, "crs": "EPSG:4326"}
        for x, y in zip(LON.tolist(), LAT.tolist(), strict=True)
    ]
    Path("points.json").write_text(json.dumps({"spatials": places}))
    page = (Path(__file__).parents[3] / "docs" / "comparing.md").read_text()
    (block,) = re.findall(r"```python\n([^`]*points\.npz[^`]*)```", page)
    exec(block, {})
    found = read(tmp_path / "remoteclip.parquet")
    np.testing.assert_array_equal(found.found.values, VECTORS)
    np.testing.assert_array_equal(found.lat, LAT)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tiles.parquet", "not of the form NAME=FILE"),
        ("=tiles.parquet", "its name is empty"),
        ("a,b=tiles.parquet", "its name has a comma"),
        ("THOR=tiles.parquet", "already"),
        ("chance=tiles.parquet", "already"),
    ],
)
def test_a_name_that_the_report_cannot_use_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Beside.parse(text)


def test_a_name_is_given_once() -> None:
    assert Beside.parse("aef=a=b.csv").path == Path("a=b.csv")
    with pytest.raises(ConfigError, match="given twice"):
        check_besides((Beside.parse("aef=a.csv"), Beside.parse("AEF=b.csv")))


def test_a_short_series_among_other_numbers_is_doubted(tmp_path: Path) -> None:
    """Four columns of temperatures are no embedding, and the bands beside them were meant."""
    place = {"lon": LON, "lat": LAT}
    short = {f"t{k}": VECTORS[:, k] for k in range(1, 5)}
    bands = {name: VECTORS[:, k] for k, name in enumerate(("red", "nir"), start=5)}
    found = read(written(tmp_path, {**place, **short, **bands})).found
    assert found.words == "columns t1 to t4"
    assert found.doubt.startswith("columns t1 to t4 (4 values), not red, nir: ")
    assert read(written(tmp_path, {**place, **short, "note": IDS})).found.doubt == ""
    assert read(written(tmp_path, {**place, **numbered("f"), **bands})).found.doubt == ""


def test_rows_of_nan_are_said_to_be_null_or_nan(tmp_path: Path) -> None:
    """Pandas writes what is missing as NaN, so that "null" alone sends people looking for nulls."""
    gaps = {f"f{k}": np.full(N, np.nan) for k in range(D)}
    with pytest.raises(ConfigError, match=r"\(12 without a vector \(null or NaN\)\)"):
        read(written(tmp_path, {"lon": LON, "lat": LAT, **gaps}))
