"""If these fail, other users, sites or hosts can read a run, or files that are not pages."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.asking import ask, request, running, unpacked
from thor_geo.errors import ConfigError
from thor_geo.explorer.http import Server, listen
from thor_geo.explorer.session import ExplorerSession

STATIC = Path(__file__).parents[3] / "thor_geo" / "explorer" / "static"


@pytest.fixture(scope="module")
def server(session: ExplorerSession) -> Iterator[Server]:
    with running(session) as one:
        yield one


def test_it_listens_on_the_loopback_interface_only(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_the_page_and_its_parts_are_served(server: Server) -> None:
    status, body, headers = request(server, "GET", "")
    assert (status, headers.get_content_type()) == (200, "text/html")
    for part in re.findall(r'(?:src|href)="([^"]+)"', body.decode()):
        assert request(server, "GET", part)[0] == 200, part
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|\*|unsafe", policy)


def test_no_page_names_another_host() -> None:
    for path in STATIC.glob("*"):
        if path.suffix in (".html", ".css", ".js") and not path.name.startswith("leaflet"):
            assert not re.search(r"https?://|//[a-z]+\.", path.read_text()), path.name


@pytest.mark.parametrize(
    "path",
    [
        "../__init__.py",
        "static/index.html",
        "%2e%2e/http.py",
        "....//http.py",
        "/etc/passwd",
        "README.md",
        "leaflet.LICENSE",
        "api/run",
    ],
)
def test_nothing_but_the_pages_is_served(server: Server, path: str) -> None:
    status, body, _ = request(server, "GET", path)
    assert status in (403, 404)
    assert set(json.loads(body)) == {"error"}


@pytest.mark.parametrize("path", ["/", "/api/run", "/wrong/api/run", "/wrong/", "//", "/?/"])
def test_who_does_not_know_the_secret_gets_nothing(server: Server, path: str) -> None:
    for method in ("GET", "POST"):
        assert request(server, method, path, b"{}")[0] == 403


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "localhost.example.org:{port}", ""])
def test_a_name_that_was_made_to_point_here_is_refused(server: Server, host: str) -> None:
    host = host.format(port=server.server_port)
    assert request(server, "GET", "", Host=host)[0] == 421
    assert request(server, "POST", "api/run", b"{}", Host=host)[0] == 421


def test_localhost_is_this_machine(server: Server) -> None:
    assert request(server, "GET", "", Host=f"localhost:{server.server_port}")[0] == 200


def test_another_site_may_not_ask(server: Server) -> None:
    for origin in ("http://example.org", "null", f"https://127.0.0.1:{server.server_port}"):
        assert request(server, "POST", "api/run", b"{}", Origin=origin)[0] == 403
    # What a form or a script of another site can send without asking first.
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        assert request(server, "POST", "api/run", b"{}", Content_Type=kind)[0] == 415


def test_a_body_without_end_is_refused(server: Server) -> None:
    assert request(server, "POST", "api/run", Content_Length=str(10**12))[0] == 413
    assert request(server, "POST", "api/run", Content_Length="-1")[0] == 413


@pytest.mark.parametrize(
    ("question", "given", "told"),
    [
        ("similar", {"unit": "tiles", "place": 10**6, "k": 3}, "place=1000000"),
        ("similar", {"unit": "tiles", "place": -1, "k": 3}, "place=-1"),
        ("similar", {"unit": "tiles", "place": True, "k": 3}, "place=True"),
        ("similar", {"unit": "regions", "place": 1, "k": 3}, "unit='regions'"),
        ("similar", {"unit": "tiles", "place": 1, "k": 10**9}, "k=1000000000"),
        ("probe", {"unit": "tiles", "positive": [1], "negative": "2"}, "negative"),
        ("probe", {"unit": "tiles", "positive": [1], "negative": []}, "0 negative"),
        ("picture", {"shard": 0, "side": 10**6}, "side=1000000"),
        ("download", {"unit": "tiles", "k": 3}, "nothing to download yet"),
        ("download", {"unit": "tiles", "place": 1, "k": 3, "threshold": "x"}, "threshold='x'"),
    ],
)
def test_a_wrong_argument_is_named(
    server: Server, question: str, given: dict[str, object], told: str
) -> None:
    status, body, _ = request(server, "POST", f"api/{question}", json.dumps(given).encode())
    assert status == 400
    assert told in json.loads(body)["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"a": NaN}'])
def test_what_is_not_a_json_object_is_refused(server: Server, body: bytes) -> None:
    assert request(server, "POST", "api/similar", body)[0] == 400


def test_a_question_that_does_not_exist_is_not_found(server: Server) -> None:
    assert request(server, "POST", "api/nothing", b"{}")[0] == 404
    assert request(server, "POST", "run", b"{}")[0] == 404


def test_an_error_is_told_and_the_next_question_answered(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(server.session, "run", broken)
        status, body, _ = request(server, "POST", "api/run", b"{}")
    assert (status, json.loads(body)) == (500, {"error": "RuntimeError: out of order"})
    assert json.loads(ask(server, "run"))["tiles"] > 0


def test_similar_places_come_with_where_they_are(server: Server) -> None:
    header, arrays = unpacked(ask(server, "similar", unit="tiles", place=0, k=3))
    assert [one["cosine"] for one in header["neighbours"]] == pytest.approx(
        [arrays["values"][one["place"]] for one in header["neighbours"]]
    )
    assert header["query"]["place"] == 0
    assert header["query"]["id"].startswith("utm32n_")
    assert 11 < header["query"]["lon"] < 13


def test_composites_that_cannot_be_had_say_why(server: Server) -> None:
    for _ in range(200):
        told = json.loads(ask(server, "composite"))
        if told["state"] == "missing":
            break
        time.sleep(0.1)
    assert "does not say how the run read its data" in told["why"]
    assert unpacked(ask(server, "picture", shard=0, side=32))[0]["width"] == 0


def test_a_taken_port_gives_the_next_one(session: ExplorerSession) -> None:
    with listen(session, 0) as first, listen(session, first.server_port) as second:
        assert second.server_port > first.server_port
    with pytest.raises(ConfigError, match="port=70000"):
        listen(session, 70000)
