"""Rules of EventBridge that do what those of the service do: match exactly, and start pipelines.

moto matches events otherwise than the service, delivers to rules that are disabled, gives every event to a rule with a
schedule, knows no target that is a pipeline, and sends no events of CloudTrail. While an endpoint runs, its methods for
this are replaced. What a target starts is started in a thread: delivery is asynchronous, as in the service.
"""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.cloudtrail.models import cloudtrail_backends
from moto.core.exceptions import JsonRESTError
from moto.events.models import EventsBackend, Rule, events_backends
from moto.events.responses import EventsHandler
from moto.s3 import notifications

from mlops_core.watching import Arrival
from mlops_sagemaker.triggers.arrivals import created_event, trail_event
from mlops_sagemaker.triggers.patterns import EventPattern, PatternError
from mlops_sagemaker.triggers.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlops_sagemaker.emulator.endpoint.surroundings import Account

_LOG = logging.getLogger(__name__)
_CALLS = {"Put": "PutObject", "Post": "PostObject", "Copy": "CopyObject"}
_numbers = itertools.count(1)


class _Everything:
    """A pattern for a rule whose own pattern has matched."""

    def matches_event(self, _event: object) -> bool:
        return True


class EventDelivery:
    """Replaces moto's delivery of events from `install` to `close`."""

    def __init__(self, account: Callable[[str, str], Account]) -> None:
        """Start pipelines with the access that `account` returns for an account and a region."""
        self._account = account
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="targets")
        self._former: list[tuple[Any, str, Any]] = []

    def install(self) -> None:
        """Replace the methods."""
        delivery, send = self, Rule.send_to_targets
        send_object, put_rule = notifications.send_event, EventsBackend.put_rule

        def send_to_targets(rule: Any, event: Any, transform_input: bool = True) -> None:  # noqa: FBT001, FBT002
            delivery.send(rule, event, lambda each: send(each, event, transform_input))

        def send_event(account: str, event_name: Any, bucket: Any, key: Any) -> None:
            name = str(getattr(event_name, "value", event_name))
            if not name.startswith("s3:ObjectCreated:"):
                send_object(account, event_name, bucket, key)
                return
            delivery.send_object(account, name.rpartition(":")[2], bucket, key)

        def checked_put_rule(backend: Any, *arguments: Any, **named: Any) -> Any:
            pattern = named.get("event_pattern")
            if pattern:
                _check_pattern(pattern)
            return put_rule(backend, *arguments, **named)

        self._replace(Rule, "send_to_targets", send_to_targets)
        self._replace(notifications, "send_event", send_event)
        self._replace(EventsBackend, "put_rule", checked_put_rule)
        self._replace(EventsHandler, "test_event_pattern", _test_event_pattern)

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._former.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def close(self) -> None:
        """Restore the methods and wait for starts that are under way."""
        for owner, name, value in reversed(self._former):
            setattr(owner, name, value)
        self._former.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def send(self, rule: Any, event: Mapping[str, Any], deliver: Callable[[Any], None]) -> None:
        """Send an event to the targets of a rule that it matches; `deliver` sends it to one that moto knows."""
        text = rule.event_pattern.dump()
        if rule.state != "ENABLED" or not text or not EventPattern.parse(text).matches(_with_time(event)):
            return
        for target in list(rule.targets):
            if ":pipeline/" in target["Arn"] and ":sagemaker:" in target["Arn"]:
                self._pool.submit(self._start, rule.account_id, rule.region_name, target, dict(event))
                continue
            single = copy.copy(rule)
            single.targets, single.event_pattern = [target], _Everything()
            try:
                deliver(single)
            except NotImplementedError:
                _LOG.warning("rule %s: target %s is not emulated; its event is dropped", rule.name, target["Arn"])

    def _start(self, account: str, region: str, target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Start the pipeline of a target, or put the event into its dead-letter queue, as the service does."""
        listed = (target.get("SageMakerPipelineParameters") or {}).get("PipelineParameterList") or ()
        parameters = [{"Name": each["Name"], "Value": resolve(each["Value"], event)} for each in listed]
        access = self._account(account, region)
        client = access.client("sagemaker")
        try:
            client.start_pipeline_execution(
                PipelineName=_pipeline_of(client, target["Arn"]), PipelineParameters=parameters
            )
        except (ClientError, BotoCoreError) as error:
            _LOG.warning("target %s: %s", target["Arn"], error)
            queue = (target.get("DeadLetterConfig") or {}).get("Arn")
            if queue:
                _put_aside(access, queue, event, error)

    def send_object(self, account: str, call: str, bucket: Any, key: Any) -> None:
        """Send the events for an object that is complete: to the bus, if the bucket does, and those of its trails."""
        region = bucket.region_name
        arrival = Arrival(
            bucket=bucket.name,
            key=key.name,
            version=key.etag.replace('"', ""),
            sequencer=f"{time.time_ns():016X}",
            size_bytes=key.size,
            at=time.time(),
        )
        number = next(_numbers)
        place = {"account": account, "region": region, "number": number}
        configuration = bucket.notification_configuration
        events: list[Any] = []
        if configuration is not None and configuration.event_bridge is not None:
            event = created_event(arrival, **place)
            event["detail"]["reason"] = _CALLS.get(call, call)
            if key.version_id not in {None, "null"}:
                event["detail"]["object"]["version-id"] = key.version_id
            events.append(event)
        if any(_is_recorded(trail, bucket.name, key.name) for trail in _trails(account, region)):
            events.append(trail_event(arrival, **place, name=_CALLS.get(call, call)))
        for event in events:
            event["time"] = arrival.at  # as moto keeps it
            for rule in list(events_backends[account][region].event_buses["default"].rules.values()):
                rule.send_to_targets(event, False)


def _pipeline_of(client: Any, arn: str) -> str:
    """Return the name of the pipeline of an ARN, in which names are in lower case."""
    name = arn.rpartition("/")[2]
    pages = client.get_paginator("list_pipelines").paginate()
    names = [each["PipelineName"] for page in pages for each in page["PipelineSummaries"]]
    return next((each for each in names if each.lower() == name.lower()), name)


def _put_aside(access: Account, queue: str, event: Mapping[str, Any], error: Exception) -> None:
    sqs = access.client("sqs")
    try:
        url = sqs.get_queue_url(QueueName=queue.rpartition(":")[2])["QueueUrl"]
        attributes = {"ERROR_MESSAGE": {"DataType": "String", "StringValue": str(error)[:1000]}}
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(_with_time(event)), MessageAttributes=attributes)
    except (ClientError, BotoCoreError):
        _LOG.exception("the dead-letter queue %s refuses", queue)


def _trails(account: str, region: str) -> Iterator[Any]:
    for trail in cloudtrail_backends[account][region].trails.values():
        if trail.status.is_logging:
            yield trail


def _is_recorded(trail: Any, bucket: str, key: str) -> bool:
    """Return whether a trail has a selector for the writes of an object."""
    for selector in trail.event_selectors:
        if selector.get("ReadWriteType", "All") == "ReadOnly":
            continue
        for resource in selector.get("DataResources", ()):
            if resource.get("Type") == "AWS::S3::Object" and any(
                f"arn:aws:s3:::{bucket}/{key}".startswith(value) or value in {"arn:aws:s3", "arn:aws:s3:::"}
                for value in resource.get("Values", ())
            ):
                return True
    return False


def _with_time(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event with its time as the service writes it; moto keeps a number."""
    moment = event.get("time")
    if not isinstance(moment, int | float):
        return dict(event)
    return {**event, "time": dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _check_pattern(text: str) -> None:
    try:
        EventPattern.parse(text)
    except PatternError as error:
        raise JsonRESTError(
            "InvalidEventPatternException", f"Event pattern is not valid. Reason: {error.reason}"
        ) from None


def _test_event_pattern(handler: Any) -> str:
    """``TestEventPattern``, which moto answers with nothing."""
    _check_pattern(handler._get_param("EventPattern"))  # noqa: SLF001  moto has no public accessor
    pattern = EventPattern.parse(handler._get_param("EventPattern"))  # noqa: SLF001
    event = json.loads(handler._get_param("Event"))  # noqa: SLF001
    return json.dumps({"Result": pattern.matches(event)})
