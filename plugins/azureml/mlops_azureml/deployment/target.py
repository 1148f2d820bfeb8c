"""The deployment target of the runner ``azureml``: managed online endpoints, blue beside green.

The service moves no traffic by itself and watches nothing, so `advance` does: the new deployment is created without
traffic, gets its shares step by step, and replaces the old one when it has proved itself. What is under way is
recorded in the endpoint's tags: a process that is killed leaves a valid endpoint, and the next one continues.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from mlops_azureml.deployment.endpoints import AT_ONCE, CANCELLED, PENDING, REASON, SINCE, OnlineEndpoints
from mlops_azureml.deployment.requests import (
    deployment_body,
    deployment_name,
    endpoint_body,
    environment_properties,
    instance_type,
    setting_faults,
)
from mlops_azureml.deployment.versions import ModelVersions
from mlops_azureml.machines import load_price_table
from mlops_core import MlopsError
from mlops_core.deployments import (
    EndpointAnswer,
    EndpointPhase,
    EndpointRequest,
    EndpointStatus,
    MonthlyCost,
    recorded_requests,
)
from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from mlops_azureml.deployment.endpoints import OnlineEndpoint
    from mlops_azureml.options import AzureMlOptions
    from mlops_azureml.service.workspace import Workspace
    from mlops_azureml.target import Target
    from mlops_core.deployments import DeploymentPlan, ModelReference
    from mlops_core.runners import Store

NAME = "azureml"
_HOURS_A_MONTH = 730
_CHANGING = ("Creating", "Updating", "Scaling")
_SERVER_ERROR = 500
_PROBE_S = 60.0


class AzureMlTarget:
    """The online endpoints of one workspace."""

    name = NAME

    def __init__(self, store: Store, options: AzureMlOptions, *, target: Target, workspace: Workspace) -> None:
        """Deploy to a workspace.

        Args:
            store: the workspace on this machine.
            options: options of the command.
            target: names and settings.
            workspace: the workspace of the endpoints.
        """
        self._store = store
        self._options = options
        self._settings = target.settings.workspace
        self._workspace = workspace
        self._endpoints = OnlineEndpoints(workspace)
        self._versions = ModelVersions(workspace, store, self._settings)
        self._answers: dict[str, list[tuple[str, EndpointAnswer]]] = {}

    # --- Before -------------------------------------------------------------------------------------------

    def find_model(self, use_case: str, wanted: str | None) -> ModelReference | None:
        """Return a version of the registered model; its approval is the tag ``approval``."""
        return self._versions.find(use_case, wanted)

    def faults(self, plan: DeploymentPlan) -> tuple[str, ...]:
        """Return what hinders a deployment, before anything is created."""
        faults = [*setting_faults(plan, image=self._settings.serving_image)]
        if not plan.model.location:
            train = f"mlops run -u {plan.model.use_case} --runner {NAME}"
            faults.append(f"it is not registered in workspace '{self._workspace.id.name}'; train it with: {train}")
        try:
            instance_type(plan)
        except MlopsError as error:
            faults.append(str(error))
        return tuple(faults)

    def monthly_cost(self, plan: DeploymentPlan) -> MonthlyCost:
        """Return the cost of the machines; while traffic moves, the old ones are paid for, too."""
        name, count = instance_type(plan), plan.settings.instances
        price = load_price_table(self._options.prices).instances.get(name)
        if price is None:
            return MonthlyCost(usd=None, basis=f"{count} x {name}, whose price is not in the table; pass --prices")
        return MonthlyCost(usd=price * _HOURS_A_MONTH * count, basis=f"{count} x {name} at {price:g} USD an hour")

    def status(self, endpoint: str) -> EndpointStatus:
        """Return what the endpoint is doing."""
        return _status(endpoint, self._endpoints.find(endpoint))

    # --- The deployment -----------------------------------------------------------------------------------

    def begin(self, plan: DeploymentPlan, *, at_once: bool = False) -> EndpointStatus:
        """Create the endpoint where it is missing, and the plan's deployment without traffic."""
        found = self._endpoints.find(plan.endpoint)
        status = _status(plan.endpoint, found)
        if status.serves(plan.name) or status.pending == plan.name:
            return status
        if not status.is_settled:
            raise RunnerError(
                f"endpoint '{plan.endpoint}' is being changed ({status.phase}); wait until it has ended, or end it "
                f"with: mlops deployments rollback -u {plan.model.use_case} --to {plan.stage} --runner {NAME} --why ..."
            )
        location = str(self._workspace.describe().get("location") or "")
        if found is None:
            self._endpoints.put(plan.endpoint, endpoint_body(plan, location=location, traffic={}))
            found = self._endpoints.find(plan.endpoint)
        if found is None:
            raise RunnerError(f"endpoint '{plan.endpoint}' was created and does not exist; run the command again")
        name = deployment_name(plan)
        self._endpoints.change(
            found,
            tags={
                PENDING: f"{name}/{plan.name}",
                SINCE: str(time.time()),
                AT_ONCE: "1" if at_once else None,
                CANCELLED: None,
                REASON: None,
            },
        )
        return self.status(plan.endpoint)

    def advance(self, plan: DeploymentPlan) -> EndpointStatus:
        """Do what is due: create, move traffic, watch the answers, finish, or return to the old deployment."""
        found = self._endpoints.find(plan.endpoint)
        if found is None:
            raise RunnerError(f"endpoint '{plan.endpoint}' is gone: somebody deleted it while it was deployed")
        pending = found.pending
        if pending is None or pending.configuration != plan.name or found.state in _CHANGING:
            return _status(plan.endpoint, found)
        if found.tags.get(CANCELLED):
            self._return(found)
        elif not pending.state:
            self._create(plan)
        elif pending.state == "Failed":
            return self.cancel(plan, reason="the new deployment did not start; its log is in the studio")
        elif pending.state == "Succeeded":
            reason = self._alarm(plan, found) if found.pending_percent else ""
            if reason:
                return self.cancel(plan, reason=reason)
            self._shift(plan, found)
        return self.status(plan.endpoint)

    def cancel(self, plan: DeploymentPlan, *, reason: str) -> EndpointStatus:
        """Note that the plan ends, and give its traffic back to the old deployment."""
        found = self._endpoints.find(plan.endpoint)
        if found is None or found.pending is None or found.pending.configuration != plan.name:
            return _status(plan.endpoint, found)
        traffic = {found.current.name: 100} if found.current else {}
        self._endpoints.change(found, traffic=traffic, tags={CANCELLED: reason[:250]})
        return self.status(plan.endpoint)

    def invoke(self, endpoint: str, request: EndpointRequest, *, timeout_s: float) -> EndpointAnswer:
        """Send a request through the endpoint."""
        found = self._endpoints.find(endpoint)
        if found is None:
            raise RunnerError(f"endpoint '{endpoint}' does not exist")
        return self._endpoints.invoke(found, request, timeout_s=timeout_s)

    def delete(self, endpoint: str) -> EndpointStatus:
        """Delete an endpoint with its deployments; models stay registered."""
        self._endpoints.delete(endpoint)
        return self.status(endpoint)

    # --- Parts of it --------------------------------------------------------------------------------------

    def _create(self, plan: DeploymentPlan) -> None:
        image = self._settings.serving_image or ""
        location = str(self._workspace.describe().get("location") or "")
        properties = environment_properties(image)
        version = self._versions.environment(properties)
        body = deployment_body(plan, location=location, model=plan.model.location, environment=version)
        self._endpoints.put_deployment(plan.endpoint, deployment_name(plan), body)

    def _shift(self, plan: DeploymentPlan, found: OnlineEndpoint) -> None:
        """Give the new deployment its next share, or finish."""
        pending, old = found.pending, found.current
        assert pending is not None  # noqa: S101  for mypy: the caller has looked
        is_at_once = AT_ONCE in found.tags or old is None
        shares = (100,) if is_at_once else plan.settings.traffic.shares()
        share = found.pending_percent
        if share == shares[-1]:
            if found.waited_s >= (0 if AT_ONCE in found.tags else plan.settings.traffic.bake_s):
                self._finish(found)
            return
        if share and found.waited_s < plan.settings.traffic.interval_s:
            return
        following = next(each for each in shares if each > share)
        traffic = {pending.name: following}
        if old is not None and following < 100:
            traffic[old.name] = 100 - following
        self._endpoints.change(found, traffic=traffic, tags={SINCE: str(time.time())})

    def _finish(self, found: OnlineEndpoint) -> None:
        """Remove the old deployments; the note that something is under way goes last."""
        pending = found.pending
        assert pending is not None  # noqa: S101  for mypy: the caller has looked
        others = [each for each in found.deployments if each != pending.name]
        for each in others:
            self._endpoints.delete_deployment(found.name, each)
        if not others:
            self._endpoints.change(found, tags={PENDING: None, SINCE: None, AT_ONCE: None})

    def _return(self, found: OnlineEndpoint) -> None:
        """Remove the deployment that must not stay, which has no traffic any more; a first one with its endpoint."""
        pending = found.pending
        assert pending is not None  # noqa: S101  for mypy: the caller has looked
        if found.current is None:
            self._endpoints.delete(found.name)
        elif pending.name in found.deployments:
            self._endpoints.delete_deployment(found.name, pending.name)
        else:
            reason = found.tags[CANCELLED]
            self._endpoints.change(found, tags={PENDING: None, SINCE: None, CANCELLED: None, REASON: reason})

    def _alarm(self, plan: DeploymentPlan, found: OnlineEndpoint) -> str:
        """Send the recorded requests to the new deployment; return why it must end, empty for no reason."""
        requests = recorded_requests(self._store, plan.model)
        answers = self._answers.setdefault(plan.name, [])
        pending, alarms = found.pending, plan.settings.alarms
        if not requests or pending is None:
            return ""
        for each in requests:
            request = EndpointRequest(body=each.body, content_type=each.content_type)
            answer = self._endpoints.invoke(found, request, timeout_s=_PROBE_S, deployment=pending.name)
            answers.append((each.sample, answer))
        if len(answers) < alarms.min_requests:
            return ""
        failed = sum(answer.status >= _SERVER_ERROR for _, answer in answers) / len(answers)
        if alarms.max_error_rate is not None and failed > alarms.max_error_rate:
            return f"{failed:.1%} of {len(answers)} requests failed, more than max_error_rate {alarms.max_error_rate:g}"
        p99_ms = statistics.quantiles([answer.duration_s * 1000 for _, answer in answers], n=100)[-1]
        if alarms.max_p99_ms is not None and p99_ms > alarms.max_p99_ms:
            return f"99th percentile of the time of an answer is {p99_ms:.0f} ms, more than {alarms.max_p99_ms:g} ms"
        recorded = {json.dumps(each.answer, sort_keys=True) for each in requests}
        given = {answer.body for _, answer in answers}
        if alarms.refuses_constant_answers and len(recorded) > 1 and len(given) == 1:
            return f"all {len(answers)} answers are equal, and the recorded ones are not"
        return ""


def _status(endpoint: str, found: OnlineEndpoint | None) -> EndpointStatus:
    if found is None:
        return EndpointStatus(endpoint=endpoint, phase=EndpointPhase.ABSENT)
    current, pending = found.current, found.pending
    known: dict[str, Any] = {
        "endpoint": endpoint,
        "configuration": current.configuration if current else "",
        "address": found.scoring_uri,
        "reason": found.tags.get(CANCELLED) or found.tags.get(REASON, ""),
    }
    if found.state == "Deleting":
        return EndpointStatus(phase=EndpointPhase.DELETING, **known)
    if pending is None:
        if found.state in _CHANGING:
            return EndpointStatus(phase=EndpointPhase.STARTING, **known)
        is_good = found.state == "Succeeded" and current is not None
        return EndpointStatus(phase=EndpointPhase.IN_SERVICE if is_good else EndpointPhase.FAILED, **known)
    share = found.pending_percent
    phase = EndpointPhase.STARTING if not share else EndpointPhase.BAKING if share == 100 else EndpointPhase.SHIFTING
    if found.tags.get(CANCELLED):
        phase = EndpointPhase.ROLLING_BACK
    return EndpointStatus(phase=phase, pending=pending.configuration, pending_percent=share, **known)
