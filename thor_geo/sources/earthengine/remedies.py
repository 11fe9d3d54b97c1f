"""From a refusal to an error that says what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from thor_geo.errors import AuthenticationError, EarthEngineError, ProjectError
from thor_geo.sources.earthengine.credentials import LOGIN_REMEDY

if TYPE_CHECKING:
    from thor_geo.sources.earthengine.spec import SessionSpec
    from thor_geo.sources.policy import Verdict

_CONSOLE = "https://console.cloud.google.com"
_PROJECT_IN_TEXT = re.compile(r"project[s/ ]+'?([a-z0-9][a-z0-9.:-]+)", re.IGNORECASE)


def to_error(verdict: Verdict, spec: SessionSpec, subject: str) -> EarthEngineError:
    """Return the error for a refusal that asking again would not change.

    Args:
        verdict: What the refusal means.
        spec: The session's settings, for the project's name.
        subject: What was asked for, e.g. ``the scenes of block utm32n_r10_b576_x104_y1150``.
    """
    reason = verdict.sentence
    if verdict.kind == "authentication":
        return AuthenticationError(
            f"Earth Engine did not accept the login when asked for {subject}. {reason} "
            f"{LOGIN_REMEDY}"
        )
    if verdict.kind == "permission":
        return ProjectError(
            f"Earth Engine refused `data.earthengine.project={spec.project!r}` when asked for "
            f"{subject}. {reason} {_project_remedy(verdict.message, spec)}"
        )
    return EarthEngineError(
        f"Earth Engine refused {subject}. {reason} {_request_remedy(verdict.message)}"
    )


def _project_remedy(text: str, spec: SessionSpec) -> str:
    match = _PROJECT_IN_TEXT.search(text)
    project = spec.project or (match[1].rstrip(".") if match else "PROJECT")
    lowered = text.lower()
    if "has not been used in project" in lowered or "is disabled" in lowered:
        return (
            f"Enable the API: `gcloud services enable earthengine.googleapis.com --project "
            f"{project}`, or {_CONSOLE}/apis/library/earthengine.googleapis.com?project={project}; "
            "it takes a few minutes to take effect."
        )
    if "not registered" in lowered or "not signed up" in lowered:
        return (
            f"Register the project for Earth Engine: {_CONSOLE}/earth-engine/configuration"
            f"?project={project}"
        )
    if "no project found" in lowered:
        return (
            "Set `data.earthengine.project` to the id of a project that is registered for Earth "
            "Engine."
        )
    if "not found" in lowered:
        return (
            "Check the spelling of `data.earthengine.project`: it is the project's id, not its "
            "name."
        )
    return (
        "Whoever owns the project grants the login both roles: `gcloud projects "
        f"add-iam-policy-binding {project} --member=user:YOU --role=roles/serviceusage."
        f"serviceUsageConsumer`, and the same with --role=roles/earthengine.viewer "
        "(for a service account: --member=serviceAccount:ITS_EMAIL). Or set another "
        "`data.earthengine.project`."
    )


def _request_remedy(text: str) -> str:
    lowered = text.lower()
    if "certificate verify failed" in lowered:
        return (
            "A proxy may be in between that signs with its own certificate: set the environment "
            "variable REQUESTS_CA_BUNDLE to a file with it."
        )
    if "band pattern" in lowered or "no band" in lowered:
        return (
            "Check `data.sentinel2.bands`, and what `data.sentinel2.mask` needs, against the "
            "collection's bands."
        )
    if "not found" in lowered or "does not exist" in lowered:
        return "Check `data.sentinel2.collection`, and that the login may read it."
    return (
        "Asking again would not help: check `data.sentinel2.collection`, `data.sentinel2.bands` "
        "and the dates; if they are right, this is a defect of thor-geo or of the service: please "
        "report it with this text."
    )
