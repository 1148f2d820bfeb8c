"""Carries out the transform jobs that ``CreateTransformJob`` starts, each in its own thread."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.inference.models import find_model
from mlops_sagemaker.emulator.endpoint.protocol.errors import InUseError, NotFoundError, ValidationError
from mlops_sagemaker.emulator.endpoint.surroundings import EndpointRegistrar
from mlops_sagemaker.emulator.faults import StepFault, StepStopped
from mlops_sagemaker.emulator.history import now
from mlops_sagemaker.emulator.jobs.common import IN_PROGRESS, JobPlace, JobState
from mlops_sagemaker.emulator.jobs.models import model_problems
from mlops_sagemaker.emulator.jobs.transform import run_transform
from mlops_sagemaker.emulator.objects import S3Objects
from mlops_sagemaker.emulator.support import problems_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.endpoint.surroundings import Account
    from mlops_sagemaker.emulator.jobs.containers import Containers

    Request = Mapping[str, Any]

_LOG = logging.getLogger(__name__)
KIND = "Transform"


class TransformJobs:
    """The transform jobs that no pipeline started; call `create` and `stop` with the lock of the region."""

    def __init__(self, account: Callable[[Region], Account], folder: Path, *, containers: Containers) -> None:
        """Store trees and logs in `folder`."""
        self._account = account
        self._folder = folder
        self._containers = containers
        self._stops: dict[tuple[str, str], threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def create(self, region: Region, request: Request) -> dict[str, Any]:
        """``CreateTransformJob``.

        Raises:
            InUseError: there is a job of this name.
            ValidationError: the model does not exist, or the job cannot be carried out here.
        """
        name = request["TransformJobName"]
        if (KIND, name) in region.jobs:
            raise InUseError(f"Job name must be unique within an AWS account and region: {name}")
        model = find_model(region, request["ModelName"])
        if model is None:
            raise ValidationError(f"Could not find model {region.arn('model', request['ModelName'])!r}.")
        for problem in (
            *problems_of(KIND, request),
            *model_problems(model, environment=request.get("Environment")),
        ):
            raise ValidationError(f"{name}: {problem}")
        arn = region.arn("transform-job", name)
        properties = {**request, "TransformJobArn": arn, "TransformJobStatus": IN_PROGRESS}
        start = now()
        region.jobs[KIND, name] = JobState(
            kind=KIND, name=name, status=IN_PROGRESS, properties=properties, created=start, modified=start
        )
        region.add_tags(arn, request.get("Tags"))
        stopped = self._stops[region.name, name] = threading.Event()
        thread = threading.Thread(target=self._run, args=(region, request, stopped), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return {"TransformJobArn": arn}

    def stop(self, region: Region, request: Request) -> dict[str, Any]:
        """``StopTransformJob``.

        Raises:
            NotFoundError: there is no such job.
            ValidationError: it has ended, or belongs to a pipeline.
        """
        name = request["TransformJobName"]
        job, stopped = region.jobs.get((KIND, name)), self._stops.get((region.name, name))
        if job is None:
            raise NotFoundError(f"Could not find requested job with name: {name}")
        if job.is_final:
            raise ValidationError(f"The request was rejected because the transform job is in status {job.status}.")
        if stopped is None:
            raise ValidationError(f"{name} is a step of a pipeline: stop its execution")
        region.jobs[KIND, name] = replace(job, status="Stopping", modified=now())
        stopped.set()
        return {}

    def close(self) -> None:
        """Stop all jobs and wait until they have ended."""
        for stopped in tuple(self._stops.values()):
            stopped.set()
        for thread in tuple(self._threads):
            thread.join()

    def _run(self, region: Region, request: Request, stopped: threading.Event) -> None:
        name = request["TransformJobName"]
        account = self._account(region)

        def on_job(job: JobState) -> None:
            with region.lock:
                is_stopping = stopped.is_set() and not job.is_final
                region.jobs[KIND, name] = replace(job, status="Stopping") if is_stopping else job

        place = JobPlace(
            objects=S3Objects(account.client("s3")),
            containers=self._containers,
            work=self._folder / "work",
            logs=self._folder / "logs",
            execution_id=name,
            arn_prefix=region.arn("", "").removesuffix(":/"),
            stopped=stopped,
            environment=account.environment(),
            announce=lambda _: None,
            on_job=on_job,
        )
        failure = ""
        try:
            run_transform(name, request, place, EndpointRegistrar(region, account))
        except StepStopped:
            return
        except StepFault as fault:
            failure = str(fault)
        except Exception as error:  # noqa: BLE001  the job has failed in any case
            _LOG.exception("transform job %s", name)
            failure = f"InternalServerError: {error!r}"
        finally:
            account.write_job_logs(KIND, [f"{name}.algo-1.log"], self._folder / "logs")
        if failure:
            job = region.jobs[KIND, name]
            on_job(replace(job, status="Failed", failure=failure, modified=now()))
