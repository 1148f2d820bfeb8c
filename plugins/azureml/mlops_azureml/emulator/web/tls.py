"""A certificate authority for one endpoint. Its key is forgotten as soon as the endpoint's certificate is signed."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_DAYS = 30


def server_context(folder: Path, *, names: Iterable[str]) -> tuple[ssl.SSLContext, Path]:
    """Return a TLS context for a server, and a file with the certificates that its clients trust.

    The file also has the authorities that this machine trusts, so that a process that uses it reaches others, too.

    Args:
        folder: folder for the file.
        names: host names of the server; 127.0.0.1 is always one.

    Raises:
        UsageError: cryptography is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise UsageError(f"the endpoint needs cryptography: {error}; pip install 'mlops-azureml[emulator]'") from error

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mlops azureml emulate: authority")])
    limits = x509.BasicConstraints(ca=True, path_length=0)
    authority = _builder(x509, authority_name, authority_name, authority_key.public_key())
    authority = authority.add_extension(limits, critical=True)
    signed_authority = authority.sign(authority_key, _sha256())
    addresses: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    addresses.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = _builder(x509, name, authority_name, key.public_key())
    builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    context = _context(builder.sign(authority_key, _sha256()), key)
    return context, _bundle(folder, _pem(signed_authority))


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    content: bytes = certificate.public_bytes(Encoding.PEM)
    return content


def _builder(x509: Any, subject: Any, issuer: Any, key: Any) -> Any:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=_DAYS))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _context(certificate: Any, key: Any) -> ssl.SSLContext:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor, name = tempfile.mkstemp(prefix="mlops-endpoint-")  # readable by its owner only
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secret + _pem(certificate))
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
    return context


def _bundle(folder: Path, authority: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    system = ssl.get_default_verify_paths().cafile
    trusted = Path(system).read_bytes() if system and Path(system).is_file() else b""
    path = folder / "certificates.pem"
    path.write_bytes(authority + trusted)
    return path
