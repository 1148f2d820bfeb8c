"""in-toto statements: what a bundle says, each about the model as its subject, as canonical JSON (RFC 8785).

The first statement, of the type `BUNDLE`, lists every other one and every file by digest, so that none can be left out,
added or exchanged. A statement of an unknown type is not an error: a later version may say more about the same files.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.trust.bundles.envelopes import EvidenceFaultError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "mlops-bundle/1"
BUNDLE = "https://mlops_usecases/bundle/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
SPLIT = "https://mlops_usecases/split/v1"
PREDICTIONS = "https://mlops_usecases/predictions/v1"
METRICS = "https://mlops_usecases/metrics/v1"
VERDICT = "https://mlops_usecases/verdict/v1"
MODEL = "https://mlops_usecases/model/v1"
APPROVALS = "https://mlops_usecases/approvals/v1"
BUILD_TYPE = "https://mlops_usecases/run/v1"
KNOWN = (PROVENANCE, SPLIT, PREDICTIONS, METRICS, VERDICT, MODEL, APPROVALS)
"""Types of statements after the first, in the order in which a bundle has them."""
_STATEMENT = "https://in-toto.io/Statement/v1"
_FAMILY = BUNDLE.removesuffix("1")
_LARGEST_INT = (1 << 53) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A claim about a model.

    Attributes:
        predicate_type: kind and version of the claim.
        predicate: the claim.
        artifact: digest of the model's artifact, the subject.
        digest: SHA-256 of the payload.
    """

    predicate_type: str
    predicate: Mapping[str, Any]
    artifact: str
    digest: str


def write_statement(predicate_type: str, predicate: Mapping[str, Any], *, artifact: str) -> bytes:
    """Return the payload of a statement about the artifact of a model."""
    return canonical_json(
        {
            "_type": _STATEMENT,
            "subject": [{"name": "model", "digest": {"sha256": artifact}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def read_statement(payload: bytes) -> Statement:
    """Return the statement in a payload.

    Raises:
        EvidenceFaultError: it is not a statement as `write_statement` writes it.
    """
    try:
        data = json.loads(payload, parse_int=_whole_number)
        if canonical_json(data) != payload:
            raise EvidenceFaultError("a statement is not canonical JSON")
        [subject] = data["subject"]
        artifact, predicate_type, predicate = subject["digest"]["sha256"], data["predicateType"], data["predicate"]
        is_valid = data["_type"] == _STATEMENT and isinstance(predicate, dict)
        if not is_valid or not isinstance(artifact, str) or not isinstance(predicate_type, str):
            raise EvidenceFaultError("a payload is not an in-toto statement of version 1")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EvidenceFaultError(f"a payload is not an in-toto statement: {type(error).__name__}") from error
    return Statement(
        predicate_type=predicate_type,
        predicate=predicate,
        artifact=artifact,
        digest=hashlib.sha256(payload).hexdigest(),
    )


def require_format(statement: Statement) -> None:
    """Refuse a first statement that is not that of a bundle which this version reads.

    Raises:
        EvidenceFaultError: it is of a newer version, or of another kind.
    """
    kind, found = statement.predicate_type, statement.predicate.get("format")
    if kind == BUNDLE and found == FORMAT:
        return
    if kind.startswith(_FAMILY) or (isinstance(found, str) and found.startswith("mlops-bundle/")):
        shown = found if isinstance(found, str) else kind
        raise EvidenceFaultError(
            f"the bundle has the format {shown[:40]!r}; this mlops reads {FORMAT!r}: use a newer one"
        )
    raise EvidenceFaultError(f"the first statement has the type {kind[:80]!r}; expected {BUNDLE!r}")


def canonical_json(value: object) -> bytes:
    """Return the only spelling of a JSON value (RFC 8785).

    Raises:
        ValueError: a number is not finite or is a whole number that JavaScript cannot hold, or a text is not Unicode.
        TypeError: it is not JSON.
    """
    return _text(value).encode()


def _whole_number(text: str) -> int | float:
    """Return a whole number as JavaScript holds it; `canonical_json` writes it as the same text again."""
    return int(text) if len(text) < len(str(_LARGEST_INT)) else float(text)


def _text(value: object) -> str:
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            if abs(value) > _LARGEST_INT:
                raise ValueError(f"{value} is not exact as a number of JSON")
            return str(int(value))
        case float():
            return _number(value)
        case dict():
            names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
            return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in names) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_text, value)) + "]"
    raise TypeError(f"{type(value).__name__} is not a type of JSON")


def _number(value: float) -> str:
    """Return a number as ECMAScript prints it: the shortest digits, without an exponent from 1e-6 to below 1e21."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number of JSON")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'+' if point > 0 else '-'}{abs(point - 1)}"
