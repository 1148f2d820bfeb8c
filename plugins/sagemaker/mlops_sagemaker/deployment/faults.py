"""What hinders a deployment, one line each, before anything is created: settings that the service lacks or refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlops_core.deployments import Shift
from mlops_core.runners import RunnerError
from mlops_sagemaker.deployment.requests import USE_CASE, alarm_names, alarm_requests, tags_of
from mlops_sagemaker.service.uris import S3Uri
from mlops_sagemaker.serving.protocol import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.deployments import DeploymentPlan, DeploymentSettings
    from mlops_sagemaker.deployment.requests import Blueprint
    from mlops_sagemaker.service.account import Account
    from mlops_sagemaker.settings import AccountSettings

_SMALLEST_STEP = 10
_SHORTEST_START_S = 60
_MOST_ALARMS, _MOST_TAGS, _MOST_VARIABLES = 10, 50, 100
_LONGEST_VALUE, _LONGEST_KEY, _LONGEST_TAG = 1024, 128, 256
_RESERVED = (USE_CASE, CONFIGURATION)
_VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LOCAL_DISKS = ("d", "dn")
_WITH_LOCAL_DISKS = ("g4dn", "g5", "g6", "p3dn", "p4d", "p4de", "p5")
"""Families of machines whose disks are encrypted by the machine itself, with which the service refuses a key."""


def setting_faults(plan: DeploymentPlan, account: AccountSettings) -> Iterator[str]:
    """Yield what is wrong with the settings of a plan; nothing is asked of the service."""
    settings = plan.settings
    if not account.role:
        yield (
            "no role for the endpoint: pass --role, set account.role in the settings file, or set the variable "
            "SAGEMAKER_PIPELINE_ROLE_ARN"
        )
    traffic = settings.traffic
    if traffic.shift is Shift.LINEAR and traffic.percent < _SMALLEST_STEP:
        yield f"traffic.percent is {traffic.percent}; SageMaker takes linear steps of {_SMALLEST_STEP} to 50 %"
    if settings.start_timeout_s < _SHORTEST_START_S:
        yield f"start_timeout_s is {settings.start_timeout_s:g}; SageMaker takes {_SHORTEST_START_S} to 3600 s"
    if len(alarm_names(plan)) > _MOST_ALARMS:
        most = _MOST_ALARMS - len(alarm_requests(plan))
        yield f"alarms.names lists {len(settings.alarms.names)} alarms; SageMaker takes {most} besides ours"
    if settings.capture:
        yield from _capture_faults(settings.capture.to)
    network = settings.network
    if network and bool(network.subnets) is not bool(network.security_groups):
        yield "network: SageMaker takes subnets and security_groups together, or neither"
    yield from _variable_faults(settings)


def blueprint_faults(blueprint: Blueprint) -> Iterator[str]:
    """Yield what is wrong with a plan on its machine; nothing is asked of the service."""
    tags = tags_of(blueprint)
    for key, value in tags.items():
        if key.lower().startswith("aws:") or len(key) > _LONGEST_KEY or len(value) > _LONGEST_TAG:
            yield f"tag '{key}': not aws:, and at most {_LONGEST_KEY} characters, with a value of {_LONGEST_TAG}"
    if len(tags) >= _MOST_TAGS:
        yield f"{len(tags)} tags; SageMaker takes {_MOST_TAGS}, one of which marks the configuration in service"
    encryption = blueprint.plan.settings.encryption_key or blueprint.account.volume_kms_key
    family = blueprint.instance_type.split(".")[1]
    if encryption and (family in _WITH_LOCAL_DISKS or family.endswith(_LOCAL_DISKS)):
        yield (
            f"encryption_key: {blueprint.instance_type} encrypts its local disks itself, and SageMaker refuses a key; "
            "leave the key out, or ask for another machine"
        )


def alarm_faults(plan: DeploymentPlan, account: Account) -> Iterator[str]:
    """Yield the alarms that do not exist, and those that fire already: they would end the deployment at once.

    Raises:
        RunnerError: the service refuses.
    """
    wanted = plan.settings.alarms.names
    names = alarm_names(plan)
    states = _alarm_states(account, names)
    for name in wanted:
        if name not in states:
            yield f"alarm '{name}' does not exist; create it, or leave it out of alarms.names"
    for name in names:
        if states.get(name) == "ALARM":
            yield (
                f"alarm '{name}' is firing already, and would end the deployment at once; wait until it is OK, or find "
                "out why it fires"
            )


def _alarm_states(account: Account, names: list[str]) -> dict[str, str]:
    answer: Any = account.call("cloudwatch", "describe_alarms", AlarmNames=names)
    listed = [*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())]
    return {each["AlarmName"]: each["StateValue"] for each in listed}


def _capture_faults(place: str) -> Iterator[str]:
    try:
        S3Uri.parse(place)
    except RunnerError:
        yield f"capture.to is {place!r}; SageMaker writes to an s3:// URI only"


def _variable_faults(settings: DeploymentSettings) -> Iterator[str]:
    variables = settings.environment
    if len(variables) > _MOST_VARIABLES - len(_RESERVED):
        yield f"environment has {len(variables)} variables; SageMaker takes {_MOST_VARIABLES - len(_RESERVED)}"
    for name, value in variables.items():
        if name in _RESERVED:
            yield f"environment: {name} is set by the deployment; leave it out"
        elif not _VARIABLE.match(name) or len(name) > _LONGEST_VALUE or len(value) > _LONGEST_VALUE:
            yield f"environment: {name[:40]} is not a name, or it or its value exceeds {_LONGEST_VALUE} characters"
