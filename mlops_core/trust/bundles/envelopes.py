"""DSSE envelopes: a payload and its signature, as one line of JSON of which there is only one spelling.

What is signed is the encoding `pre_authentication_encoding` of the payload's bytes; a reader verifies the bytes that it
received and then parses those bytes. The line is strict: no other order, spacing, base64 or field is read.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError

if TYPE_CHECKING:
    from mlops_core.trust.bundles.keys import SigningKey, VerificationKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_LINE = re.compile(
    rb'\{"payload":"([A-Za-z0-9+/]*={0,2})","payloadType":"application/vnd\.in-toto\+json",'
    rb'"signatures":\[(?:\{"keyid":"([0-9a-f]{64})","sig":"([A-Za-z0-9+/]+={0,2})"\})?\]\}'
)


class EvidenceFaultError(MlopsError):
    """Evidence does not say what it should; the message is the detail of the check that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload, with the signature of one key.

    Attributes:
        payload: as it was signed.
        key_id: of the key, as the envelope claims; empty where it is not signed.
        signature: as DER; empty where it is not signed.
    """

    payload: bytes
    key_id: str = ""
    signature: bytes = b""

    def is_signed_by(self, key: VerificationKey) -> bool:
        """Return whether the signature is that of a key."""
        return key.verifies(self.signature, pre_authentication_encoding(self.payload))


def pre_authentication_encoding(payload: bytes) -> bytes:
    """Return what is signed: type and payload, each after its length."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, key: SigningKey | None) -> bytes:
    """Return the envelope of a payload as a line without its end, signed if there is a key."""
    signature = b""
    if key is not None:
        sealed = base64.b64encode(key.sign(pre_authentication_encoding(payload)))
        signature = b'{"keyid":"%b","sig":"%b"}' % (key.key_id.encode(), sealed)
    encoded = base64.b64encode(payload)
    return b'{"payload":"%b","payloadType":"%b","signatures":[%b]}' % (encoded, PAYLOAD_TYPE.encode(), signature)


def open_envelope(line: bytes) -> Envelope:
    """Return the envelope in a line; nothing is verified yet.

    Raises:
        EvidenceFaultError: the line is not an envelope as `seal` writes it.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise EvidenceFaultError("a line is not a DSSE envelope with an in-toto payload")
    return Envelope(payload=_decoded(match[1]), key_id=(match[2] or b"").decode(), signature=_decoded(match[3] or b""))


def _decoded(text: bytes) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if base64.b64encode(content) != text:
        raise EvidenceFaultError("an envelope holds base64 that is not well formed")
    return content
