"""Findings as files to download: tiles as a GeoPackage, cells as GeoTIFF."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.explorer.compare import Comparison
from thor_geo.explorer.located import RasterVectors
from thor_geo.explorer.points import PointVectors
from thor_geo.ground.lattice import zone_name
from thor_geo.ground.plan import Plan
from thor_geo.results.place_table import place_frame
from thor_geo.support.arrays import Float32Array, Int64Array

if TYPE_CHECKING:
    import geopandas

# Footprints are in longitude and latitude, like a run's own vectors.
_CRS = "OGC:CRS84"
# Plain GDAL options, so that any software can read the rasters.
_PROFILE = {"driver": "GTiff", "dtype": "float32", "nodata": np.nan, "compress": "deflate"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplorerFindings:
    """The state of the page: a query and examples.

    Attributes:
        query: Place that others were compared with, or None.
        k: Number of its neighbours.
        positive: Positive examples.
        negative: Negative examples.
        threshold: Score from which a place counts as positive.
    """

    query: int | None
    k: int
    positive: Int64Array
    negative: Int64Array
    threshold: float

    @property
    def probed(self) -> bool:
        """Whether there are examples of both kinds."""
        return len(self.positive) > 0 and len(self.negative) > 0


class Answer(NamedTuple):
    """A response body and its media type, with a name if it is a file to save."""

    media_type: str
    body: Any
    name: str | None = None


def findings_file(plan: Plan, comparison: Comparison, findings: ExplorerFindings) -> Answer:
    """Return the findings as a file.

    Args:
        plan: The run's plan.
        comparison: The places.
        findings: The query and the examples.

    Returns:
        A GeoPackage of tiles; a GeoTIFF of cells, or a zip file with one for each zone.
    """
    if comparison.places.tile is not None:
        content = _geopackage(_layers(plan, comparison, findings))
        return Answer("application/geopackage+sqlite3", content, "findings.gpkg")
    rasters = _rasters(comparison, findings)
    if len(rasters) == 1:
        return Answer("image/tiff", next(iter(rasters.values())), "findings.tif")
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in rasters.items():
            archive.writestr(f"findings_{name}.tif", content)
    return Answer("application/zip", whole.getvalue(), "findings.zip")


def _layers(
    plan: Plan, comparison: Comparison, findings: ExplorerFindings
) -> dict[str, geopandas.GeoDataFrame]:
    """Return the layers `neighbours`, `examples` and `probe`, as far as they exist.

    Tiles are footprints; places are points, with the table's columns.
    """
    places, layers = comparison.places, {}
    assert places.tile is not None
    tile = places.tile
    footprints = None if isinstance(places, PointVectors) else plan.footprints()[tile]

    def layer(chosen: Int64Array, **columns: Any) -> geopandas.GeoDataFrame:
        import geopandas

        if isinstance(places, PointVectors):
            own = places.columns.take(chosen)
            return place_frame(places.plan, tile[chosen], own, columns)
        assert footprints is not None
        ids = [tile_row.id for tile_row in plan.tiles(tile[chosen].tolist())]
        return geopandas.GeoDataFrame(
            {"tile_id": ids, **columns}, geometry=footprints[chosen], crs=_CRS
        )

    if findings.query is not None:
        similar = comparison.similar(findings.query, findings.k)
        found = comparison.found(findings.query, findings.k)
        # Rank 0 is the place itself.
        chosen = np.concatenate([[findings.query], similar.nearest])
        if found is None or found.tile is None:
            layers["neighbours"] = layer(
                chosen, rank=np.arange(len(chosen)), cosine=similar.cosine[chosen]
            )
        else:
            layers["neighbours"] = _found_layer(
                plan,
                np.concatenate([tile[[findings.query]], found.tile]),
                np.concatenate([similar.cosine[[findings.query]], found.cosine]),
            )
    examples = np.concatenate([findings.positive, findings.negative])
    if len(examples):
        label = np.repeat(
            ["positive", "negative"], [len(findings.positive), len(findings.negative)]
        )
        layers["examples"] = layer(examples, label=label)
    if findings.probed:
        scores = comparison.probe(findings.positive, findings.negative)
        once = np.flatnonzero(places.searched)
        layers["probe"] = layer(
            once, score=scores[once], positive=scores[once] >= findings.threshold
        )
    return layers


def _found_layer(plan: Plan, tiles: Int64Array, cosine: Float32Array) -> geopandas.GeoDataFrame:
    """Return tiles of the plan by rank, whether they are in memory or not."""
    import geopandas

    return geopandas.GeoDataFrame(
        {
            "tile_id": [tile.id for tile in plan.tiles(tiles.tolist())],
            "rank": np.arange(len(tiles)),
            "cosine": cosine,
        },
        geometry=[plan.footprints(tile, tile + 1)[0] for tile in tiles.tolist()],
        crs=_CRS,
    )


def _geopackage(layers: dict[str, geopandas.GeoDataFrame]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="thor-geo-explorer-") as folder:
        path = Path(folder) / "findings.gpkg"
        for name, layer in layers.items():
            layer.to_file(path, layer=name, driver="GPKG")
        return path.read_bytes()


def _rasters(comparison: Comparison, findings: ExplorerFindings) -> dict[str, bytes]:
    """Return a GeoTIFF by name of the zone, with bands ``cosine``, ``probe``, ``examples``."""
    places, bands = comparison.places, {}
    assert isinstance(places, RasterVectors)
    if findings.query is not None:
        bands["cosine"] = comparison.similar(findings.query, 0).cosine
    if findings.probed:
        bands["probe"] = comparison.probe(findings.positive, findings.negative)
    if len(findings.positive) or len(findings.negative):
        examples = np.full(len(places), np.nan, dtype=np.float32)
        examples[findings.positive], examples[findings.negative] = 1, 0
        bands["examples"] = examples
    lattice_of = np.array([places.shards.lattices[k].epsg for k in places.shards.zone])
    epsg = lattice_of[places.shard]
    return {
        zone_name(zone): _geotiff(comparison, np.flatnonzero(epsg == zone), zone, bands)
        for zone in np.unique(epsg).tolist()
    }


def _geotiff(
    comparison: Comparison, chosen: Int64Array, epsg: int, bands: dict[str, Float32Array]
) -> bytes:
    import rasterio
    from rasterio.io import MemoryFile

    places = comparison.places
    assert isinstance(places, RasterVectors)
    side = places.side
    corner_col, corner_row = (
        places.shards.col[places.shard[chosen]],
        places.shards.row[places.shard[chosen]],
    )
    # Rows of shards count northwards, rows of a raster southwards.
    west, north = int(corner_col.min()), int(corner_row.max())
    col: npt.NDArray[np.int64] = (corner_col - west) * side + places.col[chosen]
    row: npt.NDArray[np.int64] = (north - corner_row) * side + places.row[chosen]
    shape = ((north - int(corner_row.min()) + 1) * side, int(corner_col.max() - west + 1) * side)
    first = int(chosen[0])
    left, _, right, top = places.bounds(first)
    size = right - left
    transform = rasterio.Affine(
        size, 0, left - int(col[0]) * size, 0, -size, top + int(row[0]) * size
    )
    with MemoryFile() as memory:
        with memory.open(
            **_PROFILE,
            crs=f"EPSG:{epsg}",
            transform=transform,
            height=shape[0],
            width=shape[1],
            count=len(bands),
        ) as out:
            for k, (name, values) in enumerate(bands.items(), start=1):
                raster = np.full(shape, np.nan, dtype=np.float32)
                raster[row, col] = values[chosen]
                out.write(raster, k)
                out.set_band_description(k, name)
        content: bytes = memory.read()
    return content
