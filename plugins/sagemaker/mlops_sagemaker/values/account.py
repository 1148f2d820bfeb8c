"""The one check of names of an account that options, settings and rules hold: buckets, regions and the account's id."""

from __future__ import annotations

import re

from mlops_core import UsageError

_BUCKET = re.compile(r"(?!xn--)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d{1,2}\Z")
_ACCOUNT = re.compile(r"[0-9]{12}\Z")


def bucket_fault(name: str) -> str:
    """Return why a name cannot be that of a bucket, as the end of a sentence; empty if it can be.

    Example:
        >>> bucket_fault("arn:aws:s3:::uploads")
        "is not a valid bucket name; expected the bare name, 'uploads'"
    """
    if _BUCKET.match(name) and ".." not in name:
        return ""
    bare = name.rstrip("/").rpartition(":")[2].lstrip("/").partition("/")[0]
    if bare != name and _BUCKET.match(bare):
        return f"is not a valid bucket name; expected the bare name, {bare!r}"
    return "is not a valid bucket name; expected 3 to 63 lower-case letters, digits, dots and hyphens, without s3://"


def region_fault(name: str) -> str:
    """Return why a name cannot be that of a region, as the end of a sentence; empty if it can be.

    Only the form is checked, since regions are added.

    Example:
        >>> region_fault("eu-central-1"), region_fault("mars")
        ('', 'is not the name of a region; expected one such as eu-central-1')
    """
    return "" if _REGION.match(name) else "is not the name of a region; expected one such as eu-central-1"


def account_fault(identity: str) -> str:
    """Return why a text cannot be the id of an account, as the end of a sentence; empty if it can be."""
    return "" if _ACCOUNT.match(identity) else "is not the id of an account; expected 12 digits"


def check_account(*, bucket: str = "", region: str = "", account: str = "") -> None:
    """Check the options of a command; empty ones are not set.

    Raises:
        UsageError: one cannot be what it should be.
    """
    for option, value, fault_of in (
        ("--bucket", bucket, bucket_fault),
        ("--region", region, region_fault),
        ("--account", account, account_fault),
    ):
        if value and (fault := fault_of(value)):
            raise UsageError(f"{option}: {value!r} {fault}")
