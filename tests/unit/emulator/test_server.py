"""The server: limits of concurrency, faults, statistics, and what a client sees of them."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest

from thor_geo.emulator import ArchiveError, EmulatorServer, FaultPlan, FaultRule
from thor_geo.emulator._faults import API_NOT_ENABLED, NO_PERMISSION, RESTRICTED

ONE = {"expression": {"values": {"0": {"constantValue": 1}}, "result": "0"}}
COMPUTE = "/v1/projects/emulator/value:compute"


@pytest.fixture
def server(serve: Any) -> EmulatorServer:
    pixel = np.ones((4, 4), dtype=np.uint16)
    started: EmulatorServer = serve([{"id": "a", "date": "2022-06-01", "bands": {"B2": pixel}}])
    return started


def _post(
    server: EmulatorServer, body: Any = None, path: str = COMPUTE
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Send a request past the client, which would retry."""
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    text = body if isinstance(body, str) else json.dumps(ONE if body is None else body)
    connection.request("POST", path, text, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    return response.status, json.loads(content), headers


def test_listens_on_loopback_only(server: EmulatorServer) -> None:
    assert server._http.server_address[0] == "127.0.0.1"
    # A server on all interfaces would answer here (Linux), or at least not refuse at once.
    with pytest.raises(OSError, match=r"refused|assign|unreachable|timed out"):
        socket.create_connection(("127.0.0.2", int(server.url.rsplit(":", 1)[1])), timeout=5)


def test_connections_are_kept_alive_also_after_errors(server: EmulatorServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    sockets = set()
    for path, status in ((COMPUTE, 200), ("/v1/nothing", 404), (COMPUTE, 200)):
        connection.request("POST", path, json.dumps(ONE))
        sockets.add(connection.sock)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    assert len(sockets) == 1
    connection.close()


def test_errors_have_the_services_shape(server: EmulatorServer) -> None:
    unknown = {"values": {"0": {"functionInvocationValue": {"functionName": "X"}}}, "result": "0"}
    status, body, _ = _post(server, {"expression": unknown})
    message = "Function 'X' is not supported by the Earth Engine emulator."
    assert status == 400
    assert body == {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    assert _post(server, "{")[1]["error"]["message"].startswith("Invalid JSON payload received.")
    assert "'values' and 'result'" in _post(server, {})[1]["error"]["message"]
    assert _post(server, path="/v1/projects/p/table:export")[0] == 404


def test_more_than_the_allowed_requests_in_flight_are_refused(server: EmulatorServer) -> None:
    server.max_concurrent = 3
    server.set_faults(FaultPlan(latency_s=0.5))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _post(server), range(8)))
    assert sorted(status for status, _, _ in answers) == [200] * 3 + [429] * 5
    refused = next(body for status, body, _ in answers if status == 429)
    assert refused["error"]["status"] == "RESOURCE_EXHAUSTED"
    summary = server.statistics.summary()
    assert summary["refused"] == 5
    # What is refused counts too, for the moment that takes.
    assert 4 <= summary["peak_concurrency"] <= 8


def test_statistics_are_served(server: EmulatorServer) -> None:
    before = server.statistics.summary()["kinds"]["discovery"]["requests"]
    assert before == 2  # what Initialize asks for
    _post(server)
    with urllib.request.urlopen(f"{server.url}/_emulator/stats") as response:
        summary = json.load(response)
    counts = summary["kinds"]["value:compute"]
    assert (counts["requests"], counts["ok"], counts["errors"]) == (1, 1, 0)
    assert counts["bytes_out"] == len(b'{"result": 1}')
    assert server.statistics.log[-1].kind == "value:compute"


def test_latency_and_delay_are_waited_out(server: EmulatorServer) -> None:
    server.set_faults(FaultPlan(latency_s=0.1, rules=(FaultRule(delay_s=0.2, nth=(2,)),)))
    took = []
    for _ in range(3):
        began = time.perf_counter()
        assert _post(server)[0] == 200
        took.append(time.perf_counter() - began)
    assert took[0] >= 0.1
    assert took[1] >= 0.3
    assert 0.1 <= took[2] < 0.3


def test_error_rules_by_number_and_kind_with_headers(server: EmulatorServer) -> None:
    rule = FaultRule(
        kind="value:compute", nth=(1, 3), status=429, message="Slow down.",
        headers={"Retry-After": "7"},
    )  # fmt: skip
    server.set_faults(FaultPlan(rules=(rule,)))
    answers = [_post(server) for _ in range(4)]
    assert [status for status, _, _ in answers] == [429, 200, 429, 200]
    assert answers[0][2]["retry-after"] == "7"
    assert answers[0][1]["error"] == {
        "code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"
    }  # fmt: skip


def test_restricted_mode_is_a_header_on_a_good_answer(server: EmulatorServer) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(headers=RESTRICTED),)))
    status, body, headers = _post(server)
    assert (status, body) == (200, {"result": 1})
    assert headers["x-earth-engine-quota-status"] == "parallelism_restricted=true"


def test_dropped_connections_and_truncated_bodies(server: EmulatorServer) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(drop=True, nth=(1,)), FaultRule(truncate=0.5))))
    with pytest.raises(http.client.RemoteDisconnected):
        _post(server)
    with pytest.raises(http.client.IncompleteRead):
        _post(server)
    assert [request.status for request in server.statistics.log][-2:] == [0, 200]


def test_connections_are_reset(server: EmulatorServer) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(reset=True, nth=(1,)),)))
    with pytest.raises(ConnectionResetError):
        _post(server)
    assert server.statistics.log[-1].status == 0
    assert _post(server)[0] == 200


def test_rules_for_requests_after_the_first_few(server: EmulatorServer) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(kind="value:compute", after=2, status=401),)))
    assert [_post(server)[0] for _ in range(4)] == [200, 200, 401, 401]


def test_rules_for_the_first_times_of_each_request(server: EmulatorServer) -> None:
    other = {"expression": {"values": {"0": {"constantValue": 2}}, "result": "0"}}
    server.set_faults(FaultPlan(rules=(FaultRule(first_times=1, status=503),)))
    asked = [_post(server, body)[0] for body in (None, other, None, other)]
    assert asked == [503, 503, 200, 200]


def test_scenes_that_reach_the_catalogue_later(server: EmulatorServer) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(nth=(1,), hide=("a",)),)))
    size = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").size()
    assert [size.getInfo(), size.getInfo()] == [0, 1]


def test_the_client_survives_what_the_fault_plan_broke(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client would sleep up to a minute between its tries.
    monkeypatch.setattr("googleapiclient.http.time.sleep", lambda _: None)
    rules = (
        FaultRule(kind="value:compute", nth=(1,), drop=True),
        FaultRule(kind="value:compute", nth=(2,), truncate=0.3),
        FaultRule(kind="value:compute", nth=(3,), status=503, message="Unavailable."),
    )
    server.set_faults(FaultPlan(rules=rules))
    assert ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").size().getInfo() == 1
    statuses = [r.status for r in server.statistics.log if r.kind == "value:compute"]
    # The last answer may arrive before it is written down.
    assert statuses[:3] == [0, 200, 503]


def test_memory_errors_above_a_size(server: EmulatorServer, pixels: Any, grid: Any) -> None:
    rule = FaultRule(
        kind="image:computePixels", min_pixels=64, status=400, message="User memory limit exceeded."
    )
    server.set_faults(FaultPlan(rules=(rule,)))
    image = ee.Image.constant(1)
    with pytest.raises(ee.EEException, match=r"User memory limit exceeded\."):
        pixels(image, grid(9, 8))
    assert pixels(image, grid(8, 8)).shape == (8, 8)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (API_NOT_ENABLED, "API has not been used in project emulator before"),
        (NO_PERMISSION, "does not have required permission to use project emulator"),
    ],
)
def test_permission_errors_meet_the_client_in_initialize(
    server: EmulatorServer, connect: Any, message: str, words: str
) -> None:
    rule = FaultRule(kind="algorithms", status=403, message=message)
    server.set_faults(FaultPlan(rules=(rule,)))
    with pytest.raises(ee.EEException, match=words):
        connect(server.url)


def test_random_faults_depend_on_the_seed_alone(server: EmulatorServer) -> None:
    def run(seed: int) -> list[int]:
        rule = FaultRule(probability=0.5, seed=seed, status=503)
        server.set_faults(FaultPlan(rules=(rule,)))
        return [_post(server)[0] for _ in range(40)]

    first = run(1)
    assert 5 < first.count(503) < 35
    assert run(1) == first
    assert run(2) != first


def test_times_ends_a_rule(server: EmulatorServer) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(status=500, times=2),)))
    assert [_post(server)[0] for _ in range(4)] == [500, 500, 200, 200]


def test_fault_plans_travel_as_json(tmp_path: Path) -> None:
    plan = FaultPlan(
        latency_s=0.25, rules=(FaultRule(status=403, message=NO_PERMISSION, nth=(2,)),
                               FaultRule(truncate=0.5, headers={"A": "b"}, probability=0.1))
    )  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json())
    assert FaultPlan.from_json(path) == plan
    for text, words in (
        ('{"rules": [{"statuss": 503}]}', "unknown key 'statuss'"),
        ('{"rules": [{"kind": "tiles", "drop": true}]}', "`kind='tiles'` is unknown"),
        ('{"rules": [{"nth": [1]}]}', "A rule needs one of"),
        ('{"rules": [{"status": 503, "after": 0}]}', "`after=0` counts from 1"),
        ('{"latency": 1}', "unknown key 'latency'"),
        ("[]", "not a valid fault plan"),
    ):
        path.write_text(text)
        with pytest.raises(ArchiveError, match=words):
            FaultPlan.from_json(path)


def test_a_bug_in_the_emulator_is_an_internal_error(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(server, "answer", broken)
    status, body, _ = _post(server)
    assert status == 500
    assert "ZeroDivisionError('oops')" in body["error"]["message"]
    assert "Traceback" in capsys.readouterr().err
