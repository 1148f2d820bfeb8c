"""What an execution left in S3, brought back: evaluation, predictions and verdict of its evaluation step.

Features and models stay where they are; the evaluation is also put to its well-known place, ``evaluation/build/``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core import Verdict
from mlops_core.runners import EVALUATION_OUTPUT, RunnerError
from mlops_core.runners.container.request import GATE_OUTPUT
from mlops_sagemaker.service.account import call, faults
from mlops_sagemaker.service.outcomes import job_names
from mlops_sagemaker.service.states import job_name
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core import Pipeline
    from mlops_core.runners import Store
    from mlops_sagemaker.service.account import Account
    from mlops_sagemaker.service.executions import ExecutionRecord

PUBLISHED_PREFIX = "evaluation/build/"
"""Where deployment scripts look for the evaluation of the last execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the evaluation's job left.

    Attributes:
        verdict: of the gate.
        outputs: output of the evaluation step -> digest of the artifact in the workspace.
        uri: of the evaluation itself, in S3.
    """

    verdict: Verdict
    outputs: Mapping[str, str]
    uri: str


def fetch_evaluation(account: Account, pipeline: Pipeline, execution: ExecutionRecord, *, store: Store) -> Evaluation:
    """Bring the outputs of the evaluation step into the workspace.

    Raises:
        RunnerError: they are not where the service says, or S3 refuses.
    """
    step = pipeline.evaluation_step
    uris = output_uris(account, job_name(execution.step(job_names(step)[-1])))
    missing = [name for name in (*step.all_outputs, GATE_OUTPUT) if name not in uris]
    if missing:
        raise RunnerError(f"the job of step '{step.name}' has no output '{missing[0]}'")
    outputs = {}
    for name in step.all_outputs:
        work = store.work_folder(f"{step.name}-{name}")
        try:
            download(account, uris[name], work / "files")
            outputs[name] = store.artifacts.add(work / "files")
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Evaluation(
        verdict=_verdict(account, uris[GATE_OUTPUT], store=store), outputs=outputs, uri=uris[EVALUATION_OUTPUT]
    )


def output_uris(account: Account, job: str) -> dict[str, str]:
    """Return output -> address of a processing job.

    Raises:
        RunnerError: there is no such job.
    """
    found = account.call("sagemaker", "describe_processing_job", ProcessingJobName=job)
    outputs = found.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return {output["OutputName"]: output["S3Output"]["S3Uri"] for output in outputs}


def download(account: Account, uri: str, folder: Path) -> tuple[str, ...]:
    """Write every object below an address into a folder, which is made; return their relative paths.

    A body that is cut off is fetched again.

    Raises:
        RunnerError: S3 refuses, or a key would lead out of the folder.
    """
    place = S3Uri.parse(uri.rstrip("/") + "/")
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for item in account.pages("s3", "list_objects_v2", "Contents", Bucket=place.bucket, Prefix=place.key):
        name = str(item["Key"]).removeprefix(place.key)
        if not name or name.endswith("/"):
            continue
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise RunnerError(f"s3://{place.bucket}/{item['Key']}: the key leads out of the folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with faults():
            account.client("s3").download_file(place.bucket, item["Key"], str(target))
        names.append(name)
    return tuple(names)


def publish(account: Account, uri: str, *, bucket: str, folder: Path | None = None) -> int:
    """Copy an evaluation to ``evaluation/build/`` of the bucket and, where asked for, to a folder.

    Each execution writes to a place of its own, so two of them never mix; this gives the last one its well-known
    place.

    Returns:
        How many files there were.

    Raises:
        RunnerError: S3 refuses.
    """
    place = S3Uri.parse(uri.rstrip("/") + "/")
    s3 = account.client("s3")
    count = 0
    for item in account.pages("s3", "list_objects_v2", "Contents", Bucket=place.bucket, Prefix=place.key):
        name = str(item["Key"]).removeprefix(place.key)
        source = {"Bucket": place.bucket, "Key": item["Key"]}
        call(s3.copy_object, Bucket=bucket, Key=f"{PUBLISHED_PREFIX}{name}", CopySource=source)
        count += 1
    if folder is not None:
        download(account, uri, folder)
    return count


def _verdict(account: Account, uri: str, *, store: Store) -> Verdict:
    work = store.work_folder("gate")
    try:
        download(account, uri, work)
        data: Any = json.loads((work / "evaluation.json").read_text(encoding="utf-8"))
        return Verdict.from_json(data["verdict"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunnerError(f"the evaluation left no verdict at {uri}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
