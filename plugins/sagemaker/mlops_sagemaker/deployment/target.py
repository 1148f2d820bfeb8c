"""The deployment target of the runner ``sagemaker``: real-time endpoints of an account, by boto3 alone.

The service shifts traffic, watches alarms and rolls back by itself, so `mlops deploy` may be killed at any moment: the
endpoint stays the old one or becomes the new.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_core.deployments import EndpointAnswer, EndpointPhase, MonthlyCost, ensure_requests, recorded_requests
from mlops_core.runners import RunnerError, read_settings
from mlops_sagemaker.compiler.definition import model_package_group
from mlops_sagemaker.deployment import requests
from mlops_sagemaker.deployment.faults import alarm_faults, blueprint_faults, setting_faults
from mlops_sagemaker.deployment.requests import CONFIGURATION_TAG, Blueprint
from mlops_sagemaker.deployment.resources import (
    POLL_S,
    SETTLE_S,
    BusyError,
    EndpointResources,
    smallest_instance,
)
from mlops_sagemaker.deployment.states import look, status_of
from mlops_sagemaker.deployment.versions import PackageVersions
from mlops_sagemaker.deployment.watching import AnswerWatch
from mlops_sagemaker.machines import load_price_table
from mlops_sagemaker.service.account import code_of
from mlops_sagemaker.serving.protocol import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.deployments import DeploymentPlan, EndpointRequest, EndpointStatus, ModelReference
    from mlops_core.runners import Store
    from mlops_sagemaker.deployment.states import SeenEndpoint
    from mlops_sagemaker.options import SageMakerOptions
    from mlops_sagemaker.service.account import Account
    from mlops_sagemaker.settings import CompileSettings

NAME = "sagemaker"
_HOURS_A_MONTH = 730
_DELETE_S = 600.0
_NO_ANSWER = 503
_PROJECT = {"sagemaker:project-name": "SAGEMAKER_PROJECT_NAME", "sagemaker:project-id": "SAGEMAKER_PROJECT_ID"}
_SHIFTING = (EndpointPhase.SHIFTING, EndpointPhase.BAKING)


class SageMakerTarget:
    """The endpoints of one account in one region."""

    name = NAME

    def __init__(self, store: Store, options: SageMakerOptions, *, settings: CompileSettings, account: Account) -> None:
        """Deploy with an account.

        Args:
            store: the workspace.
            options: options of the command.
            settings: ``sagemaker.yaml`` with the variables of the project templates.
            account: credentials and region.
        """
        self._store = store
        self._options = options
        self._settings = settings
        self._account = account
        self._resources = EndpointResources(account)
        self._groups: dict[str, PackageVersions] = {}
        self._watches: dict[str, AnswerWatch] = {}
        self._unrecorded: dict[str, str] = {}

    # --- Before -------------------------------------------------------------------------------------------

    def find_model(self, use_case: str, wanted: str | None) -> ModelReference | None:
        """Return a version of the use case's model package group, with its approval as it is now."""
        versions = self._versions(use_case)
        package = versions.find(use_case, wanted)
        return versions.reference(use_case, package) if package else None

    def faults(self, plan: DeploymentPlan) -> tuple[str, ...]:
        """Return what hinders a deployment, before anything is created."""
        faults = [*setting_faults(plan, self._settings.account)]
        if not plan.model.location:
            group, use_case = self._versions(plan.model.use_case).group, plan.model.use_case
            train = f"mlops run -u {use_case} --runner sagemaker"
            faults.append(f"it is not in the model package group '{group}'; train it with: {train}")
            return tuple(faults)
        try:
            faults += blueprint_faults(self._blueprint(plan))
        except UsageError as error:
            faults.append(str(error))
        return (*faults, *alarm_faults(plan, self._account))

    def monthly_cost(self, plan: DeploymentPlan) -> MonthlyCost:
        """Return the cost of the machines; without requests, traffic and captured data."""
        name = self._blueprint(plan).instance_type
        count, scaling = plan.settings.instances, plan.settings.autoscaling
        price = load_price_table(self._options.prices).instances.get(name)
        if price is None:
            return MonthlyCost(usd=None, basis=f"{count} x {name}, whose price is not in the table; pass --prices")
        month = price * _HOURS_A_MONTH
        return MonthlyCost(
            usd=month * count,
            basis=f"{count} x {name} at {price:g} USD an hour",
            max_usd=month * max(count, scaling.max_instances) if scaling else None,
        )

    def status(self, endpoint: str) -> EndpointStatus:
        """Return what the endpoint is doing."""
        return self._status(look(self._account, endpoint))

    # --- The deployment -----------------------------------------------------------------------------------

    def begin(self, plan: DeploymentPlan, *, at_once: bool = False) -> EndpointStatus:
        """Create the model, its configuration and its alarms, then create or update the endpoint."""
        seen = look(self._account, plan.endpoint)
        status = self._status(seen)
        if status.serves(plan.name) or status.pending == plan.name:
            return status
        if not status.is_settled:
            raise RunnerError(_busy(plan, status))
        blueprint = self._blueprint(plan)
        self._unrecorded[plan.name] = ensure_requests(self._store, plan.model)
        if status.phase is EndpointPhase.FAILED:
            self._delete_failed(plan)
        self._resources.create(blueprint)
        try:
            if status.phase is EndpointPhase.IN_SERVICE:
                self._resources.release_scaling(blueprint, seen)
                self._resources.update_endpoint(plan, at_once=at_once)
            else:
                self._resources.create_endpoint(blueprint)
        except BusyError as error:
            raise RunnerError(_busy(plan, self.status(plan.endpoint))) from error
        return self._begun(plan)

    def advance(self, plan: DeploymentPlan) -> EndpointStatus:
        """Look at the endpoint; watch a model that has traffic, and finish what the service has finished."""
        seen = look(self._account, plan.endpoint)
        status = self._status(seen)
        reason = "" if status.serves(plan.name) else self._resources.cancelled(plan)
        status = replace(status, reason="; ".join(filter(None, (reason, status.reason))))
        if status.phase is EndpointPhase.ABSENT and not reason:
            raise RunnerError(f"endpoint '{plan.endpoint}' is gone: somebody deleted it while it was deployed")
        if status.pending != plan.name:
            return status
        if reason:
            return self._stop(plan, seen, status)
        if status.phase not in _SHIFTING:
            return status
        is_decided = seen.state == "InService"
        fault = "" if is_decided and not seen.is_first else self._watched(plan)
        if fault:
            return self.cancel(plan, reason=fault)
        return self._finished(plan, seen, status) if is_decided else status

    def cancel(self, plan: DeploymentPlan, *, reason: str) -> EndpointStatus:
        """Make the service roll back: by an alarm, which is the only way; a first deployment is deleted."""
        self._resources.note_cancelled(plan, reason)
        seen = look(self._account, plan.endpoint)
        status = replace(self._status(seen), reason=reason)
        return self._stop(plan, seen, status) if status.pending == plan.name else status

    def invoke(self, endpoint: str, request: EndpointRequest, *, timeout_s: float) -> EndpointAnswer:
        """Send a request; an error of the model is an answer, with the status of its container."""
        del timeout_s  # the service answers within 60 s
        begun = time.monotonic()
        try:
            answer = self._account.call(
                "sagemaker-runtime",
                "invoke_endpoint",
                EndpointName=endpoint,
                Body=request.body,
                ContentType=request.content_type,
                Accept=request.accept,
                CustomAttributes=CONFIGURATION,
            )
            with answer["Body"] as body:
                content = body.read()
        except RunnerError as error:
            if code_of(error) != "ModelError":
                raise
            original: Mapping[str, Any] = getattr(error.__cause__, "response", {})
            return EndpointAnswer(
                status=int(original.get("OriginalStatusCode") or 0) or _NO_ANSWER,
                body=str(original.get("OriginalMessage", "")).encode(),
                duration_s=time.monotonic() - begun,
            )
        name, _, configuration = str(answer.get("CustomAttributes", "")).partition("=")
        return EndpointAnswer(
            status=200,
            body=content,
            content_type=str(answer.get("ContentType", "")),
            duration_s=time.monotonic() - begun,
            configuration=configuration if name == CONFIGURATION else "",
        )

    def delete(self, endpoint: str) -> EndpointStatus:
        """Delete an endpoint, its scaling and its alarms; models and configurations stay, as they cost nothing."""
        self._resources.delete_endpoint(endpoint)
        return self.status(endpoint)

    # --- Parts of it --------------------------------------------------------------------------------------

    def _begun(self, plan: DeploymentPlan) -> EndpointStatus:
        """Return the status once the service shows the change that it accepted."""
        end = time.monotonic() + SETTLE_S
        while True:
            status = self.status(plan.endpoint)
            if not status.is_settled or status.serves(plan.name) or status.reason or time.monotonic() > end:
                return status
            time.sleep(POLL_S)

    def _delete_failed(self, plan: DeploymentPlan) -> None:
        """Delete an endpoint that could not be created, with which nothing else can be done."""
        end = time.monotonic() + _DELETE_S
        while self.delete(plan.endpoint).phase is not EndpointPhase.ABSENT:
            if time.monotonic() > end:
                raise RunnerError(f"endpoint '{plan.endpoint}' could not be created, and is not deleted in time")
            time.sleep(POLL_S)

    def _watched(self, plan: DeploymentPlan) -> str:
        """Send the recorded requests of the version; return why the deployment must end."""
        if plan.name not in self._watches:
            self._watches[plan.name] = AnswerWatch(plan, recorded_requests(self._store, plan.model))
        watch = self._watches[plan.name]
        if not watch.can_judge:
            return ""
        return watch.ask(lambda request: self.invoke(plan.endpoint, request, timeout_s=60))

    def _finished(self, plan: DeploymentPlan, seen: SeenEndpoint, status: EndpointStatus) -> EndpointStatus:
        """Do what remains after the service has finished; the tag of the endpoint comes last."""
        if seen.is_first:  # nothing was there to return to, so the service watched no alarm
            firing = self._resources.firing(plan)
            if firing:
                return self.cancel(plan, reason=f"alarms fire: {', '.join(firing)}")
            age_s = (datetime.now(UTC) - seen.in_service_since).total_seconds()
            if age_s < plan.settings.traffic.bake_s:
                return status
        self._resources.scale(plan)
        self._resources.delete_alarms(plan.endpoint, kept=plan.name)
        tags = {**requests.tags_of(self._blueprint(plan)), CONFIGURATION_TAG: plan.name}
        self._account.call("sagemaker", "add_tags", ResourceArn=seen.arn, Tags=requests.as_tags(tags))
        return replace(self.status(plan.endpoint), note=self._unwatched(plan))

    def _unwatched(self, plan: DeploymentPlan) -> str:
        """Return what could not be judged while the model was deployed; empty for nothing."""
        alarms, notes = plan.settings.alarms, []
        if alarms.max_error_rate is not None or alarms.max_p99_ms is not None:
            most = self._resources.most_requests(plan)
            if most < alarms.min_requests:
                few = f"at most {most} requests in a minute, min_requests is {alarms.min_requests}"
                notes.append(f"alarms judged nothing: {few}")
        watch = self._watches.get(plan.name)
        if alarms.refuses_constant_answers and not (watch and watch.can_judge):
            reason = self._unrecorded.get(plan.name) or "the version has no recorded requests, or they have one answer"
            notes.append(f"equal answers were not watched for: {reason}")
        return "; ".join(notes)

    def _stop(self, plan: DeploymentPlan, seen: SeenEndpoint, status: EndpointStatus) -> EndpointStatus:
        """Take the traffic from a plan that must not stay, in the way that its endpoint's state allows."""
        if seen.state in ("Updating", "SystemUpdating"):
            self._resources.stop(plan, status.reason)
            return replace(status, phase=EndpointPhase.ROLLING_BACK)
        if seen.is_first and seen.state in ("Creating", "InService"):
            return replace(self.delete(plan.endpoint), reason=status.reason)
        if seen.former and seen.state == "InService":
            self._resources.return_to(plan.endpoint, seen.former)
            return replace(status, phase=EndpointPhase.ROLLING_BACK)
        return status

    # --- What it is about ---------------------------------------------------------------------------------

    def _status(self, seen: SeenEndpoint) -> EndpointStatus:
        return status_of(seen, region=self._account.region)

    def _versions(self, use_case: str) -> PackageVersions:
        if use_case not in self._groups:
            group = self._settings.account.model_package_group or model_package_group(use_case)
            self._groups[use_case] = PackageVersions(self._account, group, store=self._store)
        return self._groups[use_case]

    def _blueprint(self, plan: DeploymentPlan) -> Blueprint:
        """Return the plan with its version as the service has it now.

        Raises:
            UsageError: the version was deleted, or no machine of it is large enough.
        """
        location = plan.model.location or str(plan.model.version)
        package = self._versions(plan.model.use_case).find(plan.model.use_case, location)
        if package is None:
            raise UsageError(f"{plan.model} is not in its model package group; deploy another version")
        environ = read_settings().environ
        return Blueprint(
            plan=plan,
            package=package,
            account=self._settings.account,
            instance_type=smallest_instance(plan, package),
            project={tag: environ[name] for tag, name in _PROJECT.items() if environ.get(name)},
        )


def _busy(plan: DeploymentPlan, status: EndpointStatus) -> str:
    what = f"to {status.pending}" if status.pending else f"({status.phase})"
    return (
        f"endpoint '{plan.endpoint}' is being changed {what}; wait until it has ended, or end it with: mlops "
        f"deployments rollback -u {plan.model.use_case} --to {plan.stage} --runner {NAME} --why ..."
    )
