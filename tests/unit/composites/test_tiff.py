"""If these fail, pixels come back wrong, or a foreign image in the cache is read as a block."""

from __future__ import annotations

import os
import signal
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import rasterio
from rasterio.transform import from_origin

from thor_geo.composites import _raster, _tiff
from thor_geo.composites._records import DamagedError
from thor_geo.ground.lattice import Block

PLANES = 3
WHOLE = slice(0, 64)

# What blocks have been written as, by this release and by earlier ones.
PACKINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "zstd": {"compress": "zstd", "zstd_level": 1},
    "zstd with differences": {"compress": "zstd", "zstd_level": 1, "predictor": 2},
}


def pixels(size: int, planes: int = PLANES) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Every pixel another value, and steps over the ends of uint16."""
    values = np.arange(planes * size * size, dtype=np.uint32) * 2971 % 65536
    return values.astype(np.uint16).reshape(planes, size, size)


def write(path: Path, size: int = 64, **changes: Any) -> None:
    side = min(288, -(-size // 16) * 16)
    options = {
        "driver": "GTiff",
        "width": size,
        "height": size,
        "count": PLANES,
        "dtype": "uint16",
        "crs": "EPSG:32632",
        "transform": from_origin(5e5, 6.6e6, 10, 10),
        "tiled": True,
        "blockxsize": side,
        "blockysize": side,
        "interleave": "band",
        **changes,
    }
    with rasterio.open(path, "w", **options) as file:
        if options["width"] <= 1024:
            content = pixels(max(options["width"], options["height"]), options["count"])
            file.write(content.astype(options["dtype"]))


def read(path: Path, size: int = 64, rows: slice = WHOLE, cols: slice = WHOLE) -> Any:
    which = _tiff.identity(path)
    assert which is not None
    file = _tiff.VerifiedFile(path=path, which=which, checksum="", shape=(PLANES, size, size))
    found = np.full((PLANES, rows.stop - rows.start, cols.stop - cols.start), 7, np.uint16)
    _tiff.read_into(file, list(found), rows, cols)
    return found


@pytest.mark.parametrize("big", ["NO", "YES"])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("size", [64, 72, 300, 576])
def test_windows_are_what_was_written(tmp_path: Path, size: int, packing: str, big: str) -> None:
    write(tmp_path / "a.tif", size, **PACKINGS[packing], BIGTIFF=big)
    expected = pixels(size)
    inside = min(size, 288)
    for rows, cols in (
        (slice(0, size), slice(0, size)),
        (slice(0, inside), slice(size - inside, size)),
        (slice(5, 6), slice(size - 1, size)),
        (slice(size // 2 - 9, size // 2 + 9), slice(1, size - 1)),
    ):
        found = read(tmp_path / "a.tif", size, rows, cols)
        np.testing.assert_array_equal(found, expected[:, rows, cols])


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_block_of_zeros_is_read(tmp_path: Path, compression: Any) -> None:
    block = Block(epsg=32632, resolution=10, size=320, left=0, top=0)
    zeros = np.zeros((PLANES, 320, 320), np.uint16)
    content = _raster.geotiff(block, zeros, ("a", "b", "c"), compression=compression)
    (tmp_path / "a.tif").write_bytes(content)
    assert not read(tmp_path / "a.tif", 320, slice(0, 320), slice(0, 320)).any()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"count": 2}, "instead of"),
        ({"width": 128}, "instead of"),
        ({"dtype": "float32"}, "not uint16"),
        ({"dtype": "int16"}, "not uint16"),
        # two billion pixels, a few bytes on disk
        ({"width": 60_000, "height": 60_000, "sparse_ok": True}, "instead of"),
        ({"blockxsize": 8192, "blockysize": 8192, "sparse_ok": True}, "its tiles are"),
        ({"blockxsize": 32}, "its tiles are"),
        ({"tiled": False, "blockysize": 1}, "not made of tiles"),
        ({"interleave": "pixel"}, "one plane after another"),
        ({"compress": "deflate"}, "packed in another way"),
        ({"ENDIANNESS": "BIG"}, "little-endian"),
    ],
)
def test_another_image_is_refused_before_its_pixels_are_read(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    write(tmp_path / "a.tif", **changes)
    with pytest.raises(DamagedError, match=problem):
        read(tmp_path / "a.tif")


def entry_of(raw: bytearray, tag: int) -> int:
    """Return where a tag's entry with one 16-bit value begins."""
    return raw.index(struct.pack("<HHI", tag, 3, 1))


def test_a_tile_side_that_tiff_does_not_allow_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", 40, **PACKINGS["zstd"])
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    for tag in (322, 323):
        at = entry_of(raw, tag) + 8
        assert raw[at : at + 2] == struct.pack("<H", 48)
        raw[at : at + 2] = struct.pack("<H", 40)
    (tmp_path / "a.tif").write_bytes(raw)
    with pytest.raises(DamagedError, match="its tiles are 40 x 40 px"):
        read(tmp_path / "a.tif", 40, slice(0, 40), slice(0, 40))


def test_a_tag_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    at = entry_of(raw, 256)
    raw[at : at + 2] = struct.pack("<H", 255)
    (tmp_path / "a.tif").write_bytes(raw)
    with pytest.raises(DamagedError, match="it has no tag 256"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("rows", [WHOLE, slice(0, 5)], ids=["whole tiles", "a part"])
def test_every_plane_is_read_or_none(tmp_path: Path, rows: slice) -> None:
    write(tmp_path / "a.tif")
    which = _tiff.identity(tmp_path / "a.tif")
    assert which is not None
    file = _tiff.VerifiedFile(
        path=tmp_path / "a.tif", which=which, checksum="", shape=(PLANES, 64, 64)
    )
    few = np.full((PLANES - 1, rows.stop, 64), 7, np.uint16)
    with pytest.raises(ValueError, match=r"`planes` are 2 arrays, .*a\.tif has 3 planes"):
        _tiff.read_into(file, list(few), rows, WHOLE)
    assert (few == 7).all()


def test_missing_tiles_are_not_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options = {"width": 64, "height": 64, "count": PLANES, "dtype": "uint16", "sparse_ok": True}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "band"}
    with rasterio.open(path, "w", driver="GTiff", **options, **tiles):
        pass
    with pytest.raises(DamagedError, match="a tile of 0 bytes"):
        read(path)


def test_a_format_that_points_elsewhere_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "secret.tif")
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{k}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{tmp_path / "secret.tif"}</SourceFilename>'
        f"<SourceBand>{k}</SourceBand></SimpleSource></VRTRasterBand>"
        for k in (1, 2, 3)
    )
    path = tmp_path / "a.tif"
    path.write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{bands}</VRTDataset>')
    with rasterio.open(path) as file:
        assert file.driver == "VRT", "it is one that would be followed"
    with pytest.raises(DamagedError, match="little-endian TIFF"):
        read(path)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_file_cut_short_is_not_read_as_zeros(tmp_path: Path, packing: str) -> None:
    write(tmp_path / "a.tif", **PACKINGS[packing])
    whole = (tmp_path / "a.tif").read_bytes()
    for length in (0, 7, 9, 100, len(whole) - 1):
        (tmp_path / "b.tif").write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read(tmp_path / "b.tif")


def test_a_packed_tile_of_another_length_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", **PACKINGS["zstd"])
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    offset = raw.index(b"\x28\xb5\x2f\xfd")  # the first plane's frame
    short = pyarrow.Codec("zstd").compress(b"\x05" * 100, asbytes=True)
    raw[offset : offset + len(short)] = short
    (tmp_path / "a.tif").write_bytes(raw)
    with pytest.raises((DamagedError, OSError)):
        read(tmp_path / "a.tif")


def test_what_is_kept_is_not_written_to(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", 300)
    part = slice(0, 40)
    first = read(tmp_path / "a.tif", 300, part, part)
    expected = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 300, part, part), expected)


def test_a_forked_process_reads_what_its_parent_has_read(tmp_path: Path) -> None:
    path = tmp_path / "block.tif"
    write(path, 288, **PACKINGS["zstd with differences"])
    window = slice(0, 288)
    expected = read(path, 288, window, window)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)  # threads of the parent, which PyTorch would wait for, are not here
            code = int(not np.array_equal(read(path, 288, window, window), expected))
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
