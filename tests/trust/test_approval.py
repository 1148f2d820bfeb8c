"""``require_bundle``: no version is approved without a verified bundle of that very version."""

import hashlib

import pytest

from mlops_core.cli import _exit_code
from mlops_core.config_files.workspace_settings import WorkspaceSettings, read_workspace_settings
from mlops_core.errors import ConfigError, UsageError
from mlops_core.trust.bundles.keys import write_key_pair
from mlops_core.workspace.model_versions import ApprovalEvidence, ApprovalStatus
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store


@pytest.fixture
def strict(evidence):
    (evidence.workspace / "workspace.yaml").write_text("require_bundle: true\n")
    return evidence


def approve(evidence, version, *arguments):
    base = ["--workspace", str(evidence.workspace), "models", "approve", str(version), "-u", "WEIGHED", "--why", "good"]
    return _exit_code([*base, *map(str, arguments)])


def status(evidence, version):
    with Store(evidence.workspace) as store:
        return Registry(store).version("WEIGHED", version).status


def test_verified_bundle_of_the_version_is_accepted_and_its_digest_is_in_the_ledger(strict, capsys):
    assert approve(strict, 2, "--bundle", strict.bundle, "--key", strict.public) == 0
    assert status(strict, 2) == "Approved"
    with Store(strict.workspace) as store:
        [entry] = [entry for entry in Registry(store).history("WEIGHED") if entry.value == "Approved"]
    digest = hashlib.sha256(strict.bundle.read_bytes()).hexdigest()
    assert entry.why == f"good [bundle sha256:{digest}]"
    assert "not checked" not in capsys.readouterr().err


def test_approval_without_a_bundle_is_refused_on_every_way(strict, capsys):
    assert approve(strict, 2) == 2
    assert "cannot be approved without an evidence bundle (require_bundle in workspace.yaml)" in capsys.readouterr().err
    with Store(strict.workspace) as store:
        registry = Registry(store)
        with pytest.raises(UsageError, match="without an evidence bundle"):
            registry.set_status(registry.version("WEIGHED", 2), ApprovalStatus.APPROVED, why="good")
        registry.set_status(registry.version("WEIGHED", 2), ApprovalStatus.REJECTED, why="bad", moves_aliases=True)
    assert status(strict, 2) == "Rejected"


def test_bundle_of_another_version_is_refused(strict, capsys):
    assert approve(strict, 1, "--bundle", strict.bundle, "--key", strict.public) == 2
    message = capsys.readouterr().err
    assert (
        f"the bundle is not about model WEIGHED version 1: its run is {strict.runs[1]}, not {strict.runs[0]}" in message
    )
    assert status(strict, 1) == "PendingManualApproval"


@pytest.mark.parametrize(("field", "value"), [("use_case", "TOY"), ("artifact", "0" * 64)])
def test_bundle_of_another_model_is_refused(strict, field, value):
    with Store(strict.workspace) as store:
        registry = Registry(store)
        version = registry.version("WEIGHED", 2)
        facts = {"use_case": "WEIGHED", "run_id": version.run_id, "artifact": version.artifact, field: value}
        with pytest.raises(UsageError, match="the bundle is not about model WEIGHED version 2"):
            registry.set_status(
                version, ApprovalStatus.APPROVED, why="good", evidence=ApprovalEvidence(sha256="ab", **facts)
            )


def test_changed_or_foreign_bundle_is_refused_with_exit_code_3(strict, tmp_path, capsys):
    content = bytearray(strict.bundle.read_bytes())
    content[-5000] ^= 1
    (tmp_path / "changed.tar").write_bytes(content)
    assert approve(strict, 2, "--bundle", tmp_path / "changed.tar", "--key", strict.public) == 3
    message = capsys.readouterr().err
    assert "changed.tar is not verified: files: objects/" in message
    assert message.count("\n") == 1
    other, _ = write_key_pair(tmp_path / "other.pem")
    assert approve(strict, 2, "--bundle", strict.bundle, "--key", other) == 3
    assert "which is not trusted" in capsys.readouterr().err
    assert status(strict, 2) == "PendingManualApproval"


def test_trusted_keys_may_be_those_of_the_workspace(strict, capsys):
    assert approve(strict, 2, "--bundle", strict.bundle) == 2
    assert "give --key or --trust, or set trust in workspace.yaml" in capsys.readouterr().err
    (strict.workspace / "workspace.yaml").write_text("require_bundle: true\ntrust: trust.yaml\n")
    (strict.workspace / "trust.yaml").write_text(f"keys:\n  release: {strict.public}\n")
    assert approve(strict, 2, "--bundle", strict.bundle) == 0
    assert status(strict, 2) == "Approved"


def test_key_without_a_bundle_is_refused(strict, capsys):
    assert approve(strict, 2, "--key", strict.public) == 2
    assert "verify a bundle; give it with --bundle FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "require_bundel: true",
            r"workspace.yaml \(line 1\): require_bundel is not a setting; did you mean 'require_bundle'",
        ),
        ("require_bundle: 'yes'", "require_bundle is 'yes'; expected true or false"),
        ("trust: 3", "trust is 3; expected a text"),
        ("observers:\n  mlflow: {experiment: 00010}", r"line 2\): observers.mlflow.experiment: 00010 is 8 in YAML 1.1"),
        ("- a", "expected a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_settings_that_are_not_valid_are_refused_and_nothing_is_approved(evidence, text, message):
    (evidence.workspace / "workspace.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_workspace_settings(evidence.workspace)
    with Store(evidence.workspace) as store:
        registry = Registry(store)
        with pytest.raises(ConfigError):
            registry.set_status(registry.version("WEIGHED", 2), ApprovalStatus.APPROVED, why="good")
    assert status(evidence, 2) == "PendingManualApproval"


def test_workspace_without_settings_asks_for_nothing(evidence):
    assert read_workspace_settings(evidence.workspace) == WorkspaceSettings()
    assert approve(evidence, 2) == 0
