"""Errors of object stores in words, with the remedy."""

from __future__ import annotations

import re

from thor_geo.errors import StoreError, first_line
from thor_geo.storage.address import StoreAddress

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|x-ms-error-code: (\w+)")
# Where machines and pods are asked for the credentials of their role.
_ROLE = re.compile(
    r"http://169\.254\.|/latest/(?:api/token|meta-data)|/computeMetadata/|/metadata/identity/"
)
#: Answers after which a request is made again, besides those of 500 and more.
_AGAIN = frozenset({408, 429})

# What stores call a fault, and what a reader can do about it.
_REMEDIES: dict[str, str] = {
    "NoSuchBucket": "there is no such bucket. Make it, or give another address",
    "ContainerNotFound": "there is no such container. Make it, or give another address",
    "PermanentRedirect": "the bucket lies in another region. Give its region: AWS_REGION in the "
    "environment, or the option region",
    "AuthorizationHeaderMalformed": "the bucket lies in another region. Give its region: "
    "AWS_REGION in the environment, or the option region",
    "IllegalLocationConstraintException": "the bucket lies in another region. Give its region: "
    "AWS_REGION in the environment, or the option region",
    "ExpiredToken": "the credentials have expired. Renew them, and run the same command again: "
    "what is written is kept",
    "RequestTimeTooSkewed": "this machine's clock is wrong. Set it (NTP), and run the same command "
    "again: what is written is kept",
    "InvalidAccessKeyId": "the store does not know these credentials. Check which ones are in the "
    "environment, and for which endpoint",
    "SignatureDoesNotMatch": "the secret key does not fit the access key. Check the credentials in "
    "the environment",
    "NotImplemented": "the store cannot do this",
}
_DEEDS = {
    "get": "be read",
    "put": "be written",
    "head": "be looked at",
    "list": "be listed",
    "delete": "be removed",
}
_READ = "s3:GetObject, and s3:ListBucket, without which a missing object is refused, too"
_RIGHTS = {
    "get": _READ,
    "head": _READ,
    "put": "s3:PutObject",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}


def status(error: Exception) -> int | None:
    """Return the HTTP status in an error of obstore, None where there was no answer."""
    found = _STATUS.search(str(error))
    return None if found is None else int(found[1])


def may_help(error: Exception) -> bool:
    """Return whether asking again may help: the store is busy or failing, or did not answer."""
    from obstore.exceptions import GenericError

    if not isinstance(error, GenericError):
        return False
    answer = status(error)
    return answer is None or answer >= 500 or answer in _AGAIN


def is_absent(error: FileNotFoundError) -> bool:
    """Return whether an object is absent; False where its bucket is."""
    return _code(error) not in {"NoSuchBucket", "ContainerNotFound"}


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return "" if found is None else found[1] or found[2]


def explanation(
    address: StoreAddress, key: str, kind: str, error: Exception, attempts: int
) -> StoreError:
    """Return the error of a request in words, with the remedy.

    Args:
        address: The root.
        key: The object.
        kind: What was asked: a field of `StoreCounts`.
        error: obstore's.
        attempts: How often it was asked.
    """
    from obstore.exceptions import (
        NotSupportedError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    what = f"`{address.url}/{key}` cannot {_DEEDS[kind]}"
    code, answer = _code(error), status(error)
    if _ROLE.search(str(error).partition("Debug source")[0]):
        return StoreError(
            f"{what}: no credentials were found. None are in the environment, and this machine has "
            f"no role that gives any ({first_line(error)}). docs/object-stores.md says which "
            "variables are read; for public data send none (anonymous).",
            retryable=may_help(error),
        )
    if code in _REMEDIES:
        return StoreError(f"{what}: {_REMEDIES[code]}.")
    if isinstance(error, NotSupportedError) and kind == "get":
        return StoreError(
            f"{what} in part: the web server ignores the Range header, and answered with all of "
            "it. Serve the run by one that answers range requests, as nginx, Apache, Caddy and all "
            "object stores do (Python's http.server does not)."
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or answer in {401, 403}:
        how = "" if address.read_only else f" (on S3 {_RIGHTS[kind]})"
        return StoreError(
            f"{what}: the store refuses it ({f'{answer} {code}'.strip()}). Use credentials with "
            f"the right to do so{how}."
        )
    if may_help(error):
        return StoreError(
            f"{what}: {attempts} attempts failed ({first_line(error)}). Run the same command again "
            "when the store answers: what is written is kept.",
            retryable=True,
        )
    return StoreError(f"{what}: the store answers {answer} {code} ({first_line(error)}).")
