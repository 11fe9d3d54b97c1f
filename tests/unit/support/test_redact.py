"""If these fail, a user who shares a log, an error or a run's folder shares a login with it."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from thor_geo.support.redact import redact, redact_json, redact_output

KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY}\n{KEY}==\n-----END PRIVATE KEY-----\n"
SECRETS = [
    (PEM, KEY),
    (f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{KEY}\n-----END RSA ", KEY),
    (PEM[:60], KEY[:20]),
    (json.dumps({"type": "service_account", "private_key": PEM}), KEY),
    (repr(json.dumps({"private_key": PEM})), KEY),
    (json.dumps(json.dumps({"refresh_token": "planted", "b": 1})), "planted"),
    ("Authorization: Bearer planted-token", "planted"),
    ("{'Authorization': 'Bearer planted-token', 'x': 1}", "planted"),
    ("Proxy-Authorization: Basic cGxhbnRlZA==", "cGxhbnRlZA"),
    ("the token ya29.planted_Access-token.more expired", "planted"),
    ("1//0planted_refresh_token_of_google", "planted"),
    ("assertion=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJwbGFudGVkIn0.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ('{"refresh_token": "planted", "n": 1}', "planted"),
    (json.dumps(json.dumps({"token": 'a"planted'})), "planted"),
    ("{'client_secret': 'pla\\'nted', 'n': 1}", "nted"),
    ("GET /v1/x?alt=json&access_token=planted&key=1", "planted"),
    ("https://a.blob.example/B04.tif?st=2022&sig=planted%3D&se=2022", "planted"),
    ("https://s3.example/B04.tif?X-Amz-Credential=a&X-Amz-Signature=planted", "planted"),
    ("https://s3.example/B04.tif?X-Amz-Security-Token=planted&a=b", "planted"),
    ("AWS_ACCESS_KEY_ID=planted AWS_REGION=eu-north-1", "planted"),
    ("AWS_SECRET_ACCESS_KEY=planted/+", "planted"),
    ("export AWS_SESSION_TOKEN='planted'", "planted"),
    ("the key ASIAPLANTEDPLANTED00 expired", "ASIAPLANTED"),
    ("AZURE_STORAGE_ACCOUNT_KEY=planted==", "planted"),
    ("AZURE_STORAGE_KEY: planted", "planted"),
    ("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=planted==;X=y", "planted"),
    ("AZURE_STORAGE_SAS_TOKEN=sv%3D2022%26sig%3Dplanted", "planted"),
    ("SharedAccessSignature=sv=2022&sig=planted%3D", "planted"),
    ("Authorization: SharedKey ann:planted==", "planted"),
    (
        f"AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature={'5ec3e7' * 10}5ec3",
        "5ec3e7",
    ),
    ("aws_secret_access_key = planted", "planted"),
    ("token: planted", "planted"),
    ("PASSWORD=planted", "planted"),
    ("HF_TOKEN=planted", "planted"),
    ("proxy http://ann:planted@proxy.example:3128 refused", "planted"),
    ("proxy http://planted@proxy.example:3128/ refused", "planted"),
    ("proxy http://ann:pl/anted@proxy.example refused", "anted"),
]
HARMLESS = [
    "32 tokens: 4 groups",
    "cls_token: False, patch tokens = 324",
    "https://proxy.example:3128/path?mail=ann@example.org#a",
    "roles/serviceusage.serviceUsageConsumer for ann@example.org",
    "`model_key='thor_v1_tiny'`: unknown. Choose from: thor_v1_base",
    "keys (2): blocks.0.attn.qkv.weight, norm.weight",
]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "ann"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.mark.parametrize(("text", "secret"), SECRETS, ids=[text[:30] for text, _ in SECRETS])
def test_a_secret_is_hidden_and_hiding_it_again_changes_nothing(text: str, secret: str) -> None:
    assert secret in text
    hidden = redact(f"before {text} after")
    assert secret not in hidden
    assert "***" in hidden
    assert hidden.startswith("before ")
    assert redact(hidden) == hidden


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_not_a_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_what_stands_beside_a_secret_stays() -> None:
    text = f'bad key {{"private_key": {json.dumps(PEM)}, "client_email": "a@b.c"}}. Do this.'
    assert redact(text) == 'bad key {"private_key": "***", "client_email": "a@b.c"}. Do this.'
    assert redact("http://ann:planted@proxy:3128/x") == "http://***@proxy:3128/x"
    assert redact("?token=planted&alt=json") == "?token=***&alt=json"


def test_the_home_folder_is_a_tilde_and_its_neighbours_are_not(home: Path) -> None:
    assert redact(f"{home}/run: not found") == "~/run: not found"
    assert redact(home) == "~"
    assert redact(f"`dir='{home}'`: full. It is in {home}.") == "`dir='~'`: full. It is in ~."
    assert redact(f"file://{home}/a") == "file://~/a"
    assert redact(json.dumps(f"line\n{home}/a")) == '"line\\n~/a"'
    for other in (f"{home}a/run", f"{home}-old", f"{home}.bak", f"/mnt{home}"):
        assert redact(other) == other


def test_a_home_behind_a_link_is_found_under_both_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, link = tmp_path / "disk7" / "änn b", tmp_path / "ann"
    real.mkdir(parents=True)
    link.symlink_to(real)
    monkeypatch.setenv("HOME", f"{link}/")
    assert redact(f"{link}/a {real}/b") == "~/a ~/b"
    assert redact(json.dumps(str(real))) == '"~"'
    assert redact((real / "a").as_uri()) == "file://~/a"


@pytest.mark.parametrize("variable", ["/", "", "relative"])
def test_a_home_that_is_none_hides_nothing(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("HOME", variable)
    assert redact("/data/run") == "/data/run"


def test_a_record_loses_secrets_and_where_credentials_are(home: Path) -> None:
    record = {
        "data": {"service_account_file": f"{home}/key.json", "cache_dir": f"{home}/cache"},
        "Token": "planted",
        "list": [f"{home}/a", 1, None, 2.5, True, "http://a:planted@b"],
    }
    assert redact_json(record) == {
        "data": {"cache_dir": "~/cache"},
        "list": ["~/a", 1, None, 2.5, True, "http://***@b"],
    }


def test_an_error_without_a_text_is_named() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert "BrokenError" in redact(BrokenError())


@pytest.mark.parametrize(
    "part",
    [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN A",
        "http://a:",
        "://",
        "token='\\",
        'password=\\"',
        "bearer ",
        "authorization: ",
        "eyJaaaaaaaaa.",
        "eyJ-",
        "/home/ann",
    ],
)
@pytest.mark.timeout(300)
def test_no_megabyte_is_read_more_than_a_few_times(part: str) -> None:
    # It takes a second; a pattern that looks back and forth would take hours.
    assert redact(part * (1_000_000 // len(part)))


@pytest.fixture
def _redacted() -> Iterator[None]:
    factory, show = logging.getLogRecordFactory(), warnings.showwarning
    hook = sys.excepthook
    with warnings.catch_warnings():
        redact_output()
        yield
    logging.setLogRecordFactory(factory)
    sys.excepthook, warnings.showwarning = hook, show


@pytest.mark.usefixtures("_redacted")
def test_the_log_of_any_library_is_redacted(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("urllib3.connectionpool")
    try:
        raise ValueError(f"token=planted in {home}")
    except ValueError:
        log.exception("to %s by %s", "http://ann:planted@proxy", home / "x")
    assert "to http://***@proxy by ~/x" in caplog.text
    assert "token=*** in ~" in caplog.text
    assert "planted" not in caplog.text
    assert str(home) not in caplog.text


@pytest.mark.usefixtures("_redacted")
def test_warnings_and_a_last_traceback_are_redacted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warnings.showwarning(
        UserWarning(f"{home} token=planted"), UserWarning, f"{home}/lib/a.py", 1, None, None
    )
    try:
        raise ValueError(f"token=planted in {home}")
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    said = capsys.readouterr().err
    assert "~/lib/a.py:1" in said
    assert "UserWarning: ~ token=***" in said
    assert "ValueError: token=*** in ~" in said
    assert str(home) not in said
