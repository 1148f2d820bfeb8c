"""Addresses in catalogue entries: which are fetched, and the name of the file that one gives.

An address may come from a plugin of somebody else, so only the schemes listed here are fetched, and nothing in an
address can be taken for an option, a command or a path that leaves its folder.
"""

from __future__ import annotations

import re
import urllib.parse
from pathlib import PurePosixPath

FILE_SCHEMES = frozenset({"http", "https"})
REPOSITORY_SCHEMES = frozenset({"http", "https", "ssh"})
_SCP_LIKE = re.compile(r"(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9][\w.-]*:(?!:)[\w~.][^\s]*")
"""``user@host:path``, which git takes as ssh; ``helper::address`` starts a program and does not match."""
_HOST = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[\w.])?|\[[0-9A-Fa-f:.]+\]")
_USER = re.compile(r"[A-Za-z0-9_%][^\s@/]*")
_LONGEST_NAME = 200


def address_fault(url: str, schemes: frozenset[str]) -> str:
    """Return why `url` is not fetched, as the end of a sentence; empty if it is a valid address of a listed scheme.

    Example:
        >>> address_fault("file:///etc/passwd", FILE_SCHEMES)
        "has the scheme 'file'; expected http or https"
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        return "holds a space, a control character or a letter beyond ASCII; expected it percent-encoded"
    scheme, separator, _ = url.partition("://")
    if not separator:
        return f"is not an address with one of the schemes {', '.join(sorted(schemes))}"
    if scheme not in schemes:
        return f"has the scheme '{scheme}'; expected {' or '.join(sorted(schemes))}"
    try:
        parts = urllib.parse.urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        name = host.removesuffix(f":{parts.port}" if parts.port is not None else ":")
        name.encode("idna")  # as a connection does: it refuses long and empty parts
    except ValueError as error:
        return f"is not a valid address: {error}"
    if not _HOST.fullmatch(name) or (user and not _USER.fullmatch(user)):
        return f"is not a valid address: the host is {host!r}"
    return ""


def repository_fault(url: str) -> str:
    """Return why a git repository is not fetched; addresses of the form ``user@host:path`` are ssh.

    Example:
        >>> repository_fault("ext::sh -c 'touch x'")
        'holds a space, a control character or a letter beyond ASCII; expected it percent-encoded'
        >>> repository_fault("git@example.org:data.git")
        ''
    """
    if "://" not in url and _SCP_LIKE.fullmatch(url):
        return ""
    return address_fault(url, REPOSITORY_SCHEMES)


def public_address(url: str) -> str:
    """Return an address for messages: without user, password and query, on one line.

    Example:
        >>> public_address("https://me:secret@example.org/a.zip?token=1")
        'https://example.org/a.zip'
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return repr(url)
    host = parts.netloc.rpartition("@")[2]
    address = urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))
    return address if address.isprintable() and " " not in address else repr(address)


def file_fault(url: str) -> str:
    """Return why the file at `url` is not downloaded; empty if it may be.

    Example:
        >>> file_fault("https://example.org/data/%2e%2e")
        "ends in '..', which cannot be the name of a file"
    """
    fault = address_fault(url, FILE_SCHEMES)
    if fault:
        return fault
    if "@" in urllib.parse.urlsplit(url).netloc:
        return (
            "holds credentials, which are not supported: they would be saved with each run; download the file yourself "
            "and set dataset.path, or use --command-file with a script that reads them from the environment"
        )
    name = name_in_address(url)
    is_usable = name.isprintable() and name not in {".", ".."} and "\\" not in name
    if not is_usable or len(name.encode()) > _LONGEST_NAME:
        return f"ends in {name!r}, which cannot be the name of a file"
    return ""


def name_in_address(url: str) -> str:
    """Return the name of the file at `url`, which must be a valid address.

    Example:
        >>> name_in_address("https://example.org/a%20b.zip?token=1")
        'a b.zip'
    """
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2] or "download"


def is_below(path: str) -> bool:
    """Return whether a relative path or pattern of a catalogue entry stays below the folder of the data set.

    Example:
        >>> [is_below(path) for path in ("", "meta/a.csv", "../a", "/etc", "a/../../b")]
        [True, True, False, False, False]
    """
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and "\0" not in path and "\\" not in path
