"""Keeping secrets and home folders out of everything that is printed, logged and recorded.

Errors of libraries quote their input: a proxy's address with its password, the line of a key file
that did not parse, a path below the user's home. thor-geo passes such text through `redact` before
it prints or writes it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import quote

#: Replaces a secret.
HIDDEN = "***"

#: Names whose values are secrets, in JSON, in query strings and in `name=value`.
SECRET_NAMES: frozenset[str] = frozenset(
    {
        "private_key",
        "private_key_id",
        "refresh_token",
        "access_token",
        "id_token",
        "auth_token",
        "oauth_token",
        "hf_token",
        "token",
        "client_secret",
        "secret",
        "password",
        "passwd",
        "api_key",
        "apikey",
        "assertion",
        # In signed addresses: Azure, AWS, Google Cloud.
        "sig",
        "subscription-key",
        "x-amz-security-token",
        "x-amz-signature",
        "x-goog-signature",
        # Of object stores, as their variables and connection strings are called.
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "secret_access_key",
        "session_token",
        "accountkey",
        "account_key",
        "azure_storage_account_key",
        "azure_storage_access_key",
        "azure_storage_master_key",
        "azure_storage_key",
        "azure_storage_sas_key",
        "azure_storage_sas_token",
        "azure_storage_token",
        "azure_storage_client_secret",
        "azure_client_secret",
        "sas_token",
        "sharedaccesssignature",
        "google_service_account_key",
        "x-amz-server-side-encryption-customer-key",
    }
)
#: Settings left out of records: they name files of credentials, which mean nothing elsewhere.
CREDENTIAL_PATHS: frozenset[str] = frozenset(
    {"service_account_file", "credentials_file", "key_file", "google_application_credentials"}
)

_NAMES = "|".join(sorted(SECRET_NAMES, key=len, reverse=True))
# No pattern takes more than linear time: repetitions are possessive, bounded, or cannot overlap
# what follows. Order matters: later patterns would cut a key's block into pieces.
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (  # a PEM block, whole or cut short
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----"
            r"(?:(?:[^-]|-(?!----))*+-----END [A-Z0-9 ]{0,50}(?:-----)?"
            r"|(?:(?:Proc-Type|DEK-Info): [\w,-]++|[A-Za-z0-9+/=\s\\])*+)"
        ),
        HIDDEN,
    ),
    (  # HTTP's headers
        re.compile(
            r"\b((?:proxy-)?authorization[\"']?\s{0,8}[:=]\s{0,8}[\"']?)"
            r"(?:(?:basic|bearer|digest|token|sharedkey|sharedkeylite|aws)\s{1,8})?[^\s,;\"'}]++",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(r"\b(bearer\s{1,8})[A-Za-z0-9._~+/=*-]{6,}+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (  # Google's access tokens, refresh tokens, client secrets and API keys; signed JSON; others
        re.compile(
            r"\bya29\.[\w.-]++|\b1//[\w-]{20,}+|\bGOCSPX-[\w-]++|\bAIza[\w-]{30,}+"
            r"|\beyJ[\w-]{8,512}+\.[\w-]{8,}+(?:\.[\w-]*+)?|\bhf_[A-Za-z0-9]{20,}+"
            r"|\bgh[opsur]_[A-Za-z0-9]{20,}+|\bA(?:KI|SI)A[A-Z0-9]{16}\b"
            r"|(?<=\bSignature=)[0-9a-f]{64}\b"  # in AWS's Authorization header
        ),
        HIDDEN,
    ),
    # Values by name: in JSON within a JSON text, quoted, and bare.
    (
        re.compile(
            rf"\b((?:{_NAMES})\\([\"'])\s{{0,8}}[:=]\s{{0,8}}\\\2)"
            r"(?:[^\\]|\\\\(?:\\\2)?|\\(?!\2).)*+",
            re.IGNORECASE | re.DOTALL,
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            rf"\b((?:{_NAMES})[\"']?\s{{0,8}}[:=]\s{{0,8}}([\"']))(?:(?!\2)[^\\]|\\.)*+",
            re.IGNORECASE | re.DOTALL,
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            rf"\b((?:{_NAMES})\\?[\"']?\s{{0,8}}[:=]\s{{0,8}})(?![\"'\\])[^\s,;&\"'}})\]]++",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    # User and password of an address; a password may hold a slash that should have been quoted.
    (re.compile(r"://[^\s/?#@'\"]++@"), f"://{HIDDEN}@"),
    (re.compile(r"://[^\s/?#@:'\"]++:(?!\d++[/?#])[^\s@'\"]{1,256}+@"), f"://{HIDDEN}@"),
)


def redact(text: object) -> str:
    """Return a text without secrets and without the path of the home folder.

    Tokens, keys and passwords become ``***``, the home folder ``~``. Redacted text stays as it is.

    Args:
        text: A text, or anything that `str` turns into one (an exception, a path).
    """
    try:
        out = str(text)
    except Exception as error:  # an error without a printable message must not hide it
        return f"<{type(text).__name__} without a text: {type(error).__name__}>"
    for pattern, replacement in _SECRETS:
        out = pattern.sub(replacement, out)
    home = _home(os.environ.get("HOME"))
    return out if home is None else home.sub("~", out)


def redact_json(value: Any) -> Any:
    """Return a JSON value with all texts redacted, and without entries that hold secrets.

    Args:
        value: Dicts, lists, texts, numbers, booleans and None. Entries whose key is one of
            `SECRET_NAMES` or `CREDENTIAL_PATHS` are left out.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            redact(key): redact_json(entry)
            for key, entry in value.items()
            if str(key).lower() not in SECRET_NAMES | CREDENTIAL_PATHS
        }
    if isinstance(value, list | tuple):
        return [redact_json(entry) for entry in value]
    return value


def redact_output() -> None:
    """Make this process redact its log, its warnings and any final traceback.

    This includes libraries: records are redacted where they are created, not by a handler or
    logger that some would bypass. Repeating it does no harm.
    """
    if logging.getLogRecordFactory() is not _Record:
        logging.setLogRecordFactory(_Record)
    # mypy asks for the signature of warnings' own stub, which has no name for it.
    warnings.showwarning = _show_warning
    sys.excepthook = _report
    threading.excepthook = _report_thread


@lru_cache(maxsize=8)
def _home(variable: str | None) -> re.Pattern[str] | None:
    """Return a pattern for the home folder, None if there is none (or only the root)."""
    home = variable or os.path.expanduser("~")  # noqa: PTH111 # Path.home() raises without one
    folders = {os.path.normpath(path) for path in (home, os.path.realpath(home))}
    return _finder(path for path in folders if path.startswith(os.sep) and path != os.sep)


def _finder(paths: Iterable[str]) -> re.Pattern[str] | None:
    # As they are, as in addresses, and as JSON writes what is not ASCII.
    spelled = {form for path in paths for form in (path, quote(path), json.dumps(path)[1:-1])}
    if not spelled:
        return None
    longest_first = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
    # Whole folders only: /home/ann is not part of /home/anna or /mnt/home/ann. An escaped line
    # break ends a path as a real one does.
    return re.compile(rf"(?:(?<![\w.-])|(?<=\\[nrt]))(?:{longest_first})(?![\w-]|\.\w)")


class _Record(logging.LogRecord):
    """A log record whose texts are redacted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._exception: str | None = None
        super().__init__(*args, **kwargs)
        self.pathname = redact(self.pathname)
        if self.stack_info is not None:
            self.stack_info = redact(self.stack_info)

    def getMessage(self) -> str:  # noqa: N802 # logging's own name
        """Return the message with its arguments, redacted."""
        return redact(super().getMessage())

    # Where formatters keep the text of the traceback.
    @property
    def exc_text(self) -> str | None:
        """The traceback, redacted."""
        return self._exception

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        self._exception = None if text is None else redact(text)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    out = sys.stderr if file is None else file
    if out is not None:  # as under pythonw
        # Looked up now: Lightning has a format of its own.
        out.write(redact(warnings.formatwarning(message, category, filename, lineno, line)))


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(redact("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _report_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _report(args.exc_type, args.exc_value, args.exc_traceback)
