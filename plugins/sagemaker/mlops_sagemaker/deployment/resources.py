"""Creates, changes and deletes what a deployment consists of at the service; each call can be repeated."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_core.runners import RunnerError
from mlops_sagemaker.deployment import requests
from mlops_sagemaker.deployment.requests import CANCELLED_TAG
from mlops_sagemaker.deployment.states import look
from mlops_sagemaker.deployment.versions import is_missing
from mlops_sagemaker.machines import machines
from mlops_sagemaker.service.account import code_of
from mlops_sagemaker.serving.protocol import VARIANT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.deployments import DeploymentPlan
    from mlops_sagemaker.deployment.requests import Blueprint
    from mlops_sagemaker.deployment.states import SeenEndpoint
    from mlops_sagemaker.deployment.versions import PackagedModel
    from mlops_sagemaker.service.account import Account

SETTLE_S = 60.0
"""How long the service may need until a change that it accepted can be seen."""
POLL_S = 0.5
_LONGEST_REASON = 1000
_LOOK_BACK = dt.timedelta(hours=9)
"""A deployment takes at most 8 hours."""


class BusyError(RunnerError):
    """Another change of the endpoint is under way."""


class EndpointResources:
    """Models, endpoint configurations, endpoints, alarms and scaling of an account."""

    def __init__(self, account: Account) -> None:
        """Use an account."""
        self._account = account

    # --- Model, configuration, endpoint -------------------------------------------------------------------

    def create(self, blueprint: Blueprint) -> None:
        """Create model, configuration and alarms of a plan, unless they exist.

        Raises:
            RunnerError: one of them exists with another content, or the service refuses.
        """
        plan, tags = blueprint.plan, requests.as_tags(requests.tags_of(blueprint))
        self._once("model", requests.model_request(blueprint), tags)
        self._once("endpoint_config", requests.configuration_request(blueprint), tags)
        arn = self.configuration_arn(plan)
        self._account.call("sagemaker", "delete_tags", ResourceArn=arn, TagKeys=[CANCELLED_TAG])
        for alarm in requests.alarm_requests(plan):
            self._account.call("cloudwatch", "put_metric_alarm", **alarm)

    def _once(self, kind: str, request: Mapping[str, Any], tags: list[dict[str, str]]) -> None:
        key = "ModelName" if kind == "model" else "EndpointConfigName"
        self._ignoring("already existing", "sagemaker", f"create_{kind}", **request, Tags=tags)
        existing = self._account.call("sagemaker", f"describe_{kind}", **{key: request[key]})
        if "PrimaryContainer" in existing:
            existing = {**existing, "Containers": [existing["PrimaryContainer"]]}
        for member, value in request.items():
            if not _contains(existing.get(member), value):
                what = kind.replace("_config", " configuration")
                raise RunnerError(
                    f"{what} '{request[key]}' exists with another {member}; delete it, or change a setting in "
                    "deployments.yaml, such as a tag, which gives a new name"
                )

    def create_endpoint(self, blueprint: Blueprint) -> None:
        """Create the endpoint with the configuration of a plan.

        Raises:
            BusyError: somebody else has created it meanwhile.
        """
        tags = {**requests.tags_of(blueprint), requests.CONFIGURATION_TAG: requests.NO_CONFIGURATION}
        self._retried(blueprint.plan, "create_endpoint", Tags=requests.as_tags(tags))

    def update_endpoint(self, plan: DeploymentPlan, *, at_once: bool) -> None:
        """Begin to move the traffic of an endpoint to the configuration of a plan.

        Raises:
            BusyError: another change is under way.
        """
        retained: dict[str, Any] = {"RetainAllVariantProperties": False}
        if plan.settings.autoscaling:  # else the endpoint would return to its initial number of machines
            excluded = [{"VariantPropertyType": name} for name in ("DesiredWeight", "DataCaptureConfig")]
            retained = {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": excluded}
        config = requests.deployment_config(plan, at_once=at_once)
        self._retried(plan, "update_endpoint", **retained, DeploymentConfig=config)

    def _retried(self, plan: DeploymentPlan, operation: str, **request: Any) -> None:
        """Create or update an endpoint; the service may need a moment until it sees a new configuration."""
        end = time.monotonic() + SETTLE_S
        name = {"EndpointName": plan.endpoint, "EndpointConfigName": plan.name}
        while True:
            try:
                self._account.call("sagemaker", operation, **name, **request)
            except RunnerError as error:
                text = str(error)
                if "in-progress" in text or "already existing" in text:
                    raise BusyError(text) from error
                if "Could not find endpoint configuration" not in text or time.monotonic() > end:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def return_to(self, endpoint: str, configuration: str) -> None:
        """Give all traffic of an endpoint back to an earlier configuration, at once."""
        name = {"EndpointName": endpoint, "EndpointConfigName": configuration}
        self._ignoring("in-progress", "sagemaker", "update_endpoint", **name)

    def delete_endpoint(self, endpoint: str) -> None:
        """Begin to delete an endpoint; nothing happens while it is being changed, or where there is none."""
        seen = look(self._account, endpoint)
        self.delete_alarms(endpoint, kept="")
        if seen.exists and seen.state != "Deleting":
            self.deregister(endpoint)
            self._ignoring("in-progress", "sagemaker", "delete_endpoint", EndpointName=endpoint)

    def configuration_arn(self, plan: DeploymentPlan) -> str:
        """Return the ARN of a plan's configuration; empty if it does not exist."""
        try:
            described = self._account.call("sagemaker", "describe_endpoint_config", EndpointConfigName=plan.name)
        except RunnerError as error:
            if is_missing(error):
                return ""
            raise
        return str(described["EndpointConfigArn"])

    # --- Why a deployment was ended -----------------------------------------------------------------------

    def note_cancelled(self, plan: DeploymentPlan, reason: str) -> None:
        """Write down at the configuration of a plan why it must not stay."""
        arn = self.configuration_arn(plan)
        if arn:
            tags = requests.as_tags({CANCELLED_TAG: reason})
            self._account.call("sagemaker", "add_tags", ResourceArn=arn, Tags=tags)

    def cancelled(self, plan: DeploymentPlan) -> str:
        """Return why a plan must not stay; empty if nothing was written down."""
        arn = self.configuration_arn(plan)
        listed = list(self._account.pages("sagemaker", "list_tags", "Tags", ResourceArn=arn)) if arn else ()
        return next((str(each["Value"]) for each in listed if each["Key"] == CANCELLED_TAG), "")

    # --- Alarms -------------------------------------------------------------------------------------------

    def stop(self, plan: DeploymentPlan, reason: str) -> None:
        """Set off the alarm that makes the service roll an update back."""
        self._account.call("cloudwatch", "put_metric_data", **requests.stop_datum(plan))
        self._ignoring(
            "ResourceNotFound",
            "cloudwatch",
            "set_alarm_state",
            AlarmName=requests.stop_alarm(plan),
            StateValue="ALARM",
            StateReason=reason[:_LONGEST_REASON],
        )

    def firing(self, plan: DeploymentPlan) -> list[str]:
        """Return the alarms of a plan that fire."""
        answer = self._account.call("cloudwatch", "describe_alarms", AlarmNames=requests.alarm_names(plan))
        listed = (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ()))
        return [str(each["AlarmName"]) for each in listed if each["StateValue"] == "ALARM"]

    def most_requests(self, plan: DeploymentPlan) -> int:
        """Return the largest number of requests to a plan's configuration in a minute, of the last hours."""
        now = dt.datetime.now(dt.UTC)
        asked = requests.invocation_statistics(plan, since=now - _LOOK_BACK, until=now + dt.timedelta(minutes=1))
        points = self._account.call("cloudwatch", "get_metric_statistics", **asked).get("Datapoints", ())
        return max((int(point["Sum"]) for point in points), default=0)

    def delete_alarms(self, endpoint: str, *, kept: str) -> None:
        """Delete the alarms of the deployments to an endpoint, but those of the configuration `kept`."""
        listed = self._account.pages("cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=f"{endpoint}-")
        names = [str(each["AlarmName"]) for each in listed]
        own = [name for name in names if requests.is_own_alarm(name, endpoint=endpoint)]
        old = [name for name in own if not kept or not name.startswith(f"{kept}-")]
        if old:
            self._account.call("cloudwatch", "delete_alarms", AlarmNames=old)

    # --- Scaling ------------------------------------------------------------------------------------------

    def scale(self, plan: DeploymentPlan) -> None:
        """Scale the endpoint as a plan says, or no longer."""
        scaling = requests.scaling_requests(plan)
        if scaling is None:
            self.deregister(plan.endpoint)
            return
        target, policy = scaling
        self._account.call("application-autoscaling", "register_scalable_target", **target)
        self._account.call("application-autoscaling", "put_scaling_policy", **policy)

    def release_scaling(self, blueprint: Blueprint, seen: SeenEndpoint) -> None:
        """Stop scaling before an update that the service would refuse: to another machine type."""
        described = self._account.call("sagemaker", "describe_endpoint_config", EndpointConfigName=seen.configuration)
        types = {each["VariantName"]: each.get("InstanceType") for each in described["ProductionVariants"]}
        if types.get(VARIANT) != blueprint.instance_type:
            self.deregister(seen.name)

    def deregister(self, endpoint: str) -> None:
        """Stop scaling."""
        place = requests.scalable_variant(endpoint)
        answer = self._account.call(
            "application-autoscaling",
            "describe_scalable_targets",
            ServiceNamespace=place["ServiceNamespace"],
            ResourceIds=[place["ResourceId"]],
            ScalableDimension=place["ScalableDimension"],
        )
        if answer.get("ScalableTargets"):
            self._account.call("application-autoscaling", "deregister_scalable_target", **place)

    def _ignoring(self, text: str, service: str, operation: str, **request: Any) -> None:
        """Call an operation; an error with this text or code means that there is nothing to do."""
        try:
            self._account.call(service, operation, **request)
        except RunnerError as error:
            if text not in str(error) and code_of(error) != text:
                raise


def smallest_instance(plan: DeploymentPlan, package: PackagedModel) -> str:
    """Return the cheapest machine of the version that has what the settings ask for.

    Raises:
        UsageError: none is large enough.
    """
    needs, allowed = plan.settings.resources(), package.instance_types
    known = [each for each in machines() if (each.name in allowed if allowed else each.is_default)]
    fitting = [each for each in known if each.has(needs)]
    if not fitting:
        raise UsageError(
            f"no machine of the version ({', '.join(allowed) or 'any'}) has {needs.cpus:g} CPUs, {needs.memory_gb:g} "
            f"GB and {needs.gpus} GPUs; ask for less, or register it with a larger one in inference.realtime_instances"
        )
    return min(fitting, key=lambda each: (each.usd_hour, each.gpus, each.memory_gb, each.name)).name


def _contains(existing: Any, wanted: Any) -> bool:
    """Return whether a description has what was asked for; the service adds more."""
    if isinstance(wanted, dict):
        return isinstance(existing, dict) and all(_contains(existing.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        is_like = isinstance(existing, list) and len(existing) == len(wanted)
        return is_like and all(_contains(*pair) for pair in zip(existing, wanted, strict=True))
    return bool(existing == wanted)
