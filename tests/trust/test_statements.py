"""Canonical JSON and envelopes: one spelling for one content, and nothing else is read."""

import base64
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_core.trust.bundles.envelopes import EvidenceFaultError, open_envelope, pre_authentication_encoding, seal
from mlops_core.trust.bundles.keys import read_signing_key, write_key_pair
from mlops_core.trust.bundles.statements import canonical_json, read_statement, write_statement

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # RFC 8785, appendix B
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_rfc_8785_says(bits, text):
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value) == text.encode()


def test_names_are_sorted_by_utf_16_as_rfc_8785_says():
    names = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7}
    assert list(json.loads(canonical_json(names)).values()) == [2, 4, 6, 7, 1, 5, 3]
    assert canonical_json({"b": '\x1f\x7f"\\\n', "a": [True, None]}) == b'{"a":[true,null],"b":"\\u001f\x7f\\"\\\\\\n"}'


@given(VALUES)
def test_canonical_json_reads_back_and_is_stable(value):
    text = canonical_json(value)
    assert json.loads(text) == pytest.approx(value) if isinstance(value, float) else canonical_json(value) == text
    payload = write_statement("https://example.org/x/v1", {"value": value}, artifact="ab")
    assert canonical_json(read_statement(payload).predicate) == b'{"value":' + text + b"}"


@pytest.mark.parametrize("value", [math.nan, math.inf, 1 << 53, "\ud800"])
def test_what_json_cannot_hold_exactly_is_refused(value):
    with pytest.raises(ValueError, match="not a number|not exact|surrogates"):
        canonical_json([value])


def test_what_is_signed_holds_the_lengths():
    assert pre_authentication_encoding(b"{}") == b"DSSEv1 28 application/vnd.in-toto+json 2 {}"


def test_envelope_is_read_in_one_spelling_only(tmp_path):
    _, public = write_key_pair(tmp_path / "a.pem")
    payload = write_statement("https://example.org/x/v1", {"a": 1.0}, artifact="ab")
    line = seal(payload, read_signing_key(tmp_path / "a.pem"))
    envelope = open_envelope(line)
    assert envelope.payload == payload
    assert envelope.is_signed_by(public)
    assert json.loads(line)["payload"] == base64.b64encode(payload).decode()
    encoded = base64.b64encode(payload)
    spellings = [
        line.replace(b'":', b'": ', 1),
        line + b" ",
        line.replace(b'"signatures":[', b'"signatures":[],"signatures":['),
        line.replace(encoded, encoded[:-2]),
        line.replace(b"in-toto+json", b"in-toto+yaml"),
        json.dumps(dict(reversed(json.loads(line).items()))).encode(),
    ]
    for spelling in spellings:
        with pytest.raises(EvidenceFaultError):
            open_envelope(spelling)


def test_base64_with_other_unused_bits_is_refused():
    line = seal(b"ab", None)
    assert b'"YWI="' in line
    with pytest.raises(EvidenceFaultError, match="base64"):
        open_envelope(line.replace(b"YWI=", b"YWJ="))


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b'{"a":1}', b"\xff", b"[" * 100_000, b'{"_type": "https://in-toto.io/Statement/v1"}'],
)
def test_payload_that_is_no_statement_is_refused(payload):
    with pytest.raises(EvidenceFaultError):
        read_statement(payload)


def test_statement_in_another_spelling_is_refused():
    payload = write_statement("https://example.org/x/v1", {"a": 1}, artifact="ab")
    assert read_statement(payload).predicate == {"a": 1}
    with pytest.raises(EvidenceFaultError, match="not canonical"):
        read_statement(json.dumps(json.loads(payload)).encode())
