from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import ee
import pytest
from ee import deprecation

from thor_geo.emulator import EmulatorServer, FaultPlan, FaultRule
from thor_geo.errors import AuthenticationError, ConfigError, ProjectError
from thor_geo.sources.earthengine import session as session_module
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.session import EarthEngineSession
from thor_geo.sources.earthengine.spec import HIGH_VOLUME_URL, SessionSpec

NOT_ENABLED = "Earth Engine API has not been used in project 42 before or it is disabled."
NO_PERMISSION = "Caller does not have required permission to use project research."
NOT_REGISTERED = "Project 'research' is not registered to use Earth Engine."


def spec(server: EmulatorServer, **settings: Any) -> SessionSpec:
    return SessionSpec(**{"credentials": "anonymous", "url": server.url, **settings})


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which nobody is logged in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)


def test_the_default_endpoint_is_the_clients_high_volume_one() -> None:
    assert SessionSpec().endpoint == HIGH_VOLUME_URL == ee.data.HIGH_VOLUME_API_BASE_URL


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"credentials": "password"}, "credentials"),
        ({"credentials": "service_account"}, "service_account_file"),
        ({"url": "localhost:80"}, "url"),
        ({"read_timeout_s": 0}, "read_timeout_s"),
        ({"pool_size": 0}, "pool_size"),
    ],
)
def test_bad_settings_fail_at_once(settings: dict[str, Any], argument: str) -> None:
    with pytest.raises(ConfigError, match=argument):
        SessionSpec(**settings)


def test_a_session_asks_nothing_until_it_is_used(server: EmulatorServer) -> None:
    before = server.statistics.summary()
    session = pickle.loads(pickle.dumps(EarthEngineSession(spec(server, project="unused"))))
    assert not session.ready
    assert server.statistics.summary() == before


def test_a_session_works_with_the_clients_retries_off(server: EmulatorServer) -> None:
    session = EarthEngineSession(spec(server))
    session.ensure()
    assert session.ready
    assert ee.Number(1).getInfo() == 1
    assert ee.data._get_state().max_retries == 0
    server.set_faults(FaultPlan(rules=(FaultRule(kind="value:compute", status=503, times=1),)))
    with pytest.raises(ee.EEException):
        ee.Number(2).getInfo()


def test_another_session_takes_over(server: EmulatorServer) -> None:
    first, second = (
        EarthEngineSession(spec(server, project="one")),
        EarthEngineSession(spec(server, project="two")),
    )
    first.ensure()
    second.ensure()
    assert (first.ready, second.ready) == (False, True)
    assert ee.data._get_state().cloud_api_user_project == "two"


def test_a_forked_child_sets_the_client_up_anew(server: EmulatorServer) -> None:
    session = EarthEngineSession(spec(server))
    mine = session.ensure()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if not session.ready and session.ensure() is not mine and session.ready:
                code = 0 if ee.Number(3).getInfo() == 3 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert session.ready
    assert session.ensure() is mine


def test_forked_children_that_ask_at_once_get_their_own_answers(server: EmulatorServer) -> None:
    session = EarthEngineSession(spec(server))
    session.ensure()
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                session.ensure()
                asked = [100 * number + k for k in range(20)]
                code = int([ee.Number(value).getInfo() for value in asked] != asked)
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * 8


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("credentials", ["auto", "user"])
def test_without_a_login_the_command_that_makes_one_is_named(credentials: Any) -> None:
    client = EarthEngineClient(
        EarthEngineSession(SessionSpec(credentials=credentials, project="p"))
    )
    with pytest.raises(AuthenticationError, match="Run `earthengine authenticate`"):
        client.connect()


@pytest.mark.usefixtures("nobody")
def test_without_application_default_credentials_gcloud_is_named() -> None:
    client = EarthEngineClient(
        EarthEngineSession(SessionSpec(credentials="application_default", project="p"))
    )
    with pytest.raises(AuthenticationError, match="gcloud auth application-default login"):
        client.connect()


@pytest.mark.parametrize("content", [None, "not json", '{"type": "authorized_user"}'])
def test_an_unusable_service_account_key_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    client = EarthEngineClient(EarthEngineSession(SessionSpec(service_account_file=path)))
    with pytest.raises(AuthenticationError, match=r"service_account_file=.*key\.json"):
        client.connect()


def test_without_a_project_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Login:
        quota_project_id = None

    monkeypatch.setattr(session_module, "load_credentials", lambda spec: Login())
    with pytest.raises(ProjectError, match=r"Set `data\.earthengine\.project`"):
        EarthEngineClient(EarthEngineSession(SessionSpec())).connect()


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (NOT_ENABLED, "gcloud services enable earthengine.googleapis.com --project research"),
        (NO_PERMISSION, "roles/serviceusage.serviceUsageConsumer"),
        (NOT_REGISTERED, "earth-engine/configuration?project=research"),
    ],
)
def test_a_project_that_may_not_be_used_shows_before_work_starts(
    server: EmulatorServer, text: str, remedy: str
) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(kind="algorithms", status=403, message=text),)))
    with pytest.raises(ProjectError, match="HTTP 403") as caught:
        EarthEngineClient(EarthEngineSession(spec(server, project="research"))).connect()
    assert remedy in str(caught.value)


def test_the_first_requests_are_retried_too(server: EmulatorServer) -> None:
    server.set_faults(
        FaultPlan(
            rules=(
                FaultRule(kind="discovery", status=503, times=1),
                FaultRule(kind="algorithms", drop=True, times=1),
            )
        )
    )
    waits: list[float] = []
    client = EarthEngineClient(
        EarthEngineSession(spec(server, project="patient")), sleep=waits.append
    )
    client.connect()
    assert client.session.ready
    assert len(waits) == 2


def test_no_catalogue_is_fetched_for_a_server_that_is_not_googles(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden() -> Any:
        raise AssertionError("the catalogue was fetched")

    monkeypatch.setattr(deprecation, "_FetchDataCatalogStac", forbidden)
    monkeypatch.setattr(session_module, "_fetch_catalog", lambda url: forbidden())
    EarthEngineSession(spec(server, project="closed-network")).ensure()
    assert deprecation._FetchDataCatalogStac is forbidden


def test_a_catalogue_that_does_not_come_is_reported_and_done_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert session_module._fetch_catalog("http://127.0.0.1:9/catalog.json") == {}
    assert "Nothing else depends on it" in caplog.text


def test_importing_the_package_does_not_import_the_client() -> None:
    code = (
        "import sys, json, thor_geo.sources.earthengine; "
        "print(json.dumps([m for m in ('ee', 'googleapiclient', 'requests') if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []
