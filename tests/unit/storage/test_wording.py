"""If this fails, the error of a store names no remedy, the wrong one, or comes after minutes.

The texts are obstore 0.12's, of answers of Ceph, Azurite and moto, and of a server that answers as
the documentation of S3 and Azure says.
"""

from __future__ import annotations

import re

import pytest
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from thor_geo.storage import StoreAddress
from thor_geo.storage.wording import explanation, is_absent, may_help

ASKED = "Error performing {} http://127.0.0.1:7480/thor/x/a in 1.0ms - "
ANSWER = (
    'Server returned non-2xx status code: {}: <?xml version="1.0"?>\n<Error>\n  <Code>{}</Code>'
)


def answer(status: str, code: str, method: str = "GET") -> str:
    return ASKED.format(method) + ANSWER.format(status, code)


def said(scheme: str, kind: str, error: Exception, key: str = "a") -> str:
    return str(explanation(StoreAddress(url=f"{scheme}://thor/x"), key, kind, error, 10))


@pytest.mark.parametrize(
    ("scheme", "kind", "error", "says"),
    [
        ("s3", "get", GenericError(answer("404 Not Found", "NoSuchBucket")), "no such bucket"),
        ("az", "get", GenericError(answer("404 Not Found", "ContainerNotFound")), "no such cont"),
        ("az", "get", GenericError(answer("404 Not Found", "ResourceNotFound")), "not public"),
        (
            "az",
            "get",
            UnauthenticatedError(answer("401 Unauthorized", "NoAuthenticationInformation")),
            "without credentials there is nothing to be seen",
        ),
        (
            "az",
            "list",
            AlreadyExistsError(answer("409 Conflict", "PublicAccessNotPermitted")),
            "without credentials there is nothing to be seen",
        ),
        (
            "az",
            "put",
            PermissionDeniedError(answer("403 Forbidden", "AuthorizationPermissionMismatch")),
            r"403 AuthorizationPermissionMismatch.*the role Storage Blob Data Contributor\)",
        ),
        (
            "az",
            "put",
            PermissionDeniedError(answer("403 Forbidden", "AuthorizationFailure")),
            "key is wrong, or its network rules",
        ),
        (
            "az",
            "delete",
            GenericError(
                "Generic MicrosoftAzure error: Bulk delete request failed for key x/a: This "
                "request is not authorized (code: 403)"
            ),
            r"refuses it \(403\).*Storage Blob Data Contributor",
        ),
        (
            "s3",
            "delete",
            GenericError(
                "Generic S3 error: DeleteObjects request failed for key x/a: Access Denied (code: "
                "AccessDenied)"
            ),
            r"refuses it \(AccessDenied\).*\(s3:DeleteObject\)",
        ),
        (
            "s3",
            "get",
            PermissionDeniedError(answer("403 Forbidden", "AccessDenied")),
            r"s3:GetObject; without s3:ListBucket the store answers this way for a missing object",
        ),
        ("gs", "list", PermissionDeniedError(answer("403 Forbidden", "AccessDenied")), "objects.l"),
        (
            "s3",
            "head",
            GenericError(
                "Generic S3 error: " + ASKED.format("HEAD") + "Received redirect without LOCATION, "
                "this normally indicates an incorrectly configured region"
            ),
            "another region.*AWS_REGION",
        ),
        (
            "az",
            "put",
            GenericError(
                "Generic MicrosoftAzure error: Error performing token request: Error performing "
                "GET http://169.254.169.254/metadata/identity/oauth2/token?api-version=2019-08-01 "
                "in 1.2ms - Server returned non-2xx status code: 403 Forbidden: denied"
            ),
            "no credentials were found",
        ),
        (
            "s3",
            "delete",
            GenericError(answer("501 Not Implemented", "NotImplemented", "POST")),
            "the store cannot do this",
        ),
        (
            "s3",
            "get",
            GenericError(answer("416 Range Not Satisfiable", "InvalidRange")),
            "ends before the bytes",
        ),
        (
            "s3",
            "get",
            GenericError("Generic S3 error: " + ASKED.format("GET") + "HTTP error: builder error"),
            "builder error",
        ),
    ],
)
def test_what_lasts_is_told_at_once_with_the_remedy(
    scheme: str, kind: str, error: Exception, says: str
) -> None:
    assert not may_help(error)
    assert re.search(says, said(scheme, kind, error))


@pytest.mark.parametrize(
    "error",
    [
        GenericError(answer("503 Service Unavailable", "ServerBusy")),
        GenericError(answer("500 Internal Server Error", "OperationTimedOut")),
        GenericError(answer("429 Too Many Requests", "SlowDown")),
        GenericError("Generic S3 error: Server returned error response: <Code>SlowDown</Code>"),
        GenericError("Bulk delete request failed for key x/a: The server is busy (code: 503)"),
        GenericError("Generic S3 error: " + ASKED.format("PUT") + "HTTP error: error sending"),
        GenericError(
            "Generic S3 error: Error performing GET http://169.254.169.254/latest/meta-data - "
            "Server returned non-2xx status code: 503 Service Unavailable: "
        ),
    ],
)
def test_what_passes_is_asked_again(error: Exception) -> None:
    assert may_help(error)


def test_a_bucket_that_is_absent_is_no_absent_object() -> None:
    assert is_absent(FileNotFoundError(answer("404 Not Found", "BlobNotFound")))
    assert is_absent(FileNotFoundError(answer("404 Not Found", "NoSuchKey")))
    assert not is_absent(FileNotFoundError(answer("404 Not Found", "ResourceNotFound")))
    assert not is_absent(FileNotFoundError(answer("404 Not Found", "NoSuchBucket")))


def test_the_root_is_named_by_its_address() -> None:
    error = GenericError(answer("404 Not Found", "NoSuchBucket"))
    assert said("s3", "list", error, ".").startswith("`s3://thor/x` cannot be listed: ")
