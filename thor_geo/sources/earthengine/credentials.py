"""Where the credentials for Earth Engine come from, and what to do when there are none."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from thor_geo.errors import AuthenticationError

if TYPE_CHECKING:
    from thor_geo.sources.earthengine.spec import SessionSpec

logger = logging.getLogger(__name__)

#: Remedy for a user without a login.
LOGIN_REMEDY = (
    "Run `earthengine authenticate` (on a machine without a browser: `earthengine authenticate "
    "--auth_mode=notebook`), or use `gcloud auth application-default login`, or give a service "
    "account's key file with `data.earthengine.service_account_file`."
)
ADC_REMEDY = (
    "Run `gcloud auth application-default login --scopes=https://www.googleapis.com/auth/"
    "earthengine,https://www.googleapis.com/auth/cloud-platform`, or set "
    "GOOGLE_APPLICATION_CREDENTIALS to a key file."
)


def load_credentials(spec: SessionSpec) -> Any:
    """Load the credentials that a session asks for.

    Args:
        spec: The session's settings.

    Returns:
        google-auth credentials.

    Raises:
        AuthenticationError: If there are none, or they cannot be read.
    """
    if spec.credentials == "anonymous":
        from google.auth.credentials import AnonymousCredentials

        return AnonymousCredentials()  # type: ignore[no-untyped-call] # google-auth is untyped
    if spec.credentials == "service_account" or (
        spec.credentials == "auto" and spec.service_account_file is not None
    ):
        return _service_account(spec)
    if spec.credentials == "application_default":
        return _application_default()
    return _stored(allow_application_default=spec.credentials == "auto")


def _service_account(spec: SessionSpec) -> Any:
    import ee
    from google.oauth2 import service_account

    path = spec.service_account_file
    try:
        return service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call] # google-auth is untyped
            str(path), scopes=ee.oauth.SCOPES
        )
    except (OSError, ValueError) as error:
        raise AuthenticationError(
            f"`data.earthengine.service_account_file={str(path)!r}`: not a readable service "
            f"account key ({error}). Give the JSON key file that the Google Cloud console made for "
            "the account."
        ) from error


def _application_default() -> Any:
    import google.auth
    from ee.oauth import SCOPES
    from google.auth.exceptions import DefaultCredentialsError

    try:
        with warnings.catch_warnings():
            # It advises `gcloud config set project`; the project comes from our own setting.
            warnings.filterwarnings("ignore", ".*(No project ID|quota project).*")
            credentials, _ = google.auth.default(scopes=SCOPES)
    except DefaultCredentialsError as error:
        raise AuthenticationError(
            f"There are no application default credentials ({error}). {ADC_REMEDY}"
        ) from error
    return credentials


def _stored(*, allow_application_default: bool) -> Any:
    import ee
    from google.auth.exceptions import GoogleAuthError

    if not allow_application_default:
        try:
            stored = ee.oauth.get_credentials_arguments()
        except (OSError, ValueError) as error:
            raise AuthenticationError(
                f"There is no readable Earth Engine login at {ee.oauth.get_credentials_path()} "
                f"({error}). {LOGIN_REMEDY}"
            ) from error
        if not stored.get("refresh_token"):
            raise AuthenticationError(
                f"{ee.oauth.get_credentials_path()} holds no refresh token. {LOGIN_REMEDY}"
            )
    try:
        # Refreshes a token to see whether the login still holds.
        return ee.data.get_persistent_credentials()
    except (ee.EEException, GoogleAuthError, ValueError) as error:
        raise AuthenticationError(
            f"There is no usable Earth Engine login. {LOGIN_REMEDY}"
        ) from error
