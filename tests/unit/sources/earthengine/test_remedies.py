from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

from thor_geo.cli.settings import section_settings
from thor_geo.errors import AuthenticationError, EarthEngineError, ProjectError
from thor_geo.sources.earthengine import recipe, remedies
from thor_geo.sources.earthengine.remedies import to_error
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.policy import FailureKind, Verdict

SPEC = SessionSpec(project="my-project")


@pytest.mark.parametrize(
    ("kind", "text", "cls", "remedy"),
    [
        ("authentication", "invalid_grant", AuthenticationError, "`earthengine authenticate`"),
        (
            "permission",
            "Earth Engine API has not been used in project 123 before or it is disabled.",
            ProjectError,
            "gcloud services enable earthengine.googleapis.com --project my-project",
        ),
        (
            "permission",
            "Caller does not have required permission to use project my-project.",
            ProjectError,
            "--role=roles/serviceusage.serviceUsageConsumer",
        ),
        (
            "permission",
            "Permission 'earthengine.computations.create' denied on resource",
            ProjectError,
            "roles/earthengine.viewer",
        ),
        (
            "permission",
            "Project my-project is not registered to use Earth Engine.",
            ProjectError,
            "https://console.cloud.google.com/earth-engine/configuration?project=my-project",
        ),
        ("permission", "Project 'projects/my-project' not found.", ProjectError, "spelling"),
        ("fatal", "Band pattern 'B99' did not match", EarthEngineError, "`data.sentinel2.bands`"),
        ("fatal", "asset 'A/B' not found", EarthEngineError, "`data.sentinel2.collection`"),
        (
            "fatal",
            "Something new",
            EarthEngineError,
            "check `data.sentinel2.collection`, `data.sentinel2.bands`",
        ),
    ],
)
def test_every_refusal_names_what_was_said_and_what_to_do(
    kind: FailureKind, text: str, cls: type[EarthEngineError], remedy: str
) -> None:
    error = to_error(Verdict(kind=kind, message=text, status=403), SPEC, "block x")
    assert type(error) is cls
    for part in ("HTTP 403", text.rstrip("."), "block x", remedy):
        assert part in str(error)


def test_without_a_project_in_the_settings_the_one_in_the_answer_is_named() -> None:
    verdict = Verdict(kind="permission", message="API has not been used in project 4711 before")
    assert "--project 4711" in str(to_error(verdict, SessionSpec(), "block x"))


@pytest.mark.parametrize("module", [recipe, remedies], ids=lambda module: module.__name__)
def test_remedies_name_keys_that_a_config_has(module: ModuleType) -> None:
    named = set(re.findall(r"\bdata\.([\w.]+\w)", inspect.getsource(module)))
    assert named
    assert named <= {row.key for row in section_settings("data")}
