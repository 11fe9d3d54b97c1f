"""If these fail, whoever shares a run, a log or an error shares a login, or where they live."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow.parquet as pq
import pytest
import xarray as xr
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.support.copied_runs import copy_down
from benchmarks.support.faulty_store import Plan, faulty_store
from benchmarks.support.object_store import ObjectStore
from thor_geo.cli.main import main
from thor_geo.composites.prefetch import Prefetcher, PrefetchSpec
from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule
from thor_geo.errors import ThorGeoError
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.policy import RetryPolicy
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.support.redact import redact

TOKEN = "ya29.planted-access-token-of-ann"
PASSWORD = "planted-password-of-ann"
REFRESH = "planted-refresh-token-of-ann"


class Planted:
    """A user with a home, a key file in it, and a proxy that wants a password."""

    def __init__(self, folder: Path, broken_key: bool = False) -> None:
        self.home = folder / "home-of-ann"
        self.home.mkdir()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        lines = pem.splitlines()
        #: What no file and no message may hold.
        self.secrets = [TOKEN, PASSWORD, REFRESH, lines[5], lines[12], str(self.home)]
        if broken_key:
            lines[3] = "not base64!"
        self.key = self.home / "key.json"
        self.key.write_text(
            json.dumps(
                {
                    "type": "service_account",
                    "client_email": "robot@project.iam.gserviceaccount.com",
                    "private_key": "\n".join(lines),
                    "private_key_id": REFRESH,
                    "refresh_token": REFRESH,
                    "token_uri": f"http://ann:{PASSWORD}@127.0.0.1:9/token?access_token={TOKEN}",
                }
            )
        )
        self.environment = {
            "HOME": str(self.home),
            "HTTPS_PROXY": f"http://ann:{PASSWORD}@127.0.0.1:9",
            "CLOUDSDK_CONFIG": str(self.home / "gcloud"),
            "NO_GCE_CHECK": "true",
            "HF_TOKEN": REFRESH,
        }

    def check_text(self, *texts: str) -> None:
        for text in texts:
            for secret in self.secrets:
                assert secret not in text, text

    def check_folder(self, folder: Path) -> None:
        """Look through all files below a folder, and through what is compressed in them."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert files
        for path in files:
            content = path.read_bytes()
            for secret in self.secrets:
                assert secret.encode() not in content, path
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                self.check_text(str(table.schema.metadata), str(table.to_pylist()))


def test_a_run_leaves_no_secret_behind_even_where_the_service_repeats_them(
    thor_geo_process: Any, quickstart: list[str], archive: Path, tmp_path: Path
) -> None:
    ann = Planted(tmp_path)
    said = f"User memory limit exceeded. token={TOKEN} http://a:{PASSWORD}@b {ann.home}/x"
    rule = FaultRule(kind="image:computePixels", probability=0.3, seed=1, status=400, message=said)
    run, cache = ann.home / "run", ann.home / "cache"
    arguments = [
        *(one for one in quickstart if not one.startswith(("--output.dir", "--data.emulator"))),
        f"--output.dir={run}",
        f"--data.cache_dir={cache}",
        f"--data.earthengine.service_account_file={ann.key}",
    ]
    with EmulatorProcess(archive, faults=FaultPlan(rules=(rule,))) as emulator:
        source = (
            f"--data.earthengine.url={emulator.url}",
            "--data.earthengine.credentials=anonymous",
        )
        done = thor_geo_process(*arguments, *source, env=ann.environment)
    assert done.returncode == 3, done.stdout + done.stderr
    ann.check_text(done.stdout, done.stderr)
    ann.check_folder(run)
    ann.check_folder(cache)

    # What stands in their place still tells what happened, and where.
    tiles = gpd.read_parquet(run / "pooled")
    errors = tiles.error[tiles.status == "failed"]
    assert errors.str.contains("token=*** http://***@b ~/x", regex=False).all()
    config = json.loads((run / "run.json").read_text())["info"]["config"]
    assert config["output"]["dir"] == "~/run"
    assert config["data"]["init_args"]["cache_dir"] == "~/cache"
    assert "service_account_file" not in json.dumps(config)
    group = xr.open_zarr(run / "grid.zarr", group="utm32n")
    ann.check_text(str(group.attrs), str(group.embeddings.attrs))
    assert 'read_parquet("~/run/pooled")' in done.stdout


def test_a_run_in_a_store_leaves_no_credentials_behind(
    thor_geo: Any, bucket: ObjectStore, quickstart: list[str], quick_run: Path, tmp_path: Path
) -> None:
    ann = Planted(tmp_path)
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIAPLANTEDOFANN0000",
        "AWS_SECRET_ACCESS_KEY": "planted-secret-key-of-ann",
        "AWS_SESSION_TOKEN": "planted-session-of-ann",
        "AZURE_STORAGE_ACCOUNT_KEY": "planted-account-key-of-ann",
        "AZURE_STORAGE_SAS_KEY": "sv=2022&sig=planted-signature-of-ann",
        "GOOGLE_SERVICE_ACCOUNT": str(ann.key),
    }
    ann.secrets += [*keys.values(), "planted-signature-of-ann"]
    arguments = [
        *(one for one in quickstart if not one.startswith("--output.dir")),
        f"--data.cache_dir={quick_run / 'cache'}",
        f"--output.dir={bucket.url('oslo')}",
        "--trainer.devices=1",
        "--data.num_workers=0",
    ]
    environment = {**keys, "HOME": str(ann.home)}
    done = thor_geo(*arguments, env=environment)
    assert done.returncode == 0, done.stderr
    status = thor_geo("status", bucket.url("oslo"), "--json", env=environment)
    copied = copy_down(bucket, "oslo", tmp_path / "copied")
    assert (copied / "run.json").is_file()
    ann.check_folder(copied)
    ann.check_text(done.stdout, done.stderr, status.stdout, status.stderr)

    # The command says what is refused before it loads a model.
    refusing = Plan(refused={"PUT": "AccessDenied"})
    with faulty_store(bucket.endpoint, refusing) as door:
        refused = thor_geo(*arguments, env={**environment, "AWS_ENDPOINT_URL": door.url})
    assert refused.returncode == 2, refused.stderr
    assert "StoreError" in refused.stderr
    assert "s3:PutObject" in refused.stderr
    assert "RANDOM weights" in done.stderr
    assert "RANDOM weights" not in refused.stderr
    # A key that is no base64, as Azure's are.
    unusable = thor_geo(*arguments, "--output.dir=az://container/oslo", env=environment)
    assert unusable.returncode == 2, unusable.stderr
    assert "az://container/oslo" in unusable.stderr
    for said in (refused, unusable):
        ann.check_text(said.stdout, said.stderr)


def test_what_the_summary_says_opens_a_run_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    gpd.GeoDataFrame({"a": [1]}, geometry=gpd.points_from_xy([1], [2])).to_parquet(
        tmp_path / "a.parquet"
    )
    assert len(gpd.read_parquet("~/a.parquet")) == 1
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "a.zarr", group="g")
    assert "a" in xr.open_zarr("~/a.zarr", group="g")


def test_a_key_that_cannot_be_read_is_not_quoted(thor_geo_process: Any, tmp_path: Path) -> None:
    ann = Planted(tmp_path, broken_key=True)
    done = thor_geo_process(
        "predict",
        "-c",
        "configs/gee.yaml",
        "--model.pretrained=false",
        "--model.model_key=thor_v1_tiny",
        "--trainer.accelerator=cpu",
        f"--data.earthengine.service_account_file={ann.key}",
        f"--data.cache_dir={ann.home / 'cache'}",
        f"--output.dir={ann.home / 'run'}",
        env=ann.environment,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "service_account_file='~/key.json'" in done.stderr.replace("PosixPath(", "")
    ann.check_text(done.stdout, done.stderr)
    for folder in (ann.home / "run", ann.home / "cache"):
        if any(path.is_file() for path in folder.rglob("*")):
            ann.check_folder(folder)


@pytest.mark.parametrize("credentials", ["anonymous", "service_account"])
def test_an_endpoint_or_a_login_that_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credentials: Any
) -> None:
    ann = Planted(tmp_path)
    for name, value in ann.environment.items():
        monkeypatch.setenv(name, value)
    state = tmp_path / "state"
    state.mkdir()
    spec = PrefetchSpec(
        root=ann.home / "cache",
        session=SessionSpec(
            credentials=credentials,
            project="p",
            service_account_file=ann.key,
            url=f"http://ann:{PASSWORD}@127.0.0.1:9",
        ),
        sensor=SensorSpec(),
        window=TemporalSpec.range("2022-06-01", "2022-07-01"),
        retry=replace(RetryPolicy(), unreachable_s=0.5, tries=2, base_s=0.01),
        state_dir=state,
    )
    prefetcher = Prefetcher(spec)
    with pytest.raises(ThorGeoError) as caught:
        prefetcher.start()
    assert "127.0.0.1" in str(caught.value)
    ann.check_folder(state)
    # as the command prints it
    ann.check_text(redact(caught.value))


@pytest.fixture(scope="module")
def _loaded() -> None:
    """Load Lightning before a test captures its output: its log handlers keep that stream."""
    import thor_geo.cli.predict  # noqa: F401


@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize(
    "argument",
    [
        "--data.area={file: HOME/nowhere.geojson}",
        "--data.cache_dir=HOME/key.json/cache",
        "--output.dir=HOME/key.json/run",
        "--model.ckpt=HOME/key.json",
        "-c=HOME/key.json",
        "--data.earthengine.url=ftp://ann:PASSWORD@example.org",
        "--output.dir=s3://ann:PASSWORD@bucket/oslo",
        "--output.dir=https://example.org/oslo?X-Amz-Signature=PASSWORD",
        "--output.store={endpoint: 'https://ann:PASSWORD@example.org'}",
    ],
)
def test_errors_of_the_command(
    quickstart: list[str],
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argument: str,
) -> None:
    ann = Planted(tmp_path)
    monkeypatch.chdir(root)
    for name, value in ann.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["thor-geo"])
    given = argument.replace("HOME", str(ann.home)).replace("PASSWORD", PASSWORD)
    if "url" in argument:
        quickstart = [one for one in quickstart if not one.startswith("--data.emulator")]
    code: object
    try:
        code = main([*quickstart, given])
    except SystemExit as exit_of_the_parser:
        code = exit_of_the_parser.code
    assert code == 2
    said = capsys.readouterr()
    assert "thor-geo: " in said.err
    ann.check_text(said.out, said.err)
