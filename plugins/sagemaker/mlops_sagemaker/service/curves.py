"""Training curves of an execution: histories are copied from S3, logs for TensorBoard to S3.

A training job leaves its outputs as two archives, the model's and that of all other outputs; of both, only the
histories are unpacked.
"""

from __future__ import annotations

import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core import StepKind
from mlops_core.runners import HISTORY_FILE, RunnerError
from mlops_sagemaker.service.account import faults
from mlops_sagemaker.service.outcomes import job_names
from mlops_sagemaker.service.results import download, output_uris
from mlops_sagemaker.service.states import is_training_job, job_name
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core import Pipeline, Step
    from mlops_sagemaker.service.account import Account
    from mlops_sagemaker.service.executions import ExecutionRecord

EXECUTIONS = "/executions/"
"""In the key of every output, between the prefix of the pipeline and the id of the execution."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a history; a larger one is no history."""


def fetch_histories(account: Account, execution: ExecutionRecord, step: Step, *, folder: Path) -> None:
    """Copy each training history in the outputs of a step to ``OUTPUT/`` and its path in the output.

    Raises:
        RunnerError: S3 refuses, or an output is not what a training job writes.
    """
    state = execution.step(job_names(step)[-1])
    if not job_name(state):  # the trial of a search, whose job is not a step of the definition
        return
    if not is_training_job(state):
        for name, uri in output_uris(account, job_name(state)).items():
            download(account, uri, folder / name, only=HISTORY_FILE)
        return
    model, others = _archives(account, job_name(state))
    _unpack(account, model, folder / "model")
    if len(step.outputs) > 1:
        _unpack(account, others, folder)


def store_logs(account: Account, execution: ExecutionRecord, pipeline: Pipeline, *, arn: str, folder: Path) -> S3Uri:
    """Copy the logs for TensorBoard to ``executions/ID/`` under the prefix of the outputs, and return their place.

    Raises:
        RunnerError: S3 refuses.
    """
    prefix = next(_prefixes(account, execution, pipeline), None)
    if prefix is None:
        raise RunnerError("the execution has no training job beside its searches; the logs are kept in the workspace")
    place = S3Uri(prefix.bucket, f"{prefix.key}{EXECUTIONS}{arn.rpartition('/')[2]}/{folder.name}")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        target = place.join(*path.relative_to(folder).parts)
        with faults():
            account.client("s3").upload_file(str(path), target.bucket, target.key)
    return place


def _prefixes(account: Account, execution: ExecutionRecord, pipeline: Pipeline) -> Iterator[S3Uri]:
    """Yield the prefix of the outputs, as each training of an execution has it."""
    for step in pipeline.ordered():
        if step.kind is StepKind.TRAINING:
            state = execution.step(job_names(step)[-1])
            if not job_name(state):
                continue
            uris = (
                _archives(account, job_name(state))
                if is_training_job(state)
                else map(S3Uri.parse, output_uris(account, job_name(state)).values())
            )
            for uri in uris:
                yield S3Uri(uri.bucket, uri.key.partition(EXECUTIONS)[0])


def _archives(account: Account, job: str) -> tuple[S3Uri, S3Uri]:
    """Return the archive of the model and that of the other outputs of a training job."""
    described = account.call("sagemaker", "describe_training_job", TrainingJobName=job)
    path = S3Uri.parse(described["OutputDataConfig"]["S3OutputPath"])
    return S3Uri.parse(described["ModelArtifacts"]["S3ModelArtifacts"]), path.join(job, "output", "output.tar.gz")


def _unpack(account: Account, uri: S3Uri, folder: Path) -> None:
    """Copy the histories out of an archive, which is read once and never kept."""
    with faults():
        body = account.client("s3").get_object(Bucket=uri.bucket, Key=uri.key)["Body"]
        try:
            with tarfile.open(fileobj=body, mode="r|gz") as archive:
                for member in archive:
                    path = PurePosixPath(member.name)
                    is_inside = not path.is_absolute() and ".." not in path.parts
                    if path.name == HISTORY_FILE and member.isreg() and is_inside and member.size <= _LARGEST:
                        content = archive.extractfile(member)
                        target = folder / path
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(content.read() if content else b"")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise RunnerError(f"{uri} cannot be read as .tar.gz: {error}") from error
