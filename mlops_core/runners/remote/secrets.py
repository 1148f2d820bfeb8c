"""Keeps secrets out of documents that everybody with access to an engine can read: definitions and jobs.

Recognised are values of keys that name a secret, URLs with a password or a signature, private keys, and values of
environment variables that name a secret, wherever they come from: configuration, settings, parameters. A reference is
no secret: the identifier of a stored secret, the name of a file, an expression.
"""

from __future__ import annotations

import itertools
import re
import urllib.parse
from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlops_core.runners.request import RunRequest

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORD = re.compile(
    r"pwd|passcode|passkey|secrets?|token|credentials?|bearer|jwt|authorization|cookies?"
    r"|.*(?:password|passwd|passphrase).*|(?:api|auth|access)token|(?:api|access|secret|private|ssh)keys?"
)
_KEY_OF_A_SECRET = re.compile(
    r"api|private|access|secret|signing|encryption|ssh|account|auth|client|master|shared|storage|hmac|deploy|license"
)
"""Words before ``key`` that make it one: ``group_key`` is none."""
_REFERENCE = re.compile(
    r"arn|names?|ids?|files?|paths?|folder|dir|ur[il]s?|ref|length|size|count|limit|type|ttl|variable|env|header"
    r"|endpoint|column|field|policy|timeout|format|prefix|required"
)
"""Last words of keys that say where a secret is, or something about it."""
_PASS = re.compile(r"db|database|user|admin|root|login|smtp|mail|imap|ftp|proxy|key|keystore|store|redis|mysql")
"""Words before ``pass`` that make it a password: ``low_pass`` is none."""
_MODEL_TOKEN = re.compile(r"pad|unk|mask|bos|eos|sep|cls|start|end|stop|blank|special|max|min")
"""Words before ``token`` in language models."""
_FOLDERS = ("PWD", "OLDPWD")
"""Variables of a shell that hold folders, although ``pwd`` is also short for a password."""
_SHORTEST = 8
"""Length of the shortest value of a variable that is searched for; a shorter one is likely to occur by chance."""
_STORED = re.compile(r"arn:[\w-]+:(?:secretsmanager|ssm|kms):|\{\{resolve:|(?:ssm|secretsmanager)://")
_SIGNED = re.compile(
    r"[?&](?:X-Amz-Signature|X-Amz-Security-Token|X-Goog-Signature|Signature|sig|access_token|auth_token|token|api_?key)"
    r"=[^&\s]",
    re.IGNORECASE,
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@]+@[^\s]+|[A-Za-z][A-Za-z0-9+.-]*://\S+")


def names_secret(name: str) -> bool:
    """Return whether a key or a variable of this name holds a secret, such as ``api_token`` or ``SSH_PASSPHRASE``."""
    words = _words(name)
    if _is_reference(name):
        return False
    for before, word in itertools.pairwise(["", *words]):
        if word == "token" and _MODEL_TOKEN.fullmatch(before):
            continue
        if _SECRET_WORD.fullmatch(word) or (word in ("key", "keys") and _KEY_OF_A_SECRET.fullmatch(before)):
            return True
        if (word == "pass" and _PASS.fullmatch(before)) or (word == "string" and before == "connection"):
            return True
    return False


def reason_for(key: str, value: object) -> str:
    """Return why a value must not be written; empty if it is no secret.

    Args:
        key: its dotted key; the last two names count, so that ``token.value`` is a secret, too.
        value: the value; only texts can be secrets.
    """
    if not isinstance(value, str) or not value.strip() or _STORED.search(value):
        return ""
    names = re.sub(r"\[\d+\]", "", key).split(".")[-2:]
    if names_secret(names[-1]) or (names_secret(names[0]) and not _is_reference(names[-1])):
        return "is a secret"
    for match in _URL.finditer(value):
        if _has_password(match[0]):
            return "is a URL with a password"
        if _SIGNED.search(match[0]):
            return "is a URL with a signature or a token"
    return "is a private key" if "PRIVATE KEY-----" in value else ""


def check_request_secrets(request: RunRequest, *, refused: str) -> None:
    """Refuse a run whose parameters, or whose configuration of a step, hold a secret.

    Args:
        request: of the run that is compiled.
        refused: ends the message: why the document must not hold it, and what to do.

    Raises:
        ConfigError: one does; the message has its key, never its value.
    """
    sections = request.config.sections()
    for step in request.pipeline.steps:
        for section in step.config:
            for key in sorted(request.config.secrets):
                if key == section or key.startswith((f"{section}.", f"{section}[")):
                    raise ConfigError(f"{key} is a secret that step '{step.name}' reads, {refused}")
            for key, value in scalars(sections.get(section), section):
                if reason := reason_for(key, value):
                    raise ConfigError(f"{key} {reason} that step '{step.name}' reads, {refused}")
    for name, value in request.parameters.items():
        if reason := reason_for(name, value):
            raise ConfigError(f"parameter '{name}' {reason}, {refused}")


def check_texts(texts: Iterable[tuple[str, object]], environ: Mapping[str, str], *, refused: str) -> None:
    """Refuse a document that holds a secret, as the last look before it is written.

    Args:
        texts: place and value of each scalar of the document.
        environ: the variables whose values must not occur in it, if their names are those of secrets.
        refused: ends the message: why the document must not hold it, and what to do.

    Raises:
        ConfigError: it holds one; the message has its place, never its value.
    """
    values = {
        value: name
        for name, value in environ.items()
        if len(value) >= _SHORTEST and names_secret(name) and value.strip() and name not in _FOLDERS
    }
    for place, value in texts:
        if reason := reason_for(place, value):
            raise ConfigError(f"{place} {reason}, {refused}")
        name = next((name for text, name in values.items() if isinstance(value, str) and text in value), "")
        if name:
            raise ConfigError(f"{place} contains the value of the environment variable {name}, {refused}")


def scalars(value: object, key: str, *, ignored: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """Yield the dotted key and the value of each scalar in nested data; keys in `ignored` are passed over."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ignored:
                yield from scalars(inner, f"{key}.{name}", ignored=ignored)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from scalars(inner, f"{key}[{index}]", ignored=ignored)
    else:
        yield key, value


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _is_reference(name: str) -> bool:
    return any(map(_REFERENCE.fullmatch, _words(name)[-1:]))


def _has_password(url: str) -> bool:
    try:
        return bool(urllib.parse.urlsplit(url).password)
    except ValueError:
        return False
