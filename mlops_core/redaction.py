"""Secrets in text: which names announce one, which parts of an address are one, and how known values are taken out.

Three kinds of text hold secrets. A configuration key such as ``api_token`` names one. An address may hold a password or
the signature of a presigned query. And any text, such as the message of an exception or the log of a step, may repeat a
value that came from the environment; a `Redactor` knows these values and puts the reference in their place.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

REDACTED = "<redacted>"
"""Stands for a secret that no reference to a variable gives again."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORD = re.compile(
    r".*(?:password|passwd|passphrase).*|pwd|passcode|passkey|secrets?|credentials?|authorization|cookies?"
    r"|(api|access|private|secret|ssh)keys?|(auth|access)token|bearer|jwt"
)
_KEY_KIND = re.compile(
    r"api|access|private|secret|signing|encryption|account|storage|master|ssh|auth|client|shared|hmac|deploy|license"
)
_PASS_KIND = re.compile(r"db|database|user|admin|root|login|smtp|mail|imap|ftp|proxy|key|keystore|store|redis|mysql")
"""Words before ``pass`` that make it a password: ``low_pass`` is none."""
_MODEL_TOKEN = re.compile(r"pad|unk|mask|bos|eos|sep|cls|start|end|stop|blank|special|max|min")
"""Words before ``token`` in language models."""
_TOKEN_KIND = re.compile(r"api|auth|access|refresh|bearer|session|security")
_ABOUT = re.compile(
    r"(file|path|name|variable|column|field|id|ur[il]|endpoint)s?|dir|folder|env|length|policy|count|size|limit|type"
    r"|ttl|timeout|format|prefix|is|has|uses?|required|arn"
)
"""A name that ends in one of them tells something about a secret, but not the secret."""

_AUTHORITY = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^\s/?#'\"<>]*|[^\s/?#@:'\"<>]*:[^\s@'\"<>]*)@"
)
_QUERY = re.compile(r"(?P<before>[?&;#](?P<name>[A-Za-z][A-Za-z0-9_.-]*)=)(?P<value>[^&;#\s'\"<>]+)")
_SIGNED = re.compile(
    r"x(amz|goog)(signature|credential)|xamzsecuritytoken|signature|sig|awsaccesskeyid|googleaccessid|keypairid|hmac"
    r"|auth|authorization|key|code"
)
"""Parameters of presigned addresses, as the stores' documentation names them, without case and hyphens."""
_SHORTEST = 4
_SHORTEST_UNNAMED = 8
"""A shorter value that nothing calls a secret is replaced where it stands only, not wherever its letters appear."""


def names_secret(name: str) -> bool:
    """Return whether a key, parameter or variable of this name holds a secret.

    Example:
        >>> [names_secret(name) for name in ("api_token", "SSH_PASSPHRASE", "max_tokens", "password_file")]
        [True, True, False, False]
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or _ABOUT.fullmatch(words[-1]):
        return False
    return any(map(_SECRET_WORD.fullmatch, words)) or any(
        (word == "token" and word is words[-1] and not _MODEL_TOKEN.fullmatch(before))
        or (word == "tokens" and word is words[-1] and _TOKEN_KIND.fullmatch(before))
        or (word in ("key", "keys") and _KEY_KIND.fullmatch(before))
        or (word == "pass" and word is words[-1] and _PASS_KIND.fullmatch(before))
        or (word == "string" and before == "connection")
        for before, word in itertools.pairwise(["", *words])
    )


def is_secret_key(key: str) -> bool:
    """Return whether a dotted key, or a section that it is in, names a secret."""
    return any(names_secret(part.partition("[")[0]) for part in key.split("."))


def redact_urls(text: str) -> str:
    """Return `text` with user, password and signature of each address in it replaced; references stay.

    Example:
        >>> redact_urls("https://me:pass@example.org/data.zip?X-Amz-Signature=12ab&part=1")
        'https://<redacted>@example.org/data.zip?X-Amz-Signature=<redacted>&part=1'
    """
    if "://" not in text:
        return text
    return _QUERY.sub(_without_value, _AUTHORITY.sub(_without_user, text))


def _without_user(match: re.Match[str]) -> str:
    user = match["user"]
    is_account = ":" not in user and "ssh" in match["scheme"]  # ssh://git@host: a user without a password
    port = user.partition(":")[2].partition("/")[0]
    is_path = "/" in user and port.isdigit()  # host:8080/data@v1
    return match[0] if is_account or is_path or "${" in user or not user else f"{match['scheme']}{REDACTED}@"


def _without_value(match: re.Match[str]) -> str:
    name = re.sub(r"[-_.]", "", match["name"]).lower()
    is_signed = _SIGNED.fullmatch(name) is not None or names_secret(match["name"])
    return f"{match['before']}{REDACTED}" if is_signed and "${" not in match["value"] else match[0]


def secrets_in_urls(text: str) -> set[str]:
    """Return user, password and signature of each address in a text, as written and decoded."""
    if "://" not in text:
        return set()
    parts = {match["value"] for match in _QUERY.finditer(text) if _without_value(match) != match[0]}
    for match in _AUTHORITY.finditer(text):
        if _without_user(match) != match[0]:
            user, _, password = match["user"].partition(":")
            parts.add(password or user)
    return parts | {urllib.parse.unquote(part) for part in parts}


def is_local_path(value: str) -> bool:
    """Return whether a value is the path of something on this machine, which is not a secret."""
    try:
        return os.path.exists(os.path.expanduser(value))  # noqa: PTH110, PTH111  texts of any form, cheaply
    except ValueError:  # a NUL in it
        return False


class Redactor:
    """Replaces secret values in texts by what may be shown instead."""

    def __init__(self, values: Mapping[str, str] | None = None, *, unnamed: Iterable[str] = ()) -> None:
        """Know secret values.

        Args:
            values: secret value -> what is shown instead.
            unnamed: those of the values that no name calls secret; short ones are left alone.
        """
        unnamed = frozenset(unnamed)
        kept = {
            value: shown
            for value, shown in (values or {}).items()
            if len(value) >= (_SHORTEST_UNNAMED if value in unnamed else _SHORTEST) and not is_local_path(value)
        }
        self._shown = {form: shown for value, shown in kept.items() for form in _forms_of(value)} | kept
        self._pattern = _pattern_of(self._shown)
        self._longest = max((len(value.encode(errors="surrogateescape")) for value in self._shown), default=0)

    def __bool__(self) -> bool:
        """Return whether any value is known."""
        return bool(self._shown)

    def text(self, text: str) -> str:
        """Return a text without the values, and without the secret parts of any address."""
        return redact_urls(self.without_values(text))

    def without_values(self, text: str) -> str:
        """Return a text without the values."""
        return text if self._pattern is None else self._pattern.sub(lambda match: self._shown[match[0]], text)

    def data(self, data: Any) -> Any:
        """Return JSON types without the values."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, dict):
            return {
                self.text(name) if isinstance(name, str) else name: self.data(value) for name, value in data.items()
            }
        return [self.data(value) for value in data] if isinstance(data, list | tuple) else data

    def error(self, error: BaseException) -> None:
        """Take the values out of an exception's message, and out of those that led to it."""
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            one = waiting.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            one.args = tuple(self.data(argument) for argument in one.args)
            for name in ("problems", "filename", "filename2", "strerror", "message"):
                if isinstance(getattr(one, name, None), str | tuple):
                    with contextlib.suppress(AttributeError):
                        value = self.data(getattr(one, name))
                        setattr(one, name, tuple(value) if isinstance(value, list) else value)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Take the values out of any exception that leaves a block."""
        try:
            yield
        except BaseException as error:
            self.error(error)
            raise

    def chunks(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield a stream of bytes without the values, of which some may lie across the ends of chunks."""
        if not self._shown:
            yield from chunks
            return
        shown = {value.encode(errors="surrogateescape"): text.encode() for value, text in self._shown.items()}
        pattern = re.compile(b"|".join(map(re.escape, sorted(shown, key=len, reverse=True))))
        held = b""
        for chunk in chunks:
            held = pattern.sub(lambda match: shown[match[0]], held + chunk)
            cut = max(0, len(held) - self._longest + 1)
            if cut:
                yield held[:cut]
            held = held[cut:]
        if held:
            yield held


def environment_redactor(environ: Mapping[str, str]) -> Redactor:
    """Return a redactor of the variables whose names call their values secret."""
    return Redactor({value: f"${{{name}}}" for name, value in environ.items() if value and names_secret(name)})


def _forms_of(value: str) -> set[str]:
    """Return how a value may look in a text: after `repr`, in JSON (even twice), in an address, or on one line."""
    raw = value.encode(errors="surrogateescape")
    quoted = (urllib.parse.quote(raw), urllib.parse.quote(raw, safe=""), urllib.parse.quote_plus(raw))
    both_quotes = repr(f"'\"{value}").partition('"')[2][:-1]  # repr chooses the quotes by what else is in a text
    once = {repr(value)[1:-1], both_quotes, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    twice = {json.dumps(form)[1:-1] for form in once}
    return {form for form in (*once, *twice, *quoted, " ".join(value.split())) if len(form) >= _SHORTEST}


def _pattern_of(values: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(values, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
