"""The encoding of event files: protocol buffer fields, and the records that TensorFlow keeps them in.

Sources: the wire format of protocol buffers (tag = field number and wire type; integers as base-128 varints; texts and
messages with their length), and TensorFlow's record format: length, masked CRC-32C of the length, data, masked CRC-32C
of the data, all little-endian. CRC-32C is that of RFC 3720, appendix B.4 (polynomial 0x1EDC6F41, reflected).
"""

from __future__ import annotations

import struct

_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8
_UINT32 = 0xFFFFFFFF
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _remainders() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_REMAINDERS = _remainders()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data`.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    value = _UINT32
    for byte in data:
        value = value >> 8 ^ _REMAINDERS[(value ^ byte) & 0xFF]
    return value ^ _UINT32


def record(data: bytes) -> bytes:
    """Return `data` as one record of an event file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _masked_crc(length), data, _masked_crc(data)))


def _masked_crc(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + _MASK) & _UINT32)


def varint(value: int) -> bytes:
    """Return a whole number as a varint; a negative one in 64-bit two's complement.

    Example:
        >>> varint(300).hex()
        'ac02'
    """
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def integer_field(number: int, value: int) -> bytes:
    """Return a field with a whole number, a truth value or a member of an enumeration."""
    return varint(number << 3 | _VARINT) + varint(value)


def double_field(number: int, value: float) -> bytes:
    """Return a field with a 64-bit number."""
    return varint(number << 3 | _FIXED64) + struct.pack("<d", value)


def float_field(number: int, value: float) -> bytes:
    """Return a field with a 32-bit number; one that is too large for it is infinite."""
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        packed = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return varint(number << 3 | _FIXED32) + packed


def bytes_field(number: int, value: bytes) -> bytes:
    """Return a field with bytes or a message."""
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def text_field(number: int, value: str) -> bytes:
    """Return a field with a text; what is not text is replaced, since readers refuse it."""
    return bytes_field(number, value.encode("utf-8", "replace"))
