"""Model signatures, against files and against the real tool.

The tool (39 packages, 94 MB) is not installed in the environment of the tests: MLOPS_TEST_MODEL_SIGNING_PYTHON names
the Python of an environment with ``model-signing==1.1.1`` and ``pyOpenSSL``, which the tool needs and does not require.
"""

import base64
import hashlib
import json
import os
import subprocess

import pytest

from mlops_core.cli import _exit_code
from mlops_core.trust.bundles.envelopes import EvidenceFaultError
from mlops_core.trust.bundles.keys import TrustedKeys, read_public_key, read_signing_key, write_key_pair
from mlops_core.trust.bundles.model_signing import compare_model_folder, sign_model, verify_model_signature

TOOL_PYTHON = os.environ.get("MLOPS_TEST_MODEL_SIGNING_PYTHON")
needs_tool = pytest.mark.skipif(TOOL_PYTHON is None, reason="MLOPS_TEST_MODEL_SIGNING_PYTHON is not set")


@pytest.fixture
def signed(tmp_path):
    """A model folder, keys, and the signature of the folder."""
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    for path, text in {"a.txt": "a", "Z.bin": "z", "sub/é.txt": "e", "sub.txt": "s", ".hidden": "h"}.items():
        (model / path).write_text(text)
    public, _ = write_key_pair(tmp_path / "k.pem")
    files = {
        path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in model.rglob("*")
        if path.is_file()
    }
    content = sign_model(files, read_signing_key(tmp_path / "k.pem"), name="model")
    (tmp_path / "model.sig").write_bytes(content)
    return model, files, content, TrustedKeys((read_public_key(public),))


def tool(*arguments):
    command = [TOOL_PYTHON, "-m", "model_signing", *map(str, arguments)]
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ, timeout=120)


def test_signature_is_verified_and_names_every_file(signed):
    model, files, content, keys = signed
    key, found, ignored = verify_model_signature(content, keys)
    assert (key, found, ignored) == (
        keys.keys[0],
        files,
        ("mlops-model.json", "reference_statistics.json", "README.md"),
    )
    assert compare_model_folder(model, found) == ""


def test_signature_is_that_of_the_format(signed):
    _, _, content, keys = signed
    data = json.loads(content)
    assert data["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert data["verificationMaterial"] == {"publicKey": {"hint": keys.keys[0].key_id}, "tlogEntries": []}
    statement = json.loads(base64.b64decode(data["dsseEnvelope"]["payload"]))
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    digests = b"".join(bytes.fromhex(resource["digest"]) for resource in statement["predicate"]["resources"])
    assert statement["subject"] == [{"name": "model", "digest": {"sha256": hashlib.sha256(digests).hexdigest()}}]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"v0.3", b"v0.4"),
        lambda text: text.replace(b'"sig":"ME', b'"sig":"MF'),
        lambda text: text.replace(b'"payload":"ey', b'"payload":"fy'),
        lambda text: text[: len(text) // 2],
        lambda text: b"{}",
        lambda text: b"[]",
        lambda text: b"[" * 100_000,
    ],
)
def test_changed_signature_is_refused(signed, change):
    _, _, content, keys = signed
    assert change(content) != content
    with pytest.raises(EvidenceFaultError):
        verify_model_signature(change(content), keys)


def test_signature_of_another_key_is_refused(signed, tmp_path):
    _, _, content, _ = signed
    other, _ = write_key_pair(tmp_path / "other.pem")
    with pytest.raises(EvidenceFaultError, match=r"the model is signed with the key .*; trusted: other.pub.pem"):
        verify_model_signature(content, TrustedKeys((read_public_key(other),)))


def test_command_compares_a_folder_with_a_signature(signed, tmp_path, capsys):
    model, *_ = signed
    arguments = ["verify", str(tmp_path / "model.sig"), "--key", str(tmp_path / "k.pub.pem"), "--model", str(model)]
    assert _exit_code(arguments) == 0
    assert capsys.readouterr().out.startswith(f"verified: {model}, signed with k.pub.pem")
    (model / "a.txt").write_text("b")
    assert _exit_code([*arguments, "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert (report["is_verified"], report["mismatch"]) == (
        False,
        "1 of its files differ from what was signed: a.txt (changed)",
    )
    assert _exit_code(arguments[:-2]) == 2
    assert "give its folder with --model" in capsys.readouterr().err


def test_link_in_a_model_folder_is_refused(signed):
    model, files, *_ = signed
    (model / "link").symlink_to("/etc/passwd")
    assert "is a link to /etc/passwd" in compare_model_folder(model, files)


@needs_tool
def test_the_tool_accepts_our_signature(signed, tmp_path):
    model, *_ = signed
    arguments = ("verify", "key", model, "--public_key", tmp_path / "k.pub.pem", "--signature", tmp_path / "model.sig")
    done = tool(*arguments)
    assert (done.returncode, "Verification succeeded" in done.stdout + done.stderr) == (0, True), done
    (model / "mlops-model.json").write_text("{}")  # as an export has it
    assert tool(*arguments).returncode == 0
    (model / "a.txt").write_text("b")
    assert tool(*arguments).returncode != 0


@needs_tool
@pytest.mark.parametrize("place", ["theirs.sig", "model/theirs.sig"])
def test_we_accept_the_signature_of_the_tool(signed, tmp_path, place):
    model, *_ = signed
    done = tool("sign", "key", model, "--private_key", tmp_path / "k.pem", "--signature", tmp_path / place)
    assert done.returncode == 0, done
    arguments = ["verify", str(tmp_path / place), "--key", str(tmp_path / "k.pub.pem"), "--model", str(model)]
    assert _exit_code(arguments) == 0
    (model / "added.txt").write_text("b")
    assert _exit_code(arguments) == 3
