"""Errors of object stores in words, with the remedy."""

from __future__ import annotations

import re

from thor_geo.errors import StoreError, first_line
from thor_geo.storage.address import StoreAddress

#: The status of the answer, and of the part of an answer that is about one object of several.
_STATUS = re.compile(r"status code: (\d{3})|\(code: (\d{3})\)")
#: What stores call a fault: in an answer's body, of which HEAD has none, and in such a part.
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: ([A-Za-z]\w*)\)")
# Where machines and pods are asked for the credentials of their role.
_ROLE = re.compile(
    r"http://169\.254\.|/latest/(?:api/token|meta-data)|/computeMetadata/|/metadata/identity/"
)
#: Answers after which a request is made again, besides those of 500 and more.
_AGAIN = frozenset({408, 429})
#: Codes after which it is made again though the status is that of success.
_FOR_NOW = frozenset({"InternalError", "ServiceUnavailable", "SlowDown"})
#: How obstore 0.12 tells of an answer that sends elsewhere, which S3's do for another region.
_REDIRECTED = "redirect without LOCATION"
#: What lasts although there was no answer; the last is a request that was never made.
_LASTING = (_REDIRECTED, "builder error")
#: Codes for a bucket that is absent, or not to be seen without credentials.
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "ResourceNotFound"})

_REGION = (
    "the bucket lies in another region. Give its region: AWS_REGION in the environment, or the "
    "option region"
)
_PRIVATE = (
    "without credentials there is nothing to be seen. Check the address, and give credentials if "
    "the container is not public"
)
# What stores call a fault, and what a reader can do about it.
_REMEDIES: dict[str, str] = {
    "NoSuchBucket": "there is no such bucket. Make it, or give another address",
    "ContainerNotFound": "there is no such container. Make it, or give another address",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "ExpiredToken": "the credentials have expired. Renew them, and run the same command again: "
    "what is written is kept",
    "RequestTimeTooSkewed": "this machine's clock is wrong. Set it (NTP), and run the same command "
    "again: what is written is kept",
    "InvalidAccessKeyId": "the store does not know these credentials. Check which ones are in the "
    "environment, and for which endpoint",
    "SignatureDoesNotMatch": "the secret key does not fit the access key. Check the credentials in "
    "the environment",
    "AuthenticationFailed": "the store does not accept the credentials. Check those in the "
    "environment (AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or a token that may "
    "have expired) and this machine's clock",
    "AuthorizationFailure": "the account's key is wrong, or its network rules shut this machine "
    "out. Check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY in the environment, then "
    "the account's networking",
    "NoAuthenticationInformation": _PRIVATE,
    "PublicAccessNotPermitted": _PRIVATE,
    "ResourceNotFound": _PRIVATE,
    "NotImplemented": "the store cannot do this. Use one that speaks the whole protocol",
}
_DEEDS = {
    "get": "be read",
    "put": "be written",
    "head": "be looked at",
    "list": "be listed",
    "delete": "be removed",
}
_READER, _CONTRIBUTOR = (f"the role Storage Blob Data {role}" for role in ("Reader", "Contributor"))
_HIDDEN = "; without {} the store answers this way for a missing object, too"
# What is needed for each deed, by scheme.
_RIGHTS: dict[str, dict[str, str]] = {
    "s3": {
        "get": "s3:GetObject" + _HIDDEN.format("s3:ListBucket"),
        "head": "s3:GetObject" + _HIDDEN.format("s3:ListBucket"),
        "put": "s3:PutObject",
        "list": "s3:ListBucket",
        "delete": "s3:DeleteObject",
    },
    "gs": {
        "get": "storage.objects.get" + _HIDDEN.format("storage.objects.list"),
        "head": "storage.objects.get" + _HIDDEN.format("storage.objects.list"),
        "put": "storage.objects.create, and storage.objects.delete to replace an object",
        "list": "storage.objects.list",
        "delete": "storage.objects.delete",
    },
    "az": {
        "get": _READER,
        "head": _READER,
        "put": _CONTRIBUTOR,
        "list": _READER,
        "delete": _CONTRIBUTOR,
    },
}


def status(error: Exception) -> int | None:
    """Return the HTTP status in an error of obstore, None where there was no answer."""
    found = _STATUS.search(str(error))
    return None if found is None else int(found[1] or found[2])


def may_help(error: Exception) -> bool:
    """Return whether asking again may help: the store is busy or failing, or did not answer."""
    from obstore.exceptions import GenericError

    answer, code = status(error), _code(error)
    if code in _FOR_NOW:
        return True
    if not isinstance(error, GenericError):
        return False
    if answer is None:
        return not code and not any(each in str(error) for each in _LASTING)
    return answer in _AGAIN or (answer >= 500 and answer != 501)


def is_absent(error: FileNotFoundError) -> bool:
    """Return whether an object is absent; False where its bucket is."""
    return _code(error) not in _NO_BUCKET


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return "" if found is None else found[1] or found[2]


def explanation(
    address: StoreAddress, key: str, kind: str, error: Exception, attempts: int
) -> StoreError:
    """Return the error of a request in words, with the remedy.

    Args:
        address: The root.
        key: The object; ``.`` is the root.
        kind: What was asked: a field of `StoreCounts`.
        error: obstore's.
        attempts: How often it was asked.
    """
    from obstore.exceptions import (
        NotSupportedError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    place = address.url if key == "." else f"{address.url}/{key}"
    what = f"`{place}` cannot {_DEEDS[kind]}"
    code, answer, text = _code(error), status(error), str(error)
    if _ROLE.search(text.partition("Debug source")[0]):
        return StoreError(
            f"{what}: no credentials were found. None are in the environment, and this machine has "
            f"no role that gives any ({first_line(error)}). docs/object-stores.md says which "
            "variables are read; for public data send none (anonymous).",
            retryable=may_help(error),
        )
    if _REDIRECTED in text:
        return StoreError(f"{what}: {_REGION}.")
    if code in _REMEDIES:
        return StoreError(f"{what}: {_REMEDIES[code]}.")
    if isinstance(error, NotSupportedError) and kind == "get":
        return StoreError(
            f"{what} in part: the web server ignores the Range header, and answered with all of "
            "it. Serve the run by one that answers range requests, as nginx, Apache, Caddy and all "
            "object stores do (Python's http.server does not)."
        )
    refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    if refused or answer in {401, 403} or code == "AccessDenied":
        rights = _RIGHTS.get(address.scheme)
        how = "" if rights is None else f" ({rights[kind]})"
        said = " ".join(str(each) for each in (answer, code) if each)
        return StoreError(
            f"{what}: the store refuses it ({said}). Use credentials with the right to do so{how}."
        )
    if answer == 416:
        return StoreError(
            f"{what}: it ends before the bytes that were asked for. Copy or write it again."
        )
    if may_help(error):
        return StoreError(
            f"{what}: {attempts} attempts failed ({first_line(error)}). Run the same command again "
            "when the store answers: what is written is kept.",
            retryable=True,
        )
    return StoreError(f"{what}: {first_line(error)}")
