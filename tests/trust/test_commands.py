"""``mlops bundle`` and ``mlops verify`` as they are typed: where keys come from, output, exit codes."""

import json
import tarfile

import pytest

from mlops_core.cli import _exit_code
from mlops_core.trust.bundles.keys import write_key_pair


@pytest.fixture
def bundle(evidence):
    def call(*arguments):
        return _exit_code(["--workspace", str(evidence.workspace), "bundle", *map(str, arguments)])

    return call


def test_key_comes_from_a_file_or_a_variable_with_a_password(evidence, bundle, tmp_path, monkeypatch, capsys):
    public, _ = write_key_pair(tmp_path / "locked.pem", password="sesame-4711")
    monkeypatch.setenv("KEY_PASSWORD", "sesame-4711")
    monkeypatch.setenv("SIGNING_PEM", (tmp_path / "locked.pem").read_text())
    password = ("--password-env", "KEY_PASSWORD")
    assert bundle("latest", "-o", "a.tar", "--key", tmp_path / "locked.pem", *password) == 0
    assert bundle("2", "-u", "weighed", "-o", "b.tar", "--key-env", "SIGNING_PEM", *password, "--json") == 0
    shown = capsys.readouterr()
    assert "sesame" not in shown.out + shown.err
    assert json.loads(shown.out[shown.out.index("{") :])["run_id"] == evidence.runs[1]
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert _exit_code(["verify", "a.tar", "--key", str(public), "--no-recompute"]) == 0
    monkeypatch.delenv("KEY_PASSWORD")
    monkeypatch.delenv("SIGNING_PEM")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--key", "a.pem", "--key-env", "A"), "--key and --key-env: give one of the two"),
        (("--password-env", "A"), "there is no private key; give --key or --key-env"),
        (("--key-env", "NOT_SET"), "the environment variable NOT_SET is not set"),
        (("--key", "none.pem"), "key none.pem cannot be read"),
        (("-o", "."), ". is a folder; expected the name of the bundle's file"),
        (("-o", "none/b.tar"), "none/b.tar cannot be written: No such file or directory"),
    ],
)
def test_wrong_options_are_refused_in_one_line(bundle, tmp_path, arguments, message, capsys):
    assert bundle("latest", "-o", tmp_path / "b.tar", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b.tar").exists()


def test_bundle_without_a_key_and_a_key_that_others_can_read_are_warned_about(evidence, bundle, capsys):
    assert bundle("latest", "-o", "a.tar") == 0
    assert "warning: the bundle is not signed" in capsys.readouterr().err
    assert _exit_code(["verify", "a.tar"]) == 3
    assert _exit_code(["verify", "a.tar", "--allow-unsigned", "--no-recompute"]) == 0
    assert "warning: the bundle is not signed: anybody can have written it" in capsys.readouterr().out
    evidence.private.chmod(0o644)
    assert bundle("latest", "-o", "b.tar", "--key", evidence.private) == 0
    assert "can be read by other users (mode 0644)" in capsys.readouterr().err


def test_checklist_and_json_name_the_first_mismatch(evidence, tmp_path, capsys):
    content = bytearray(evidence.bundle.read_bytes())
    content[-3000] ^= 1
    (tmp_path / "changed.tar").write_bytes(content)
    assert _exit_code(["verify", "changed.tar", "--key", str(evidence.public)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "changed.tar"
    assert lines[-1].startswith("NOT VERIFIED: files: objects/")
    assert sum("FAILED" in line for line in lines) == 1
    assert _exit_code(["verify", "changed.tar", "--key", str(evidence.public), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert report["is_verified"] is False
    assert report["mismatch"].startswith("files: objects/")


def test_missing_package_is_named_with_the_extra(evidence, monkeypatch, capsys):
    import sys

    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert _exit_code(["verify", str(evidence.bundle), "--key", str(evidence.public)]) == 2
    assert "install it with: pip install mlops-usecases[trust]" in capsys.readouterr().err


def test_an_exported_folder_is_verified_with_what_the_export_adds(evidence, bundle, tmp_path, capsys):
    folder = tmp_path / "exported"
    home = ("--workspace", str(evidence.workspace))
    assert _exit_code([*home, "models", "export", "-u", "WEIGHED", "1", str(folder)]) == 0
    assert {"README.md", "mlops-model.json", "reference_statistics.json"} < {each.name for each in folder.iterdir()}
    assert bundle("1", "-u", "WEIGHED", "-o", tmp_path / "b.tar", "--key", evidence.private) == 0
    with tarfile.open(tmp_path / "b.tar") as archive:
        [member] = [each for each in archive if each.name.endswith("model.sig")]
        (tmp_path / "model.sig").write_bytes(archive.extractfile(member).read())
    trust = ("--key", str(evidence.public), "--model", str(folder))
    signed = (
        ["verify", str(tmp_path / "b.tar"), "--no-recompute", *trust],
        ["verify", str(tmp_path / "model.sig"), *trust],
    )
    assert [_exit_code(each) for each in signed] == [0, 0]
    (folder / "MODEL_CARD.md").write_text("an added file")
    capsys.readouterr()
    assert [_exit_code(each) for each in signed] == [3, 3]
    assert capsys.readouterr().out.count("1 of its files differ from what was signed: MODEL_CARD.md (added)") >= 2
