"""If this fails, a manifest of configs/cluster/ is refused, or starts the wrong run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator

from tests.support.cluster_scripts import FOLDER, ROOT, RUN, Parse, parsed, recorded
from thor_geo.cli.main import EXIT_ERROR, EXIT_RETRY
from thor_geo.cli.predict import EXIT_FAILED_TILES, PredictCLI
from thor_geo.ground.job import Job
from thor_geo.tasks.signals import EXIT_SIGTERM


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Return a function that parses a command's arguments as that process would."""
    return partial(parsed, monkeypatch)


def manifest(name: str) -> dict[str, Any]:
    """Return what a YAML file of configs/cluster/ says."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


def jobs_of_the_array(
    command: list[str], variable: str, count: int, folder: Path, parse: Parse
) -> list[PredictCLI]:
    """Run a container's command as its first and its last job; return what each would do."""
    files = {"/etc/thor-geo/run": RUN, "/etc/thor-geo/gpu": "configs/trainer/gpu.yaml"}
    for container, path in files.items():
        command = [word.replace(f"{container}.yaml", path) for word in command]
    command = [word.replace("/tmp/", f"{folder}/") for word in command]
    clis = []
    for index in (0, count - 1):
        variables = {variable: str(index), "EARTHENGINE_KEY": '{"key": "a\\nb"}'}
        name, words = recorded(command, folder, variables)
        assert (name, words[0]) == ("thor-geo", "predict")
        clis.append(parse(words[1:], {}))
    return clis


def test_the_kubernetes_job_is_a_job_array(tmp_path: Path, parse: Parse) -> None:
    job = manifest("kubernetes.yaml")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert (spec["completionMode"], pod["restartPolicy"]) == ("Indexed", "Never")
    # every index is one job, the first one 1, the last one the number of jobs
    count, command = spec["completions"], [*container["command"], *container["args"]]
    clis = jobs_of_the_array(command, "JOB_COMPLETION_INDEX", count, tmp_path, parse)
    assert [cli.job for cli in clis] == [
        Job(index=index, count=count, at_once=spec["parallelism"]) for index in (1, count)
    ]
    # every mounted folder has a volume, none of which pods share
    assert {v["name"] for v in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert {key for volume in pod["volumes"] for key in volume} == {
        "name", "emptyDir", "configMap", "secret",
    }  # fmt: skip
    # what each exit code leads to
    rules = spec["podFailurePolicy"]["rules"]
    actions = {
        code: rule["action"]
        for rule in rules
        for code in rule.get("onExitCodes", {}).get("values", [])
    }
    assert actions == {
        EXIT_SIGTERM: "Ignore",
        EXIT_ERROR: "FailJob",
        EXIT_FAILED_TILES: "Count",
        EXIT_RETRY: "Count",
    }
    assert rules[0]["action"] == "Ignore"
    assert [one["type"] for one in rules[0]["onPodConditions"]] == ["DisruptionTarget"]


@pytest.mark.parametrize("version", ["1.33", kubernetes_validate.latest_version()])
def test_the_kubernetes_job_is_what_the_schema_of_kubernetes_says(version: str) -> None:
    job = manifest("kubernetes.yaml")
    # The first release in which all of it is stable, as docs/clusters.md says, and the newest.
    assert version.startswith(kubernetes_validate.validate(job, version, strict=True))
    for key, value in {"parallelsm": 8, "completions": "64"}.items():
        wrong = {**job, "spec": {**job["spec"], key: value}}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, version, strict=True)


def test_the_batch_job_is_a_job_array(tmp_path: Path, parse: Parse) -> None:
    text, definition = (FOLDER / "aws_batch.yaml").read_text(), manifest("aws_batch.yaml")
    count = int(re.search(r"--array-properties size=(\d+)", text)[1])  # type: ignore[index]
    at_once = int(re.search(r"--total-quantity (\d+)", text)[1])  # type: ignore[index]
    command = definition["containerProperties"]["command"]
    clis = jobs_of_the_array(command, "AWS_BATCH_JOB_ARRAY_INDEX", count, tmp_path, parse)
    assert [cli.job for cli in clis] == [
        Job(index=index, count=count, at_once=at_once) for index in (1, count)
    ]
    # the secret is in a file of its own, which only its owner reads
    key = tmp_path / "key.json"
    assert json.loads(key.read_text()) == {"key": "a\nb"}
    assert key.stat().st_mode & 0o077 == 0
    # what is not tried again
    rules = definition["retryStrategy"]["evaluateOnExit"]
    ends = {int(rule["onExitCode"]) for rule in rules if rule["action"] == "EXIT"}
    assert ends == {EXIT_ERROR, 1}


def choices(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Yield what is none of the words that a service knows: botocore checks all but these."""
    if shape.type_name == "structure":
        for name, each in value.items():
            yield from choices(shape.members[name], each, f"{path}.{name}")
    elif shape.type_name == "list":
        for each in value:
            yield from choices(shape.member, each, f"{path}[]")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}={value}"


def test_the_batch_job_is_what_the_service_of_batch_takes() -> None:
    service = get_session().get_service_model("batch")
    shape = service.operation_model("RegisterJobDefinition").input_shape
    definition = manifest("aws_batch.yaml")
    assert ParamValidator().validate(definition, shape).generate_report() == ""
    assert [*choices(shape, definition)] == []
    wrong = {**definition, "type": "contaner"}
    assert [*choices(shape, wrong)] == [".type=contaner"]
    wrong = {**definition, "retryStrategy": {"attempt": 10}}
    assert "attempt" in ParamValidator().validate(wrong, shape).generate_report()
    # a resource that is consumed must have been made under that name
    page = (ROOT / "docs" / "clusters.md").read_text()
    (consumed,) = definition["consumableResourceProperties"]["consumableResourceList"]
    assert f"--consumable-resource-name {consumed['consumableResource']} " in page
