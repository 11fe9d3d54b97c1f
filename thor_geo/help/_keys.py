"""Made by ``python -m thor_geo.help.making``; do not edit."""

# ruff: noqa: E501

#: Class, and (key, type and default, meaning) of each key, by section.
KEYS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "model": (
        "THOREmbeddingTask",
        (
            (
                "model_key",
                "str = thor_v1_base",
                "thor_v1_tiny, _small, _base or _large.",
            ),
            (
                "pretrained",
                "bool = true",
                "Download the published weights; false gives seeded random ones.",
            ),
            (
                "ckpt",
                "path = null",
                "Checkpoint file to load instead of the published weights.",
            ),
            (
                "patch_size",
                "int = 16",
                "Side of a patch in pixels of each group's own grid.",
            ),
            (
                "group_merge",
                "str = mean",
                "How the groups' maps become one: mean, sum or concat.",
            ),
            (
                "pooling",
                "str = mean",
                "How tokens become one vector: mean or max.",
            ),
            (
                "seed",
                "int = 0",
                "Seed of the random weights when pretrained is false and ckpt is null.",
            ),
            (
                "threads",
                "int = null",
                "CPU threads per process, part of a CPU run's fingerprint; null takes all cores.",
            ),
            (
                "backbone",
                "Module = null",
                "Another frozen model, returning tokens (B, N, D) or a map (B, D, h, w), used instead of THOR.",
            ),
        ),
    ),
    "data": (
        "CompositeDataModule",
        (
            (
                "area",
                "AreaSpec required",
                "Where; a dict of AreaSpec's fields will do.",
            ),
            (
                "area.bbox",
                "4 floats",
                "West, south, east, north; degrees, or metres with crs.",
            ),
            (
                "area.crs",
                "str = OGC:CRS84",
                "CRS of bbox, e.g. EPSG:32631.",
            ),
            (
                "area.point",
                "2 floats",
                "Longitude and latitude in degrees; needs buffer_m.",
            ),
            (
                "area.buffer_m",
                "float",
                "Half the side in metres of the square around a point; with points it may be left out, which takes the tiles that hold the points.",
            ),
            (
                "area.file",
                "path",
                "Polygons: GeoJSON, GeoPackage, or whatever geopandas reads.",
            ),
            (
                "area.layer",
                "str",
                "Layer of file, where it has several.",
            ),
            (
                "area.points",
                "path",
                "Table with columns lon and lat (CSV or Parquet).",
            ),
            (
                "start",
                "str required",
                "First day of the window, YYYY-MM-DD.",
            ),
            (
                "end",
                "str required",
                "Day after the window's last, YYYY-MM-DD.",
            ),
            (
                "source",
                "str = earthengine",
                "earthengine, or emulator for a folder of scenes on this machine.",
            ),
            (
                "project",
                "str = null",
                "Cloud project registered for Earth Engine.",
            ),
            (
                "credentials",
                "str = auto",
                "auto, user, service_account or application_default. One of auto, user, service_account, application_default, anonymous.",
            ),
            (
                "service_account_file",
                "path = null",
                "Path of a service account's JSON key.",
            ),
            (
                "url",
                "str = null",
                "Another endpoint than Earth Engine's high-volume one.",
            ),
            (
                "emulator_archive",
                "path = null",
                "Folder of scenes for the emulator; null generates one.",
            ),
            (
                "collection",
                "str",
                "Earth Engine image collection. Default COPERNICUS/S2_SR_HARMONIZED.",
            ),
            (
                "bands",
                "list",
                "Earth Engine band names, in the order of the planes; none for Sentinel-1 alone. Default [B2, B3, B4, B5, B6, B7, B8, B8A, B11, B12].",
            ),
            (
                "cloudy_pct",
                "float = 30.0",
                "Scenes cloudier than this percentage are left out.",
            ),
            (
                "composite",
                "str = median",
                "median or mean over the scenes that pass.",
            ),
            (
                "mask",
                "str = none",
                "none, or scl to mask cloud, cirrus and shadow pixels.",
            ),
            (
                "sentinel1",
                "Sentinel1Spec = null",
                "Sentinel-1, too: a dict of Sentinel1Spec's fields; {} takes their defaults.",
            ),
            (
                "sentinel1.collection",
                "str",
                "Earth Engine image collection, in decibel. Default COPERNICUS/S1_GRD.",
            ),
            (
                "sentinel1.polarisations",
                "list = [VV, VH]",
                "VV and VH, or HH and HV, or one of them; their order is that of the planes.",
            ),
            (
                "sentinel1.mode",
                "str = IW",
                "Instrument mode: IW (interferometric wide swath) or EW (extra wide swath, 40 m).",
            ),
            (
                "sentinel1.orbit",
                "str = both",
                "Orbit pass that a scene must have: both, ascending or descending.",
            ),
            (
                "sentinel1.orbit_fallback",
                "bool = false",
                "Whether blocks without any scene of that pass take those of the other one.",
            ),
            (
                "sentinel1.composite",
                "str = median",
                "Per-pixel reduction: median or mean of the decibel values, as they are stored.",
            ),
            (
                "sentinel1.scale_m",
                "int = 10",
                "Pixel size in metres.",
            ),
            (
                "normalize",
                "str = thor_stats",
                "thor_stats (pre-training z-scores), unit_scale (0..1), none, or log1p_p99 (rs-embed's scaling of Sentinel-1, for comparison only).",
            ),
            (
                "tile_size",
                "int = 288",
                "Side of a tile in pixels.",
            ),
            (
                "stride",
                "int = null",
                "Distance of tiles in pixels; null for tile_size.",
            ),
            (
                "resolution",
                "int = 10",
                "Pixel size in metres.",
            ),
            (
                "shard_tiles",
                "int = 8",
                "Side of a shard in tiles.",
            ),
            (
                "anchor",
                "2 floats = null",
                "Upper-left corner (x, y) of some tile in metres, for data on an odd grid.",
            ),
            (
                "block_size",
                "int = 576",
                "Side in pixels of the blocks that are fetched and cached.",
            ),
            (
                "batch_size",
                "int = 32",
                "Tiles per batch; batches never cross a shard.",
            ),
            (
                "num_workers",
                "int = 4",
                "DataLoader workers.",
            ),
            (
                "cache_dir",
                "path = null",
                "Where blocks are kept; null for $THOR_GEO_CACHE or ~/.cache/thor-geo.",
            ),
            (
                "concurrency",
                "int = 40",
                "Requests in flight over all ranks, and over the jobs that run at once (a project may have 40).",
            ),
            (
                "ahead",
                "int = 64",
                "Blocks the prefetch process may be ahead of the model.",
            ),
            (
                "clamp",
                "bool = true",
                "Clamp values outside 0..10000; false stops the run at them.",
            ),
            (
                "strict",
                "bool = false",
                "Stop at the first tile that cannot be produced, instead of recording it.",
            ),
            (
                "labels",
                "path = null",
                "Raster of integer labels, for fit, validate and test.",
            ),
            (
                "split",
                "3 floats",
                "Shares of train, val and test. Default [0.6, 0.2, 0.2].",
            ),
            (
                "split_side",
                "int = 2",
                "Side in tiles of the squares that are split.",
            ),
        ),
    ),
    "output": (
        "RunWriter",
        (
            (
                "dir",
                "path required",
                "Directory of the run; one run per directory.",
            ),
            (
                "pooled",
                "bool = true",
                "Whether to write one vector per tile (GeoParquet).",
            ),
            (
                "grid",
                "bool = true",
                "Whether to write maps (Zarr); tiles must not overlap.",
            ),
            (
                "dtype",
                "str = float32",
                "Of the embeddings on disk, of both. int8 has a scale for each tile, scale beside the embeddings: a value is embedding * scale. One of float32, float16, int8.",
            ),
            (
                "quicklook",
                "bool = true",
                "Whether to draw quicklook.png at the end.",
            ),
        ),
    ),
}
