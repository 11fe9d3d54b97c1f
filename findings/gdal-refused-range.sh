#!/usr/bin/env bash
# GDAL /vsicurl/: a server that refuses a later part of a file with 503, 429 or 404 gives one and the
# same error, without a status: exactly that of a TIFF that is cut short.
#
# Versions: rasterio 1.4.4 (GDAL 3.10.3, Python 3.11) and 1.5.2 (GDAL 3.12.2, Python 3.12). A tiled
# GeoTIFF of 8 MB over HTTP, whose server answers ranges beyond the first 16 kB with a status:
#
#   status on the first request   HTTP response code: 503 (or 429, 404): told apart
#   503, 429 or 404 afterwards    Read failed. See previous exception for details.
#                                 TIFFFillTile: Read error ... got 0 bytes, expected ...
#   the file cut short            the same
#
# So whoever skips "broken files" by GDAL's errors skips good ones when the server is busy, silently
# and at random. (GDAL_HTTP_MAX_RETRY, 0 by default, makes it rarer, and the error stays the same.)
#
# Needs Python 3.11 or 3.12: PYTHON=python3 by default; it installs the rasterio for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import rasterio
from rasterio.windows import Window

path = f"{sys.argv[1]}/a.tif"
profile = dict(driver="GTiff", width=2048, height=2048, count=1, dtype="uint16", tiled=True,
               blockxsize=256, blockysize=256, compress="deflate", crs="EPSG:32632",
               transform=rasterio.Affine(10, 0, 0, 0, -10, 0))
pixels = np.random.default_rng(0).integers(0, 9999, (1, 2048, 2048), dtype=np.uint16)
with rasterio.open(path, "w", **profile) as file:
    file.write(pixels)
WHOLE = open(path, "rb").read()


class Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        when, _, status = self.path.strip("/").removesuffix(".tif").partition("-")
        content = WHOLE[: 1 << 20] if when == "cut" else WHOLE
        match = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        if status and (when == "first" or first > 1 << 14):
            return self.answer(int(status), b"later")
        if first >= len(content):
            return self.answer(416, b"")
        part = content[first : int(match[2]) + 1] if match else content
        where = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"}
        self.answer(206 if match else 200, part, where if match else {})

    def answer(self, status, body, headers={}):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def failure(name):
    """Return all messages of reading a window at the end of the file."""
    try:
        with rasterio.open(f"http://127.0.0.1:{server.server_port}/{name}.tif") as file:
            file.read(1, window=Window(1024, 1024, 512, 512))
    except rasterio.errors.RasterioError as error:
        chain, link = [], error
        while link is not None:
            chain.append(str(link))
            link = link.__cause__ or link.__context__
        return " / ".join(chain)
    return "read"


server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
    assert failure("good") == "read"
    for status in ("503", "429", "404"):
        assert status in failure(f"first-{status}"), failure(f"first-{status}")
    later = {name: failure(name) for name in ("later-503", "later-429", "later-404", "cut")}
kinds = set()
for name, text in later.items():
    print(f"  {name}: {text[-110:]}")
    assert not re.search(r"\b(503|429|404)\b", text.replace(name, "")), text
    kinds.add(re.sub(r"\d+|[\w-]+\.tif", "", text))
assert len(kinds) == 1, kinds
assert "Read error" in kinds.pop()
PY
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
python="${PYTHON:-python3}"
new=$("$python" -c 'import sys; print("1.5.2" if sys.version_info >= (3, 12) else "1.4.4")')
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "rasterio==$new" "numpy<2.6"
"$folder/venv/bin/python" "$folder/check.py" "$folder"
echo "as described"
