"""Carries out submitted jobs: a thread for each, whose nodes are processes on this machine.

The processes find what the service gives to its nodes: the workspace, a token for the tracking server, and the managed
identity of their compute. None of it outlives the job.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_azureml.checking import examine_job
from mlops_azureml.emulator.documents import document_of
from mlops_azureml.emulator.history import LOGS
from mlops_azureml.emulator.jobs import FINAL
from mlops_azureml.emulator.state import RunState, now
from mlops_azureml.emulator.web.access import MACHINE_LEARNING
from mlops_azureml.emulator.web.errors import InvalidError, UnsupportedError
from mlops_azureml.interpreter.containers import ProcessContainers
from mlops_azureml.interpreter.datastores import FolderDatastores
from mlops_azureml.interpreter.document import parse_job
from mlops_azureml.interpreter.execution import JobExecution, Surroundings
from mlops_azureml.interpreter.records import JobStatus
from mlops_azureml.layout import TRIAL
from mlops_azureml.values.mlflow import RUN_ID, TOKEN, URI
from mlops_core.runners import DefinitionError, usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_azureml.emulator.state import WorkspaceState
    from mlops_azureml.emulator.web.access import Access
    from mlops_azureml.interpreter.containers import NodeOrder
    from mlops_azureml.interpreter.records import NodeRecord

Json = Any

STD_LOG = "user_logs/std_log.txt"
_LOG = logging.getLogger(__name__)
_SHOWN = 3
_JOIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The endpoint, as nodes reach it.

    Attributes:
        url: its address.
        certificates: file with the certificates that nodes must trust.
        access: issues tokens.
    """

    url: str
    certificates: Path
    access: Access


class Executions:
    """The executions of one endpoint."""

    def __init__(self, state: WorkspaceState, folder: Path, *, site: Site, max_parallel: int | None) -> None:
        """Keep trees and logs below `folder`; results of earlier starts are not reused.

        Args:
            state: what the workspace holds.
            folder: folder for jobs; blobs are below it, too.
            site: the endpoint, as nodes reach it.
            max_parallel: number of nodes of a job to run in parallel; None for one per core.
        """
        self._state = state
        self._folder = folder.absolute()
        self._url, self._certificates, self._access = site.url, site.certificates, site.access
        self._max_parallel = max_parallel or usable_cores()
        self._threads: dict[str, threading.Thread] = {}
        self._running: dict[str, JobExecution] = {}
        shutil.rmtree(self._folder / "results", ignore_errors=True)

    # --- What requests ask for ----------------------------------------------------------------------------

    def check(self, properties: Json) -> None:
        """Refuse a job that cannot be executed, with what is wrong with it.

        Raises:
            CallError: it is damaged, or refers to something that does not exist.
        """
        if self._state.storage is not None:
            raise UnsupportedError("a job with blobs in another storage account")
        document = document_of(properties, self._state)
        faults = examine_job(document).faults
        if faults:
            more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise InvalidError(f"{'; '.join(map(str, faults[:_SHOWN]))}{more}", code="ValidationError")
        try:
            parse_job(document)
        except DefinitionError as error:
            raise InvalidError(str(error), code="ValidationError") from error

    def start(self, name: str) -> None:
        """Begin a job."""
        with self._state.lock:
            document = document_of(self._state.jobs[name], self._state)
        execution = JobExecution(
            parse_job(document),
            name=name,
            surroundings=Surroundings(
                datastores=FolderDatastores(self._folder / "blobs"),
                containers=_NodeContainers(self, name),
                folder=self._folder / "jobs" / name,
                results=self._folder / "results",
                max_parallel=self._max_parallel,
                on_node=lambda record: self._on_node(name, record),
            ),
        )
        self._folder.joinpath("blobs", LOGS).mkdir(parents=True, exist_ok=True)
        logs = self._folder / "blobs" / LOGS / name
        if not logs.is_symlink():
            logs.symlink_to(self._folder / "jobs" / name / "logs")
        thread = threading.Thread(target=self._carry_out, args=(name, execution), name=f"job {name}", daemon=True)
        with self._state.lock:
            self._running[name] = execution
            self._threads[name] = thread
        thread.start()

    def cancel(self, name: str) -> None:
        """End a job soon."""
        with self._state.lock:
            execution = self._running.get(name)
        if execution is not None:
            execution.stop()

    def close(self) -> None:
        """End all jobs."""
        with self._state.lock:
            running, threads = list(self._running.values()), list(self._threads.values())
        for execution in running:
            execution.stop()
        for thread in threads:
            thread.join(timeout=_JOIN_S)

    # --- Execution ----------------------------------------------------------------------------------------

    def _carry_out(self, name: str, execution: JobExecution) -> None:
        with self._state.lock:
            run = self._state.runs[name]
            run.started = now()
            if run.status == "NotStarted":
                run.status = "Running"
            elif run.status == "CancelRequested":
                execution.stop()
        status, error = "Failed", ""
        try:
            record = execution.carry_out()
            status = str(record.status)
            failed = record.failed
            error = f"node {failed.name}: {_message(failed)}" if failed else ""
        except Exception as defect:  # noqa: BLE001  whatever happens, the job must end
            _LOG.exception("job %s failed", name)
            error = f"InternalServerError: {defect!r}"
        finally:
            self._access.close_job(name)
            with self._state.lock:
                run.status, run.error, run.ended = status, error, now()
                self._running.pop(name, None)

    def _on_node(self, job: str, record: NodeRecord) -> None:
        """Keep the new state of a node."""
        if not record.start and record.status is not JobStatus.CANCELED:
            return
        with self._state.lock:
            run = self._run(job, record, parent=job)
            if record.status is JobStatus.COMPLETED:
                self._register_outputs(job, record)
            for index, trial in enumerate(record.trials):
                child = self._run(job, trial, parent=record.run_id)
                child.tags["hyperparameters"] = json.dumps({TRIAL: index})
            if record.best is not None:
                run.properties["best_child_run_id"] = record.trials[record.best].run_id
            if record.reused_from:
                origin = next(iter(record.outputs.values()), "").partition("/paths/azureml/")[2].partition("/")[0]
                run.properties |= {"azureml.isreused": "true", "azureml.reusedrunid": origin}
                run.logs = {}

    def _run(self, job: str, record: NodeRecord, *, parent: str) -> RunState:
        run = self._state.runs.setdefault(record.run_id, RunState(name=record.run_id, parent=parent, created=now()))
        run.display_name = record.name.rpartition(".")[2]
        run.status = str(record.status)
        run.started, run.ended = record.start, record.end
        run.error = _message(record) if record.status is JobStatus.FAILED else ""
        run.outputs = dict(record.outputs)
        if record.log:
            run.logs = {STD_LOG: f"{job}/{record.log}"}
        return run

    def _register_outputs(self, job: str, record: NodeRecord) -> None:
        """Register the outputs of a node that have a name as data assets; a version that exists stays as it is."""
        node = (self._state.jobs[job].get("jobs") or {}).get(record.name) or {}
        for port, output in (node.get("outputs") or {}).items():
            if not output.get("name") or port not in record.outputs:
                continue
            name = str(output["name"])
            versions = self._state.versions("data", name)
            version = str(output.get("version") or len(versions) + 1)
            if version not in versions:
                properties = {"dataType": output.get("job_output_type", "uri_folder"), "dataUri": record.outputs[port]}
                self._state.put_version("data", name, version, properties)

    def begin_trial(self, job: str, run_id: str) -> None:
        """Make a trial of a sweep visible while it runs."""
        parent, _, index = run_id.rpartition("_")
        with self._state.lock:
            if run_id in self._state.runs or parent not in self._state.runs or not index.isdecimal():
                return
            run = RunState(name=run_id, parent=parent, created=now(), started=now(), status="Running")
            run.display_name = f"trial-{index}"
            run.tags["hyperparameters"] = json.dumps({TRIAL: int(index)})
            run.metrics_folder = self._folder / "jobs" / job / "mlflow"
            self._state.runs[run_id] = run

    def node_environment(self, job: str, run_id: str) -> Mapping[str, str]:
        """Return the environment variables with which a node finds its workspace, as in the service."""
        names = self._state.names
        return {
            "ARM_CLOUD_METADATA_URL": f"{self._url}/metadata/endpoints",
            "AZUREML_ARM_SUBSCRIPTION": names.subscription,
            "AZUREML_ARM_RESOURCEGROUP": names.group,
            "AZUREML_ARM_WORKSPACE_NAME": names.workspace,
            "AZUREML_RUN_ID": run_id,
            "AZUREML_ROOT_RUN_ID": job,
            URI: f"azureml://{self._url.partition('://')[2]}/mlflow/v1.0{names.workspace_id}",
            TOKEN: self._access.token(MACHINE_LEARNING, subject=run_id),
            RUN_ID: run_id,
            "MSI_ENDPOINT": f"{self._url}/msi/token",
            "MSI_SECRET": self._access.open_job(job),
            "REQUESTS_CA_BUNDLE": str(self._certificates),
            "SSL_CERT_FILE": str(self._certificates),
        }


class _NodeContainers:
    """Executes the commands of one job's nodes as processes, in the environment of the service."""

    def __init__(self, executions: Executions, job: str) -> None:
        self._executions = executions
        self._job = job
        self._processes = ProcessContainers()

    def run(self, order: NodeOrder) -> int | None:
        run_id = order.environment["AZUREML_RUN_ID"]
        self._executions.begin_trial(self._job, run_id)
        environment = {**order.environment, **self._executions.node_environment(self._job, run_id)}
        return self._processes.run(replace(order, environment=environment))


def _message(record: NodeRecord) -> str:
    """Return the message of a failed node in the words of the service."""
    if not record.exit_code:
        return record.error
    return (
        f"Execution failed. User process 'python3' exited with status code {record.exit_code}. Please check log file "
        f"'{STD_LOG}' for error details. Error: {record.error}"
    )


__all__ = ["FINAL", "Executions"]
