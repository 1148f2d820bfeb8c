"""IP addresses in patterns and events: strings that are one are compared as numbers, not byte by byte."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

_V4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_V6 = re.compile(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*")


class Address(NamedTuple):
    """An IP address: its width in bits (32 or 128) and its value."""

    bits: int
    value: int


def parse_address(text: str) -> Address | None:
    """Return the address that a string denotes, None if it denotes none; leading zeros are decimal.

    Example:
        >>> parse_address("10.0.0.01") == parse_address("10.0.0.1"), parse_address("10.0.0")
        (True, None)
    """
    if _V4.fullmatch(text):
        parts = [int(part) for part in text.split(".")]
        if max(parts) > 255:
            return None
        return Address(32, int.from_bytes(bytes(parts)))
    if _V6.fullmatch(text):
        try:
            return Address(128, int(ipaddress.IPv6Address(text)))
        except ValueError:
            return None
    return None
