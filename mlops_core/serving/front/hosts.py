"""Names of this machine in the headers of a request."""

from __future__ import annotations

import ipaddress
import re

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+)(?::\d{1,5})?")


def is_loopback(host: str) -> bool:
    """Return whether a name or address is this machine's own.

    Example:
        >>> [is_loopback(host) for host in ("127.0.0.1", "[::1]", "LOCALHOST", "0.0.0.0", "localhost.example.org")]
        [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_address(host: str) -> bool:
    """Return whether a host is an address and not a name, which may lead anywhere.

    Example:
        >>> [is_address(host) for host in ("10.0.0.1", "[fe80::1]", "intranet")]
        [True, True, False]
    """
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def host_of(authority: str) -> str:
    """Return the host of ``host:port``, in lower case; empty if it is neither."""
    match = _AUTHORITY.fullmatch(authority)
    return match[1].lower() if match else ""
