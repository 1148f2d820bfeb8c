"""Downloads the evaluation, predictions and verdict of an execution from S3, and publishes the evaluation.

Features and models stay in S3; the evaluation is also copied to its well-known location, ``evaluation/build/``.
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
"""Location in which deployment scripts expect the evaluation of the last execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The results of the evaluation step.

    Attributes:
        verdict: verdict of the gate.
        outputs: digests of the artifacts in the workspace, by output name.
        uri: S3 URI of the evaluation.
    """

    verdict: Verdict
    outputs: Mapping[str, str]
    uri: str


def fetch_evaluation(account: Account, pipeline: Pipeline, execution: ExecutionRecord, *, store: Store) -> Evaluation:
    """Copy the outputs of the evaluation step to the workspace.

    Raises:
        RunnerError: an output is missing, or S3 refuses.
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
    """Return the S3 URIs of the outputs of a processing job, by output name.

    Raises:
        RunnerError: the job does not exist.
    """
    description = account.call("sagemaker", "describe_processing_job", ProcessingJobName=job)
    outputs = description.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return {output["OutputName"]: output["S3Output"]["S3Uri"] for output in outputs}


def download(account: Account, uri: str, folder: Path, *, only: str = "") -> None:
    """Download all objects below a URI, or those with one file name, into a folder, which is created.

    Raises:
        RunnerError: S3 refuses, or a key would lead outside of the folder.
    """
    place = S3Uri.parse(uri.rstrip("/") + "/")
    folder.mkdir(parents=True, exist_ok=True)
    for item in account.pages("s3", "list_objects_v2", "Contents", Bucket=place.bucket, Prefix=place.key):
        name = str(item["Key"]).removeprefix(place.key)
        if not name or name.endswith("/") or only not in ("", name.rpartition("/")[2]):
            continue
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise RunnerError(f"s3://{place.bucket}/{item['Key']}: the key leads outside of the folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with faults():
            account.client("s3").download_file(place.bucket, item["Key"], str(target))


def publish(account: Account, uri: str, *, bucket: str, folder: Path | None = None) -> int:
    """Copy an evaluation to ``evaluation/build/`` of the bucket and, if given, to a folder.

    Each execution writes below its own prefix; the copy gives the last evaluation a well-known location.

    Returns:
        The number of files.

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
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunnerError(f"the evaluation wrote no verdict to {uri}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
