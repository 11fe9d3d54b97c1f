#!/usr/bin/env bash
# pystac-client: a page without items ends a search, although it names the next page. The items
# behind it are lost without a word.
#
# Versions: pystac-client 0.9.1 and 0.8.6. An API answers a search with three pages, each but the
# last with a link `next`: one item, none, one item. (A server that filters after it has cut its
# pages answers so; "next" is how STAC says that there is more.)
#
#   items_as_dicts(), pages_as_dicts()     the first item only
#   the same links followed by hand        both items
#
# With the empty page in front, the search finds nothing at all. `StacApiIO.get_pages` stops at a
# page without features, and so does `ItemSearch.pages_as_dicts` above it.
#
# Needs Python 3.11 to 3.13: PYTHON=python3 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pystac_client

PAGES: list[list[str]] = []


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        url = f"http://127.0.0.1:{self.server.server_port}"
        if self.path.startswith("/search"):
            number = int(self.path.partition("page=")[2] or 0)
            features = [
                {"type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None,
                 "properties": {"datetime": "2022-06-01T00:00:00Z"}, "assets": {}, "links": []}
                for name in PAGES[number]
            ]
            more = number + 1 < len(PAGES)
            link = {"rel": "next", "href": f"{url}/search?page={number + 1}"}
            body = {"type": "FeatureCollection", "features": features, "links": [link] if more else []}
        else:
            body = {
                "type": "Catalog", "stac_version": "1.0.0", "id": "x", "description": "x",
                "conformsTo": ["https://api.stacspec.org/v1.0.0/core",
                               "https://api.stacspec.org/v1.0.0/item-search"],
                "links": [{"rel": "search", "href": f"{url}/search", "method": "GET",
                           "type": "application/geo+json"}],
            }
        body = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = pystac_client.Client.open(f"http://127.0.0.1:{server.server_port}/")
print("pystac-client", pystac_client.__version__)


def by_hand():
    io, names = client._stac_io, []
    page = io.read_json(f"http://127.0.0.1:{server.server_port}/search")
    while page:
        names += [feature["id"] for feature in page["features"]]
        page = io.read_json(page["links"][0]["href"]) if page["links"] else None
    return names


seen = {}
for pages in ([["a"], [], ["b"]], [[], ["a"], ["b"]], [["a"], ["b"]]):
    PAGES[:] = pages
    found = [item["id"] for item in client.search(method="GET").items_as_dicts()]
    seen[str(pages)] = found
    print(f"  pages {pages}: search {found}, by hand {by_hand()}")
    assert by_hand() == ["a", "b"]
assert list(seen.values()) == [["a"], [], ["a", "b"]], seen
PY
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
for version in 0.9.1 0.8.6; do
  "${PYTHON:-python3}" -m venv --clear "$folder/venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pystac-client==$version"
  "$folder/venv/bin/python" "$folder/check.py"
done
echo "as described"
