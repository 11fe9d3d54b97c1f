"""A web server of a catalogue, for tests: static, and as an API."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import shapely


class Web(ThreadingHTTPServer):
    """Serves a folder with ranges, and its catalogue as an API at /api; answers as it is told."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.searches: list[dict[str, Any]] = []
        #: Status, headers and body to answer with, one after the other, where the path matches.
        self.faults: list[tuple[str, int, dict[str, str], bytes]] = []
        self.page = 2
        #: What the collection says beside its id.
        self.extent: dict[str, Any] = {}
        #: Share of their bytes that files have, by the end of their names.
        self.kept: dict[str, float] = {}
        #: Status to refuse later parts of files with, and whether their bytes are others.
        self.late: int | None = None
        self.garbled = False
        #: How the API's root says that it can be searched, and whether a page without items comes
        #: first.
        self.conforms, self.method, self.empty_page = True, "POST", False
        root = json.loads((folder / "catalog.json").read_text())
        self.items = []
        for link in root["links"]:
            if link["rel"] == "item":
                item = json.loads((folder / link["href"]).read_text())
                for asset in item["assets"].values():
                    asset["href"] = f"{self.url}/{Path(asset['href']).name}"
                item["collection"] = "made-up"
                item["links"] = []
                self.items.append(item)

    def search(self, query: dict[str, Any]) -> dict[str, Any]:
        """Answer a search of the API: one page."""
        self.searches.append(query)
        found = [item for item in self.items if _matches(item, query)]
        if self.empty_page and "token" not in query:
            return {"type": "FeatureCollection", "features": [], "links": [self._next(query, 0)]}
        start = int(query.get("token", 0))
        stop = min(start + self.page, start + query.get("limit", 10))
        links = []
        if stop < len(found):
            links = [self._next(query, stop)]
        return {"type": "FeatureCollection", "features": found[start:stop], "links": links}

    def _next(self, query: dict[str, Any], token: int) -> dict[str, Any]:
        body = {**query, "token": token}
        if self.method == "GET":
            return {"rel": "next", "href": f"{self.url}/api/search?{_written(body)}"}
        return {"rel": "next", "href": f"{self.url}/api/search", "method": "POST", "body": body}


def _written(query: dict[str, Any]) -> str:
    """Return a query as an address has it."""
    return urlencode(
        {
            name: ",".join(map(str, value)) if isinstance(value, list) else value
            for name, value in query.items()
        }
    )


def _read(text: str) -> dict[str, Any]:
    """Return the query that `_written` wrote, or pystac-client did."""
    query: dict[str, Any] = dict(parse_qsl(text))
    for name in ("ids", "collections", "bbox"):
        if name in query:
            query[name] = query[name].split(",")
    if "bbox" in query:
        query["bbox"] = [float(edge) for edge in query["bbox"]]
    return {**query, "limit": int(query.get("limit", 10))}


def _matches(item: dict[str, Any], query: dict[str, Any]) -> bool:
    if item["collection"] not in query.get("collections", [item["collection"]]):
        return False
    if item["id"] not in query.get("ids", [item["id"]]):
        return False
    if "bbox" in query and not shapely.box(*query["bbox"]).intersects(shapely.box(*item["bbox"])):
        return False
    start, _, end = query.get("datetime", "/").partition("/")
    when = item["properties"]["datetime"].replace(".000Z", "Z")
    return bool((not start or start <= when) and (not end or when <= end))


class _Handler(BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # http.server's name
        self._serve(b"")

    def do_HEAD(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self, body: bytes) -> None:
        web, path = self.server, self.path.partition("?")[0]
        web.asked.append(self.path)
        for fault in web.faults:
            if re.search(fault[0], path):
                web.faults.remove(fault)
                self._answer(fault[1], fault[3], fault[2])
                return
        if path.rstrip("/") == "/api":
            links = [
                {"rel": "self", "href": f"{web.url}/api"},
                {
                    "rel": "search",
                    "href": f"{web.url}/api/search",
                    "type": "application/geo+json",
                    "method": web.method,
                },
            ]
            root = {
                "type": "Catalog",
                "id": "api",
                "description": "for tests",
                "stac_version": "1.0.0",
                "conformsTo": [
                    "https://api.stacspec.org/v1.0.0/core",
                    *(["https://api.stacspec.org/v1.0.0/item-search"] if web.conforms else []),
                ],
                "links": links,
            }
            self._answer(200, json.dumps(root).encode())
        elif path == "/api/search":
            query = json.loads(body) if body else _read(self.path.partition("?")[2])
            if self.command == web.method:
                self._answer(200, json.dumps(web.search(query)).encode())
            else:
                self._answer(405, b"another method")
        elif path == "/api/collections/made-up":
            root = {"rel": "root", "href": f"{web.url}/api"}
            collection = {"type": "Collection", "id": "made-up", "links": [root], **web.extent}
            self._answer(200, json.dumps(collection).encode())
        else:
            file = web.folder / path.lstrip("/")
            if not file.is_file():
                self._answer(404, b"no such file")
                return
            content = file.read_bytes()
            shares = (share for end, share in web.kept.items() if path.endswith(end))
            self._file(content[: int(len(content) * next(shares, 1))])

    def _file(self, content: bytes) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            self._answer(200, content, {"Accept-Ranges": "bytes"})
            return
        first, last = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
        if first > last:
            self._answer(416, b"")
            return
        where = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        part = content[first : last + 1]
        if first and self.server.late is not None:
            self._answer(self.server.late, b"later")
        else:
            # Not the end, where GDAL may find out what the file is.
            garbled = self.server.garbled and first > 0 and last < len(content) // 2
            self._answer(206, bytes(len(part)) if garbled else part, where)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
