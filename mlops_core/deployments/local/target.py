"""The deployment target of the runner ``local``: each endpoint is a process of its own, which survives this one.

This module starts that process, gives it orders, and reads its state. The process shifts traffic, watches alarms and
rolls back by itself, so the command that gave the order may be killed: the endpoint stays the old one or becomes the
new one.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.deployments.local.state import Action, EndpointFolder, EndpointOrder, EndpointState
from mlops_core.deployments.states import EndpointPhase, EndpointStatus
from mlops_core.deployments.target import EndpointAnswer, MonthlyCost
from mlops_core.errors import MlopsError, RunnerError, StoreError
from mlops_core.settings import environment
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from mlops_core.deployments.plan import DeploymentPlan, ModelReference
    from mlops_core.deployments.settings import DeploymentSettings
    from mlops_core.deployments.target import EndpointRequest
    from mlops_core.workspace.store import Store

NAME = "local"
CONFIGURATION_HEADER = "x-mlops-configuration"
"""Header of an answer: name of the plan whose server gave it."""
_PROCESS = "mlops_core.serving.endpoint.process"
_PACKAGES = ("starlette", "uvicorn", "h11")
_START_S, _FAULT_S = 60.0, 3.0
"""Time in which the process must hold its lock; the same once it has printed something, which is an error then."""
_MOST_STARTS = 5
_LIMIT_BYTES = 1 << 30
_LACKING = {
    "autoscaling": "the runner 'local' does not scale; set instances",
    "capture": "the runner 'local' captures no requests; mlops serve --capture does",
    "network": "the runner 'local' answers on 127.0.0.1 only",
    "encryption_key": "the runner 'local' encrypts nothing",
}


class LocalTarget:
    """The endpoints of a workspace on this machine."""

    name = NAME

    def __init__(self, store: Store, *, port: int = 0) -> None:
        """Keep endpoints in the workspace `store`.

        Args:
            store: the workspace.
            port: at which a new endpoint answers; 0 for one that is free.
        """
        self._store = store
        self._port = port
        self._starts = 0

    def folder(self, endpoint: str) -> EndpointFolder:
        """Return the folder of an endpoint."""
        return EndpointFolder(self._store.home / "deployments" / self.name / endpoint)

    def find_model(self, use_case: str, wanted: str | None) -> ModelReference | None:
        """Return None: the workspace's registry is the only one."""
        del use_case, wanted
        return None

    def faults(self, plan: DeploymentPlan) -> tuple[str, ...]:
        """Return which settings this machine lacks, and why the version cannot be served."""
        from mlops_core.use_cases.manager import load_use_case

        faults = [*_lacking(plan.settings), *self._port_faults(plan.endpoint)]
        if any(importlib.util.find_spec(package) is None for package in _PACKAGES):
            faults.append("an endpoint needs the extra 'serve': pip install 'mlops-usecases[serve]'")
        try:
            version = Registry(self._store).version(plan.model.use_case, plan.model.version)
            if not self._store.artifacts.has(version.artifact):
                faults.append(f"its files are gone; make them again with: mlops run --resume {version.run_id}")
            load_use_case(plan.model.use_case)  # raises where its plugin is gone or cannot load a model
        except MlopsError as error:
            faults.append(str(error))
        return tuple(faults)

    def monthly_cost(self, plan: DeploymentPlan) -> MonthlyCost:
        """Return that it costs nothing."""
        del plan
        return MonthlyCost(usd=0.0, basis="this machine")

    def status(self, endpoint: str) -> EndpointStatus:
        """Return what the endpoint is doing, and what it will do about an order that it has not read."""
        folder = self.folder(endpoint)
        order = folder.read_order()  # before the state, which may take it into account in the meantime
        has_process = folder.has_process()
        return _status(endpoint, folder.read_state(), order, has_process=has_process)

    def begin(self, plan: DeploymentPlan, *, at_once: bool = False) -> EndpointStatus:
        """Order a plan, and start the endpoint's process unless it lives.

        Raises:
            RunnerError: another plan is being deployed, or the process does not start; the order is withdrawn then.
        """
        status = self.status(plan.endpoint)
        if status.phase is EndpointPhase.DELETING:
            raise RunnerError(f"the endpoint '{plan.endpoint}' is being deleted; try again later")
        if status.pending not in ("", plan.name):
            raise RunnerError(f"the endpoint '{plan.endpoint}' is being changed to {status.pending}; try again later")
        folder = self.folder(plan.endpoint)
        if not status.pending and status.configuration != plan.name:
            folder.write_order(EndpointOrder(action=Action.DEPLOY, plan=plan, at_once=at_once))
        try:
            self._ensure_process(plan.endpoint)
        except RunnerError as error:
            order = folder.read_order()
            if order is not None and not folder.has_process():
                folder.write_state(replace(folder.read_state(), handled=order.token, reason=str(error)))
            raise
        return self.status(plan.endpoint)

    def advance(self, plan: DeploymentPlan) -> EndpointStatus:
        """Return where the deployment is; start the endpoint's process again if it died."""
        folder, status = self.folder(plan.endpoint), self.status(plan.endpoint)
        is_needed = not status.is_settled or (status.phase is EndpointPhase.FAILED and status.configuration)
        if is_needed and not folder.has_process():
            self._ensure_process(plan.endpoint)
            status = self.status(plan.endpoint)
        return status

    def cancel(self, plan: DeploymentPlan, *, reason: str) -> EndpointStatus:
        """Order the return to the old configuration."""
        self.folder(plan.endpoint).write_order(EndpointOrder(action=Action.CANCEL, plan=plan, reason=reason))
        self._ensure_process(plan.endpoint)
        return self.status(plan.endpoint)

    def invoke(self, endpoint: str, request: EndpointRequest, *, timeout_s: float) -> EndpointAnswer:
        """Send a request through the router.

        Raises:
            RunnerError: nothing answers.
        """
        port, began = self.folder(endpoint).read_state().port, time.monotonic()
        headers = {"Content-Type": request.content_type, "Accept": request.accept}
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)) as connection:
                connection.request("POST", "/invocations", body=request.body, headers=headers)
                response = connection.getresponse()
                body = response.read(_LIMIT_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise RunnerError(f"the endpoint '{endpoint}' does not answer at port {port}: {reason}") from error
        return EndpointAnswer(
            status=response.status,
            body=body,
            content_type=response.headers.get("Content-Type", ""),
            duration_s=time.monotonic() - began,
            configuration=response.headers.get(CONFIGURATION_HEADER, ""),
        )

    def delete(self, endpoint: str) -> EndpointStatus:
        """Order the end of the endpoint; without its process, write that down."""
        folder, status = self.folder(endpoint), self.status(endpoint)
        if status.phase is EndpointPhase.ABSENT:
            return status
        if status.phase is not EndpointPhase.DELETING:
            folder.write_order(EndpointOrder(action=Action.DELETE))
        if not folder.has_process():
            order, state = folder.read_order(), folder.read_state()
            token = order.token if order else ""
            folder.write_state(EndpointState(handled=token, reason=state.reason))
        return self.status(endpoint)

    def _port_faults(self, endpoint: str) -> tuple[str, ...]:
        """Return why the port at which the endpoint's process would answer cannot be used; empty while it answers."""
        folder = self.folder(endpoint)
        if folder.has_process():
            return ()
        kept = folder.read_state().port
        port = kept or self._port
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                advice = "end the process that has it" if kept else "choose another one with --port, or leave it out"
                return (f"port {port} of 127.0.0.1 cannot be used: {error.strerror or error}; {advice}",)
        return ()

    def _ensure_process(self, endpoint: str) -> None:
        """Start the endpoint's process unless it lives.

        Raises:
            RunnerError: it does not start, or died too often.
        """
        folder = self.folder(endpoint)
        if folder.has_process():
            return
        self._starts += 1
        if self._starts > _MOST_STARTS:
            raise RunnerError(f"the endpoint's process died {_MOST_STARTS} times; see {folder.log}")
        boot, deadline = folder.read_state().boot, time.monotonic() + _START_S
        _start(folder, workspace=str(self._store.home), port=self._port)
        while not folder.has_process() or folder.read_state().boot == boot:
            fault = _last_line(folder)
            if fault.startswith("mlops: error: "):
                raise RunnerError(f"the endpoint's process did not start: {fault.removeprefix('mlops: error: ')}")
            if fault:
                deadline = min(deadline, time.monotonic() + _FAULT_S)
            if time.monotonic() > deadline:
                raise RunnerError(
                    f"the endpoint's process did not start{f': {fault}' if fault else ''}; see {folder.log}"
                )
            time.sleep(0.02)


def _lacking(settings: DeploymentSettings) -> list[str]:
    faults = [f"{name}: {reason}" for name, reason in _LACKING.items() if getattr(settings, name)]
    if settings.alarms.names:
        faults.append(
            f"alarms.names: the runner 'local' has no alarm '{settings.alarms.names[0]}'; use max_error_rate, "
            "max_p99_ms and refuses_constant_answers"
        )
    return faults


def _status(endpoint: str, state: EndpointState, order: EndpointOrder | None, *, has_process: bool) -> EndpointStatus:
    status = EndpointStatus(
        endpoint=endpoint,
        phase=state.phase,
        configuration=state.current.name if state.current else "",
        pending=state.pending.name if state.pending else "",
        pending_percent=state.percent,
        reason=state.reason,
        address=f"http://127.0.0.1:{state.port}" if state.port else "",
        note=state.note,
    )
    if order is not None and order.token != state.handled:
        return _ordered(status, order)
    if not has_process and status.pending:
        return replace(status, phase=EndpointPhase.STARTING, pending_percent=0)
    if not has_process and status.configuration:
        reason = "its process does not run; deploy it again to start it"
        return replace(status, phase=EndpointPhase.FAILED, reason=reason)
    return status


def _ordered(status: EndpointStatus, order: EndpointOrder) -> EndpointStatus:
    """Return the status of an endpoint whose process has not read the newest order yet."""
    if order.action is Action.DELETE:
        return replace(status, phase=EndpointPhase.DELETING)
    if order.action is Action.CANCEL:
        return replace(status, phase=EndpointPhase.ROLLING_BACK, reason=order.reason)
    return replace(status, phase=EndpointPhase.STARTING, pending=order.plan.name if order.plan else "", reason="")


def _start(folder: EndpointFolder, *, workspace: str, port: int) -> None:
    """Start the process of an endpoint as nobody's child, so that it outlives this process."""
    folder.make()
    folder.log.write_bytes(b"")
    command = [sys.executable, "-P", "-m", _PROCESS, str(folder.path), workspace, str(port)]
    environ = {**environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        with folder.log.open("ab") as log:
            subprocess.run(  # noqa: S603  this Python
                ["/bin/sh", "-c", 'exec "$@" &', "sh", *command],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environ,
                start_new_session=True,
            )
    except (OSError, subprocess.CalledProcessError) as error:
        raise RunnerError(f"the endpoint's process cannot be started: {error}") from error


def _last_line(folder: EndpointFolder) -> str:
    try:
        lines = folder.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError as error:
        raise StoreError(f"{folder.log} cannot be read: {error.strerror or error}") from error
    return lines[-1] if lines else ""
