"""Executes Transform steps: starts the server of the model, sends it the objects, and uploads what it answers.

Rules of the service: ``/execution-parameters`` is asked first and decides what the request leaves open; an object
is one request, or its lines are; ``<name>.out`` is uploaded when the whole object was answered; one object that fails
ends the job. Answers with a status of 4xx are final, all other failures are retried ``InvocationsMaxRetries`` times.
"""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mlops_core import DatasetError
from mlops_core.serving import MIB, RecordRules, assembled, payloads
from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.jobs.common import JobPlace, JobResult, make_hosts, run_job
from mlops_sagemaker.emulator.jobs.models import container_of, fetch_model
from mlops_sagemaker.emulator.jobs.serving import MODEL_FOLDER, ModelServer, serving
from mlops_sagemaker.emulator.objects import parse_uri, relative_key
from mlops_sagemaker.emulator.support import require_supported
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.serving import Payload
    from mlops_sagemaker.emulator.jobs.common import Host
    from mlops_sagemaker.emulator.jobs.registration import ModelRegistrar
    from mlops_sagemaker.emulator.jobs.serving import ModelAnswer

_START_S = 600.0
_TIMEOUT_S = 600
_PAYLOAD_MB = 6
_PRODUCT_MB = 100
_EXIT_CODES: Mapping[int, int] = {HTTPStatus.UNPROCESSABLE_ENTITY: 5, HTTPStatus.INTERNAL_SERVER_ERROR: 6}
"""Exit code of a local run for a status of the server, so that the same failure has the same error."""
_NOT_NEGOTIATED = (HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
_ENVIRONMENT = (
    ("MaxPayloadInMB", "SAGEMAKER_MAX_PAYLOAD_IN_MB"),
    ("BatchStrategy", "SAGEMAKER_BATCH_STRATEGY"),
    ("MaxConcurrentTransforms", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"),
)
_STRATEGIES = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}


def run_transform(name: str, request: Mapping[str, Any], place: JobPlace, registrar: ModelRegistrar) -> JobResult:
    """Execute a transform job.

    Args:
        name: name of the job.
        request: resolved arguments of ``CreateTransformJob``.
        place: environment of the job.
        registrar: knows the model.

    Raises:
        StepFault: the job failed.
        StepStopped: the execution was stopped.
    """
    require_supported("Transform", request)
    model = registrar.find_model(str(request["ModelName"]))
    if model is None:
        raise StepFault(FaultKind.CLIENT, f'Could not find model "{request["ModelName"]}"')
    arn = f"{place.arn_prefix}:transform-job/{name}"
    (host,) = make_hosts(place, name=name, cluster={"InstanceType": _instance(request)})
    job = JobResult(
        properties={**request, "TransformJobName": name, "TransformJobArn": arn, "TransformJobStatus": "InProgress"},
        metadata={"TransformJob": {"Arn": arn}},
        logs=(host.log.name,),
    )
    try:
        return run_job(place, "Transform", job, body=lambda: _run(place, host, job, model))
    finally:
        shutil.rmtree(place.work / name, ignore_errors=True)


def _instance(request: Mapping[str, Any]) -> str:
    return str((request.get("TransformResources") or {}).get("InstanceType", "local"))


def _run(place: JobPlace, host: Host, job: JobResult, model: Mapping[str, Any]) -> JobResult:
    request, container = job.properties, container_of(model)
    fetch_model(place.objects, container, host.tree.folder(MODEL_FOLDER), scratch=host.tree.root)
    variables = {**place.environment, **container.environment, **_variables(request)}
    server = ModelServer(
        place.containers,
        tree=host.tree,
        log=host.log,
        environment=variables,
        image=container.image,
        start_limit_s=_START_S,
    )
    with serving(server, stopped=place.stopped):
        transform = _Transform(place, request, server, folder=host.tree.folder("/opt/ml/transform"))
        transform.run()
    properties = {**request, "TransformJobStatus": "Completed"}
    return replace(job, properties=properties, written=(f"{transform.target}/",))


def _variables(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that the service sets: those for settings only where the request has them."""
    variables = {name: str(value) for name, value in (request.get("Environment") or {}).items()}
    given = {name: request[member] for member, name in _ENVIRONMENT if member in request}
    return {
        **variables,
        "SAGEMAKER_BATCH": "true",
        **{name: _STRATEGIES.get(str(value), str(value)) for name, value in given.items()},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """How the objects of a job are sent."""

    rules: RecordRules
    concurrent: int
    timeout_s: int
    retries: int
    content_type: str
    accept: str

    @classmethod
    def of(cls, request: Mapping[str, Any], proposal: Mapping[str, Any]) -> _Settings:
        """Return the settings of a request; the container's proposal decides what it leaves open."""
        data, output = request["TransformInput"], request["TransformOutput"]
        client = request.get("ModelClientConfig") or {}
        limit_mb = int(request.get("MaxPayloadInMB", proposal.get("MaxPayloadInMB", _PAYLOAD_MB)))
        concurrent = int(request.get("MaxConcurrentTransforms") or proposal.get("MaxConcurrentTransforms") or 1)
        if not request.get("MaxConcurrentTransforms"):
            concurrent = max(1, min(concurrent, _PRODUCT_MB // (limit_mb or 1)))
        strategy = request.get("BatchStrategy") or proposal.get("BatchStrategy") or "MultiRecord"
        by_line = data.get("SplitType", "None") == "Line"
        return cls(
            rules=RecordRules(
                by_line=by_line,
                is_multi=by_line and strategy in ("MultiRecord", "MULTI_RECORD"),
                ends_lines=output.get("AssembleWith", "None") == "Line",
                limit_bytes=limit_mb * MIB or None,
            ),
            concurrent=concurrent,
            timeout_s=int(client.get("InvocationsTimeoutInSeconds", _TIMEOUT_S)),
            retries=int(client.get("InvocationsMaxRetries", 0)),
            content_type=str(data.get("ContentType", "")),
            accept=str(output.get("Accept", "")),
        )


class _Transform:
    """Sends the objects of one job to a server."""

    def __init__(self, place: JobPlace, request: Mapping[str, Any], server: ModelServer, *, folder: Path) -> None:
        self._place = place
        self._server = server
        self._folder = folder
        self._settings = _Settings.of(request, self._proposal())
        self._source = parse_uri(request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        self.target = parse_uri(str(request["TransformOutput"]["S3OutputPath"]).rstrip("/"))
        self._failed = threading.Event()

    def _proposal(self) -> Mapping[str, Any]:
        """Return what the container proposes; nothing if it does not answer this request."""
        answer = self._server.ask("GET", "/execution-parameters", headers={}, timeout_s=60)
        try:
            proposal = json.loads(answer.body) if answer.status == HTTPStatus.OK else {}
        except ValueError:
            return {}
        return proposal if isinstance(proposal, dict) else {}

    def run(self) -> None:
        keys = [key for key in self._place.objects.keys(self._source) if not key.endswith("/")]
        if not keys:
            raise StepFault(FaultKind.CLIENT, f'No S3 objects found under S3 URL "{self._source}"')
        with ThreadPoolExecutor(max_workers=self._settings.concurrent, thread_name_prefix="transform") as pool:
            futures = [pool.submit(self._transform, number, key) for number, key in enumerate(keys)]
            wait(futures, return_when=FIRST_EXCEPTION)
            self._failed.set()  # those that have not begun do nothing
        for future in futures:
            future.result()

    def _transform(self, number: int, key: str) -> None:
        """Send an object, and upload the answers when there are all of them."""
        if self._failed.is_set():
            return
        name = relative_key(self._source.key, key)
        data, answers = self._folder / f"{number}.data", self._folder / f"{number}.out"
        self._place.objects.download(S3Uri(self._source.bucket, key), data)
        try:
            with answers.open("wb") as stream:
                for payload in payloads(data, self._settings.rules, name=name):
                    answer = self._answer(payload, name=name)
                    stream.write(assembled(answer, payload, self._settings.rules, name=name))
            self._require_running()
            self._place.objects.upload(answers, self.target.join(f"{name}.out"))
        except DatasetError as error:
            raise StepFault(FaultKind.CLIENT, f"{error}, exit code: {int(error.exit_code)}") from error
        finally:
            data.unlink()
            answers.unlink(missing_ok=True)

    def _answer(self, payload: Payload, *, name: str) -> bytes:
        """Return the body of the answer to a request."""
        failure = ""
        for _ in range(self._settings.retries + 1):
            self._require_running()
            try:
                answer = self._sent(payload)
            except TimeoutError:
                self._require_running()
                failure = f"{name}: no answer after {self._settings.timeout_s} s"
                continue
            except (OSError, http.client.HTTPException) as error:
                self._require_running()
                reason = str(error) if self._server.is_alive else str(self._server.failure())
                failure = f"{name}: the model server does not answer: {reason}"
                continue
            if answer.status == HTTPStatus.OK:
                return answer.body
            failure = self._failure(answer, name=name)
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                break
        raise StepFault(FaultKind.ALGORITHM, failure)

    def _require_running(self) -> None:
        if self._place.stopped.is_set():
            raise StepStopped

    def _sent(self, payload: Payload) -> ModelAnswer:
        headers = {"Content-Type": self._settings.content_type, "Accept": self._settings.accept}
        return self._server.ask(
            "POST",
            "/invocations",
            body=payload.body,
            headers={name: value for name, value in headers.items() if value},
            timeout_s=self._settings.timeout_s,
            is_chunked=self._settings.rules.limit_bytes is None,  # as documented for MaxPayloadInMB 0
        )

    def _failure(self, answer: ModelAnswer, *, name: str) -> str:
        message = _message(answer.body)
        if answer.status in _NOT_NEGOTIATED:
            return f"batch prediction: {message}, exit code: 6"
        if answer.status == HTTPStatus.GATEWAY_TIMEOUT:
            return f"{name}: no answer after {self._settings.timeout_s} s"
        code = _EXIT_CODES.get(answer.status)
        is_of_model = message.startswith("the model failed")
        shown = code if code and (code != _EXIT_CODES[HTTPStatus.INTERNAL_SERVER_ERROR] or is_of_model) else None
        return f"{name}: {message}{f', exit code: {shown}' if shown else ''}"


def _message(body: bytes) -> str:
    """Return the message of an error, as our container writes it, or what it wrote."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return " ".join(body.decode("utf-8", errors="replace").split())[:1024] or "the answer has no message"
