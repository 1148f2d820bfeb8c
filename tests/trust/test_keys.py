"""Keys: PEM files that only the owner reads, and everything that is not a P-256 key refused by name."""

import datetime as dt
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID

from mlops_core.cli import _exit_code
from mlops_core.errors import ConfigError, UsageError
from mlops_core.trust.bundles.keys import (
    _ORDER,
    permission_warning,
    read_public_key,
    read_signing_key,
    read_trust_file,
    write_key_pair,
)

PEM, SPKI = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo


def public_pem(private):
    return private.public_key().public_bytes(PEM, SPKI)


def certificate(days):
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=days))
        .sign(private, hashes.SHA256())
    )
    return built.public_bytes(PEM)


def test_new_private_key_is_readable_by_its_owner_only(tmp_path):
    public, key = write_key_pair(tmp_path / "release.pem")
    assert public == tmp_path / "release.pub.pem"
    assert stat.S_IMODE((tmp_path / "release.pem").stat().st_mode) == 0o600
    assert read_signing_key(tmp_path / "release.pem").key_id == key.key_id == read_public_key(public).key_id


def test_key_is_never_overwritten(tmp_path):
    for name in ("a.pem", "b.pub.pem"):
        (tmp_path / name).write_text("precious")
    for name in ("a.pem", "b.pem"):
        with pytest.raises(UsageError, match="never overwritten"):
            write_key_pair(tmp_path / name)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["precious", "precious"]


def test_signatures_are_deterministic_and_of_one_form(tmp_path):
    _, public = write_key_pair(tmp_path / "a.pem")
    key = read_signing_key(tmp_path / "a.pem")
    for number in range(8):
        message = b"message %d" % number
        signature = key.sign(message)
        assert signature == key.sign(message)
        assert public.verifies(signature, message)
        r, s = decode_dss_signature(signature)
        other = encode_dss_signature(r, _ORDER - s)
        assert public.verifies(other, message, is_strict=False)
        assert not public.verifies(other, message)
    assert not public.verifies(b"", b"message")
    assert not public.verifies(signature, b"another message")


def test_password_is_needed_and_has_to_be_right(tmp_path):
    write_key_pair(tmp_path / "a.pem", password="right")
    assert b"ENCRYPTED" in (tmp_path / "a.pem").read_bytes()
    assert read_signing_key(tmp_path / "a.pem", password="right").key_id
    with pytest.raises(UsageError, match="is encrypted; give --password-env"):
        read_signing_key(tmp_path / "a.pem")
    with pytest.raises(UsageError, match="or the password is wrong"):
        read_signing_key(tmp_path / "a.pem", password="wrong")
    write_key_pair(tmp_path / "b.pem")
    with pytest.raises(UsageError, match="is not encrypted, and a password was given"):
        read_signing_key(tmp_path / "b.pem", password="right")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"garbage", "does not hold a public key in PEM"),
        (certificate(days=30), "holds a certificate, which expired on 2020-01-31; expected a public key"),
        (certificate(days=40_000), "holds a certificate, valid until 2129"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a damaged certificate"),
        (public_pem(ed25519.Ed25519PrivateKey.generate()), "is of the kind Ed25519; expected ECDSA on P-256"),
        (public_pem(rsa.generate_private_key(65537, 2048)), "is of the kind RSA"),
        (public_pem(ec.generate_private_key(ec.SECP384R1())), "is on the curve secp384r1; expected P-256"),
        (b"-----BEGIN PRIVATE KEY-----\n", "holds a private key, which only its owner needs"),
    ],
)
def test_what_is_not_a_public_key_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(UsageError, match=message) as error:
        read_public_key(tmp_path / "key.pem")
    assert "\n" not in str(error.value)


def test_what_is_not_a_private_key_is_refused_by_name(tmp_path):
    public, _ = write_key_pair(tmp_path / "a.pem")
    with pytest.raises(UsageError, match="holds a public key; a bundle is signed with the private one"):
        read_signing_key(public)
    with pytest.raises(UsageError, match="cannot be read: it is a folder"):
        read_signing_key(tmp_path)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_signing_key(tmp_path / "none.pem")


def test_key_that_others_can_read_is_warned_about(tmp_path):
    write_key_pair(tmp_path / "a.pem")
    assert permission_warning(tmp_path / "a.pem") == ""
    (tmp_path / "a.pem").chmod(0o644)
    assert "can be read by other users (mode 0644)" in permission_warning(tmp_path / "a.pem")


def test_trust_file_names_keys_by_pem_or_path(tmp_path):
    one, _ = write_key_pair(tmp_path / "one.pem")
    two, _ = write_key_pair(tmp_path / "two.pem")
    text = "keys:\n  release: one.pub.pem\n  review: |\n"
    text += "".join(f"    {line}\n" for line in two.read_text().splitlines())
    (tmp_path / "trust.yaml").write_text(text)
    keys = read_trust_file(tmp_path / "trust.yaml")
    assert [key.name for key in keys.keys] == ["release", "review"]
    assert keys.find(read_public_key(one).key_id).name == "release"
    assert keys.find("0" * 64) is None


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("key:\n  a: b\n", ConfigError, "unknown key 'key'; did you mean 'keys'"),
        ("keys: []\n", ConfigError, "expected keys: a mapping of names"),
        ("", ConfigError, "expected keys"),
        ("keys:\n  a: 3\n", ConfigError, "key 'a': expected a public key in PEM"),
        ("keys:\n  a: one.pub.pem\n  b: one.pub.pem\n", UsageError, "key 'b' is the same key as 'a'"),
        ("keys:\n  a: none.pem\n", UsageError, "none.pem cannot be read"),
    ],
)
def test_trust_file_that_is_not_well_formed_is_refused(tmp_path, text, kind, message):
    write_key_pair(tmp_path / "one.pem")
    (tmp_path / "trust.yaml").write_text(text)
    with pytest.raises(kind, match=message):
        read_trust_file(tmp_path / "trust.yaml")


def test_keys_new_takes_the_password_from_a_variable_only(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KEY_PASSWORD", "correct horse")
    assert _exit_code(["keys", "new", "a.pem", "--password-env", "KEY_PASSWORD"]) == 0
    shown = capsys.readouterr().out
    assert "encrypted" in shown
    assert "correct horse" not in shown
    assert read_signing_key(tmp_path / "a.pem", password="correct horse")
    assert _exit_code(["keys", "new", "b.pem", "--password-env", "NOT_SET"]) == 2
    assert "the environment variable NOT_SET is not set" in capsys.readouterr().err
    assert not (tmp_path / "b.pem").exists()
    assert _exit_code(["keys", "show", "a.pub.pem"]) == 0
    assert capsys.readouterr().out.strip() in shown
    monkeypatch.delenv("KEY_PASSWORD")
