"""Keys that sign bundles and models: ECDSA on P-256, as PEM, from a file or an environment variable.

The package ``cryptography`` (extra ``trust``) is imported on use. A key is identified by the SHA-256 of its public part
in PEM, as in OpenSSF Model Signing. Signatures are deterministic (RFC 6979) and in their low-S form, so that the same
bytes signed with the same key are the same signature.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ConfigError, UsageError, did_you_mean
from mlops_core.reading import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric import ec

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Number of points of P-256 (FIPS 186-5): (r, s) and (r, order - s) are signatures of the same message."""
_PEM_LIMIT_BYTES = 1 << 16
_KEYS = "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key.

    Attributes:
        key_id: SHA-256 of the public key in PEM, in hexadecimal.
    """

    key_id: str
    _private: ec.EllipticCurvePrivateKey

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, as DER."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

        signature = self._private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(signature)
        return encode_dss_signature(r, min(s, _ORDER - s))

    def public_key(self, *, name: str = "") -> VerificationKey:
        """Return the public part."""
        return VerificationKey(name=name or self.key_id[:12], key_id=self.key_id, _public=self._private.public_key())


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A public key.

    Attributes:
        name: how messages call it: in a trust file, or the file it was read from.
        key_id: SHA-256 of the key in PEM, in hexadecimal.
    """

    name: str
    key_id: str
    _public: ec.EllipticCurvePublicKey

    def verifies(self, signature: bytes, message: bytes, *, is_strict: bool = True) -> bool:
        """Return whether a signature, as DER, is of this message and made with this key.

        Args:
            signature: the signature.
            message: what was signed.
            is_strict: accept the low-S form only, of which there is one; signers of other programs write either.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        try:
            if is_strict and decode_dss_signature(signature)[1] > _ORDER // 2:
                return False
            self._public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The keys whose signatures are accepted.

    Attributes:
        keys: at least one, each once.
    """

    keys: tuple[VerificationKey, ...]

    def find(self, key_id: str) -> VerificationKey | None:
        """Return the key with this id; None if it is not trusted."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def __str__(self) -> str:
        """Return the keys as messages name them."""
        return ", ".join(f"{key.name} ({key.key_id[:12]})" for key in self.keys)


def write_key_pair(path: Path, *, password: str = "") -> tuple[Path, VerificationKey]:
    """Write a new private key to `path`, readable by its owner only, and the public key beside it.

    Args:
        path: new file, for example ``release.pem``; the public key is ``release.pub.pem``.
        password: encrypts the private key; empty for none.

    Returns:
        The file of the public key, and the key.

    Raises:
        UsageError: one of the files exists, or cannot be written.
    """
    with _cryptography():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    private = ec.generate_private_key(ec.SECP256R1())
    encryption: Any = (
        serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    )
    text = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public_path = path.with_suffix(f".pub{path.suffix or '.pem'}")
    for target in (path, public_path):
        if target.is_symlink() or target.exists():
            raise UsageError(f"{target} exists; a key is never overwritten: give another name, or remove it yourself")
    _write_new(path, text, mode=0o600)
    _write_new(public_path, _public_pem(private.public_key()), mode=0o644)
    return public_path, VerificationKey(
        name=public_path.name, key_id=_key_id(private.public_key()), _public=private.public_key()
    )


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def read_signing_key(path: Path, *, password: str = "") -> SigningKey:
    """Return the private key in a file.

    Raises:
        UsageError: it cannot be read, is not a P-256 key in PEM, or the password is wrong.
    """
    return parse_signing_key(_read_pem(path), where=str(path), password=password)


def parse_signing_key(pem: bytes, *, where: str, password: str = "") -> SigningKey:
    """Return the private key in a PEM text; errors are those of `read_signing_key`."""
    with _cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
    if b"-----BEGIN PUBLIC KEY-----" in pem:
        raise UsageError(f"{where} holds a public key; a bundle is signed with the private one")
    _refuse_certificate(pem, where=where, wanted="a private key")
    try:
        private = serialization.load_pem_private_key(pem, password.encode() if password else None)
    except TypeError:
        advice = "is not encrypted, and a password was given" if password else "is encrypted; give --password-env NAME"
        raise UsageError(f"the private key in {where} {advice}") from None
    except (ValueError, UnsupportedAlgorithm):
        problem = "or the password is wrong" if password else "expected one as mlops keys new writes it"
        raise UsageError(f"{where} does not hold a private key in PEM that can be read, {problem}") from None
    checked = _require_p256(private.public_key(), where=where)
    return SigningKey(key_id=_key_id(checked), _private=private)  # type: ignore[arg-type]  # its public part is P-256


def read_public_key(path: Path, *, name: str = "") -> VerificationKey:
    """Return the public key in a file.

    Raises:
        UsageError: it cannot be read, or is not a public P-256 key in PEM; certificates and private keys are refused.
    """
    return parse_public_key(_read_pem(path), where=str(path), name=name or path.name)


def parse_public_key(pem: bytes, *, where: str, name: str) -> VerificationKey:
    """Return the public key in a PEM text; errors are those of `read_public_key`."""
    with _cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
    if b"PRIVATE KEY-----" in pem:
        raise UsageError(f"{where} holds a private key, which only its owner needs; give the public key")
    _refuse_certificate(pem, where=where, wanted="a public key")
    try:
        public = _require_p256(serialization.load_pem_public_key(pem), where=where)
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{where} does not hold a public key in PEM; expected a .pub.pem of mlops keys new") from None
    return VerificationKey(name=name, key_id=_key_id(public), _public=public)


def read_trust_file(path: Path) -> TrustedKeys:
    """Return the keys that a trust file names.

    It is YAML: below ``keys``, each name has a public key in PEM, or the path of its file, relative to the trust file.

    Raises:
        ConfigError: it cannot be read, or has other keys.
        UsageError: a key is not valid, or is there twice.
    """
    from mlops_core.config_files.yaml_source import read_yaml_file

    data = read_yaml_file(path, environ={}).data
    for key in data:
        if key != _KEYS:
            raise ConfigError(f"{path}: unknown key '{key}'{did_you_mean(str(key), [_KEYS]) or '; expected keys'}")
    entries = data.get(_KEYS)
    if not isinstance(entries, dict) or not entries:
        raise ConfigError(f"{path}: expected keys: a mapping of names to public keys in PEM or to their files")
    found: dict[str, VerificationKey] = {}
    for name, text in entries.items():
        if not isinstance(text, str):
            raise ConfigError(f"{path}: key '{name}': expected a public key in PEM, or the path of its file")
        where = f"{path}, key '{name}'"
        is_pem = text.lstrip().startswith("-----BEGIN")
        pem = text.encode() if is_pem else _read_pem(path.parent / text)
        public = parse_public_key(pem, where=where, name=str(name))
        if public.key_id in found:
            raise UsageError(f"{where} is the same key as '{found[public.key_id].name}'; give it one name")
        found[public.key_id] = public
    return TrustedKeys(tuple(found.values()))


def permission_warning(path: Path) -> str:
    """Return a warning if others than its owner can read a private key; empty if not."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    return (
        f"{path} can be read by other users (mode {mode:04o}); to change that: chmod 600 {path}" if mode & 0o077 else ""
    )


@contextlib.contextmanager
def _cryptography() -> Iterator[None]:
    """Turn the lack of the package into advice.

    Raises:
        UsageError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"keys and signatures need the package cryptography ({error}); "
            "install it with: pip install mlops-usecases[trust]"
        ) from error


def require_cryptography() -> None:
    """Raise a `UsageError` with advice if the package for keys and signatures is not installed."""
    with _cryptography():
        import cryptography.hazmat.primitives.asymmetric.ec  # noqa: F401  whether it can be imported


def _read_pem(path: Path) -> bytes:
    try:
        return read_bytes(path, limit_bytes=_PEM_LIMIT_BYTES, accepts_descriptors=True)
    except OSError as error:
        raise UsageError(f"key {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"key {str(path)!r} is not the name of a file: {error}") from error


def _require_p256(public: object, *, where: str) -> ec.EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    if not isinstance(public, ec.EllipticCurvePublicKey):
        kind = type(public).__name__.strip("_").removesuffix("PublicKey")
        raise UsageError(
            f"the key in {where} is of the kind {kind}; expected ECDSA on P-256, as mlops keys new makes it"
        )
    if not isinstance(public.curve, ec.SECP256R1):
        raise UsageError(f"the key in {where} is on the curve {public.curve.name}; expected P-256 (secp256r1)")
    return public


def _refuse_certificate(pem: bytes, *, where: str, wanted: str) -> None:
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        return
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        end = certificate.not_valid_after_utc
    except ValueError:
        raise UsageError(f"{where} holds a damaged certificate; expected {wanted}") from None
    state = "which expired on" if end < dt.datetime.now(dt.UTC) else "valid until"
    raise UsageError(
        f"{where} holds a certificate, {state} {end:%Y-%m-%d}; expected {wanted}: certificates are not evaluated; "
        f"the key in one: openssl x509 -in {Path(where).name} -pubkey -noout"
    )


def _public_pem(public: ec.EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _key_id(public: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(_public_pem(public)).hexdigest()
