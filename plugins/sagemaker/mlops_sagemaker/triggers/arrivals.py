"""Events of S3 and of CloudTrail as arrivals: what `mlops watch` sees on a disk is the same to every rule."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_core.watching import Arrival

if TYPE_CHECKING:
    from collections.abc import Mapping

WRITES = ("PutObject", "CopyObject", "CompleteMultipartUpload")
"""The calls that complete an object; consoles and SDKs upload big files in parts."""
CREATED, RESTORED = "Object Created", "Object Restore Completed"
TRAIL = "AWS API Call via CloudTrail"


def arrival_of(event: Mapping[str, Any]) -> Arrival | None:
    """Return what an event reports as arrived; None if it reports something else, or a call that failed.

    Raises:
        UsageError: a member is missing that the service sends with every event of this kind.
    """
    detail = event.get("detail")
    if event.get("source") != "aws.s3" or not isinstance(detail, dict):
        return None
    kind = event.get("detail-type")
    if kind in {CREATED, RESTORED}:
        return _from_store(event, detail, is_restored=kind == RESTORED)
    if kind == TRAIL and detail.get("eventName") in WRITES and "errorCode" not in detail:
        return _from_trail(event, detail)
    return None


def event_time(event: Mapping[str, Any]) -> float:
    """Return when an event happened, in seconds since 1970; a time without an offset is UTC.

    Raises:
        UsageError: it does not say, or in another form than ISO 8601.

    Example:
        >>> event_time({"time": "1970-01-01T02:00:01+02:00"})
        1.0
    """
    text = _member(event, "time")
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"time is {text!r}; expected for example 2026-11-02T10:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _member(event: Mapping[str, Any], *paths: str) -> str:
    """Return the text of the first of some members that is set.

    Raises:
        UsageError: none of them is.
    """
    for path in paths:
        node: Any = event
        for name in path.split("."):
            node = node.get(name) if isinstance(node, dict) else None
        if isinstance(node, str) and node:
            return node
    raise UsageError(f"has no {' or '.join(paths)}; expected the event as the service sends it")


def _size(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _from_store(event: Mapping[str, Any], detail: Mapping[str, Any], *, is_restored: bool) -> Arrival:
    bucket, key = _member(event, "detail.bucket.name"), _member(event, "detail.object.key")
    item = detail["object"]
    version = str(item.get("version-id") or "")
    return Arrival(
        bucket=bucket,
        key=key,
        version=version if version not in {"", "null"} else _member(event, "detail.object.etag"),
        sequencer=str(item.get("sequencer", "")).upper(),
        size_bytes=_size(item.get("size")),
        at=event_time(event),
        is_restored=is_restored,
    )


def _from_trail(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Arrival:
    more = detail.get("additionalEventData")
    return Arrival(
        bucket=_member(event, "detail.requestParameters.bucketName"),
        key=_member(event, "detail.requestParameters.key"),
        version=_member(event, "detail.responseElements.x-amz-version-id", "detail.requestID", "detail.eventID"),
        size_bytes=_size(more.get("bytesTransferredIn")) if isinstance(more, dict) else 0,
        at=event_time(event),
    )


def created_event(arrival: Arrival, *, account: str, region: str, number: int = 0) -> dict[str, Any]:
    """Return the event that S3 sends for an arrival, with the members that it documents."""
    moment = dt.datetime.fromtimestamp(arrival.at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    item: dict[str, Any] = {"key": arrival.key, "size": arrival.size_bytes, "etag": arrival.version}
    detail: dict[str, Any] = {"version": "0", "bucket": {"name": arrival.bucket}, "object": item}
    if not arrival.is_restored:
        item["sequencer"] = arrival.sequencer or f"{int(arrival.at * 1000):016X}"
        detail |= {"reason": "PutObject"}
    return {
        "version": "0",
        "id": f"{number:08x}-0000-4000-8000-{arrival.identity[:12]}",
        "detail-type": RESTORED if arrival.is_restored else CREATED,
        "source": "aws.s3",
        "account": account,
        "time": moment,
        "region": region,
        "resources": [f"arn:aws:s3:::{arrival.bucket}"],
        "detail": {**detail, "request-id": f"{number:016X}", "requester": account, "source-ip-address": "127.0.0.1"},
    }


def trail_event(
    arrival: Arrival, *, account: str, region: str, number: int = 0, name: str = WRITES[0]
) -> dict[str, Any]:
    """Return the event that CloudTrail sends for the call that completed an object."""
    moment = dt.datetime.fromtimestamp(arrival.at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    identity = f"{number:08x}-0000-4000-8000-{arrival.identity[:12]}"
    bucket = f"arn:aws:s3:::{arrival.bucket}"
    return {
        "version": "0",
        "id": identity,
        "detail-type": TRAIL,
        "source": "aws.s3",
        "account": account,
        "time": moment,
        "region": region,
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "userIdentity": {"type": "AssumedRole", "accountId": account},
            "eventTime": moment,
            "eventSource": "s3.amazonaws.com",
            "eventName": name,
            "awsRegion": region,
            "sourceIPAddress": "127.0.0.1",
            "userAgent": "[mlops]",
            "requestParameters": {
                "bucketName": arrival.bucket,
                "Host": f"{arrival.bucket}.s3.{region}.amazonaws.com",
                "key": arrival.key,
            },
            "responseElements": None,
            "additionalEventData": {"bytesTransferredIn": arrival.size_bytes, "bytesTransferredOut": 0},
            "requestID": f"{number:016X}",
            "eventID": identity,
            "readOnly": False,
            "resources": [
                {"type": "AWS::S3::Object", "ARN": f"{bucket}/{arrival.key}"},
                {"accountId": account, "type": "AWS::S3::Bucket", "ARN": bucket},
            ],
            "eventType": "AwsApiCall",
            "managementEvent": False,
            "recipientAccountId": account,
            "eventCategory": "Data",
        },
    }
