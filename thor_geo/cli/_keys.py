"""Made by ``python -m thor_geo.cli.making``; do not edit."""

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
                "ground_cover",
                "int = null",
                "Side of a tile on the ground in metres, where its pixels were resampled; null for image_size times resolution.",
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
                "How tokens become one vector: mean or max of all, grid_mean of the merged grid, group_mean of each group, side by side.",
            ),
            (
                "layers",
                "list = [-1]",
                "Blocks whose tokens are taken, negative ones from the end; those of several stand side by side.",
            ),
            (
                "norm",
                "bool = false",
                "Apply the final LayerNorm to the tokens.",
            ),
            (
                "implementation",
                "str = thorgeo",
                "thorgeo, or official for the authors' TerraTorch extension, which must be installed, patches timm, and gives the same numbers.",
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
                "str = null",
                "First day of the window, YYYY-MM-DD.",
            ),
            (
                "end",
                "str = null",
                "Day after the window's last, YYYY-MM-DD.",
            ),
            (
                "windows",
                "list = null",
                "Several windows in place of start and end, each [start, end], in ascending order; one embedding for each, and a time axis in the maps.",
            ),
            (
                "source",
                "str = earthengine",
                "earthengine; emulator for a folder of scenes on this machine; stac for a STAC API or a static STAC catalogue.",
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
                "stac_url",
                "str = null",
                "Root of a STAC API, or address or path of a static catalogue.",
            ),
            (
                "stac_collection",
                "str = null",
                "Its collection; null for all items of a static catalogue.",
            ),
            (
                "stac_assets",
                "dict = null",
                "Where bands are, if metadata does not tell: {B4: red, B8: KEY#2}.",
            ),
            (
                "stac_offset",
                "int = null",
                "DN to add to all reflectances; null for what each item says.",
            ),
            (
                "stac_sign",
                "str = none",
                "none, or planetary_computer to have its files' addresses signed.",
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
                "median, mean or percentile over the scenes that pass; mosaic lays the least cloudy one on top.",
            ),
            (
                "percentile",
                "float = null",
                "Which one, 0 to 100, for composite: percentile.",
            ),
            (
                "mask",
                "str = none",
                "Cloudy pixels are masked by scl (scene classification, Level-2A), cloud_score_plus or none.",
            ),
            (
                "scl_classes",
                "list = null",
                "Classes that mask: scl removes; null for 3, 8, 9, 10.",
            ),
            (
                "cloud_score_band",
                "str = null",
                "cs or cs_cdf, for cloud_score_plus; null for cs_cdf.",
            ),
            (
                "cloud_score_threshold",
                "float = null",
                "Least score of a clear pixel, 0 to 1; null for 0.6.",
            ),
            (
                "scenes",
                "list = null",
                "Only these scenes, by system:index; each must pass dates and cloudy_pct.",
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
                "thor_stats (pre-training z-scores), dataset (z-scores by statistics), unit_scale (0..1), none, or log1p_p99 (rs-embed's scaling of Sentinel-1, for comparison only).",
            ),
            (
                "statistics",
                "path = null",
                "File that thor-geo stats wrote, for dataset.",
            ),
            (
                "clamp_z",
                "bool = false",
                "Clamp z-scores to -5..5, as in pre-training.",
            ),
            (
                "nodata_fill",
                "str = value",
                "Pixels without observation: value, the fill as if it were measured, or mean of the tile's observed pixels, as in pre-training.",
            ),
            (
                "tile_size",
                "int = 288",
                "Side of a tile in pixels.",
            ),
            (
                "stride",
                "int = null",
                "Distance of tiles in pixels; null for tile_size. Less overlaps them.",
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
                "fetch_workers",
                "int = null",
                "Most requests in flight of one rank; null for its share of concurrency.",
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
                "Whether to write maps (Zarr); of tiles that overlap, their centres.",
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
            (
                "crop",
                "bool = false",
                "Whether to leave out cells of maps whose centre lies outside the area: they are NaN, or -128 of int8. Whole tiles are embedded in any case, and have their vectors.",
            ),
        ),
    ),
}
