"""Bundles from the workspace to another machine, and what each check says about evidence that contradicts itself."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from mlops_core import run
from mlops_core.cli import _exit_code
from mlops_core.errors import StoreError, UsageError
from mlops_core.predictions import PREDICTIONS_FILE
from mlops_core.trust.bundles import archive, statements
from mlops_core.trust.bundles.archive import ATTESTATIONS, Member, write_archive
from mlops_core.trust.bundles.bundle import find_subject, write_bundle
from mlops_core.trust.bundles.envelopes import open_envelope, seal
from mlops_core.trust.bundles.keys import TrustedKeys, read_public_key, read_signing_key, write_key_pair
from mlops_core.trust.bundles.statements import read_statement, write_statement
from mlops_core.trust.bundles.verification import CHECKS, verify_bundle
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

TOY = Path(__file__).parents[1] / "toy"


def outcomes(report):
    return {check.name: str(check.outcome) for check in report.checks}


def members_of(path):
    with tarfile.open(path) as opened:
        return {info.name: opened.extractfile(info).read() for info in opened}


def rewritten(source, target, signer, change):
    """Write a bundle with other contents, with every digest right and signed again: only its meaning can be wrong.

    `change` receives the files by name and the predicates by type, and changes them in place.
    """
    files = members_of(source)
    first, *others = [read_statement(open_envelope(line).payload) for line in files.pop(ATTESTATIONS).splitlines()]
    claims = {statement.predicate_type: json.loads(json.dumps(dict(statement.predicate))) for statement in others}
    before = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    head = dict(first.predicate)
    change(files, claims, head)
    renamed = {}
    for name, content in list(files.items()):
        digest = hashlib.sha256(content).hexdigest()
        new = f"objects/{digest}" if name.startswith("objects/") else name
        renamed[name, before.get(name)] = (new, digest)
        files[new] = files.pop(name)

    def mended(value):
        if isinstance(value, dict):
            if value.keys() == {"name", "sha256"}:
                name, digest = renamed.get((value["name"], value["sha256"]), (value["name"], value["sha256"]))
                return {"name": name, "sha256": digest}
            return {name: mended(one) for name, one in value.items()}
        return [mended(one) for one in value] if isinstance(value, list) else value

    payloads = {kind: write_statement(kind, mended(claim), artifact=first.artifact) for kind, claim in claims.items()}
    members = [
        Member(name=name, size=len(files[name]), sha256=hashlib.sha256(files[name]).hexdigest())
        for name in sorted(files)
    ]
    head |= {
        "statements": [
            {"predicateType": kind, "sha256": hashlib.sha256(payload).hexdigest()} for kind, payload in payloads.items()
        ],
        "files": [{"name": one.name, "size": one.size, "sha256": one.sha256} for one in members],
    }
    lines = [write_statement(first.predicate_type, head, artifact=first.artifact), *payloads.values()]
    content = b"".join(seal(line, signer) + b"\n" for line in lines)
    envelopes = Member(name=ATTESTATIONS, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    write_archive(target, [(envelopes, content), *((one, files[one.name]) for one in members)])


def edit_json(name, edit):
    def change(files, claims, head):
        data = json.loads(files[name])
        edit(data)
        files[name] = json.dumps(data).encode()

    return change


def edit_object(kind, edit, *, of=lambda claim: claim["file"]):
    """Change the lines of an object that the statement of a type names."""

    def change(files, claims, head):
        name = of(claims[kind])["name"]
        files[name] = "".join(edit(files[name].decode().splitlines(keepends=True))).encode()

    return change


def split_file(claim):
    return claim["splits"][0]["file"]


# --- Writing ----------------------------------------------------------------------------------------------


def test_same_run_and_key_give_the_same_bytes(evidence, tmp_path):
    for number, subject in enumerate(["latest", evidence.runs[1], evidence.runs[1][:-2]]):
        evidence.write(tmp_path / f"{number}.tar", subject)
        assert (tmp_path / f"{number}.tar").read_bytes() == evidence.bundle.read_bytes()
    evidence.write(tmp_path / "model.tar", "2", use_case="weighed")
    assert (tmp_path / "model.tar").read_bytes() == evidence.bundle.read_bytes()


def test_bundle_is_a_plain_archive_of_readable_documents(evidence):
    with tarfile.open(evidence.bundle) as opened:
        infos = opened.getmembers()
    assert [info.name for info in infos] == sorted(info.name for info in infos)
    assert {(info.mtime, info.mode, info.uid, info.uname, info.isreg()) for info in infos} == {(0, 0o644, 0, "", True)}
    files = members_of(evidence.bundle)
    assert "limit: 5.3" in files["documents/config.yaml"].decode()
    assert json.loads(files["documents/run.json"])["run_id"] == evidence.runs[1]
    provenance = read_statement(open_envelope(files[ATTESTATIONS].splitlines()[1]).payload)
    assert provenance.predicate_type == "https://slsa.dev/provenance/v1"
    dependencies = {entry["name"] for entry in provenance.predicate["buildDefinition"]["resolvedDependencies"]}
    assert {"code mlops_weighed.steps", "dataset parcels"} <= dependencies


def test_approval_changes_what_a_bundle_says(evidence, tmp_path):
    with Store(evidence.workspace) as store:
        registry = Registry(store)
        registry.set_status(registry.version("WEIGHED", 2), ApprovalStatus.APPROVED, why="good", who="ann")
    evidence.write(tmp_path / "approved.tar")
    report = verify_bundle(tmp_path / "approved.tar", keys=evidence.keys)
    assert report.is_verified
    [check] = [check for check in report.checks if check.name == "approvals"]
    assert check.detail.startswith("version 2: 2 decisions in order, Approved by ann")
    assert (tmp_path / "approved.tar").read_bytes() != evidence.bundle.read_bytes()


def test_subject_that_is_not_there_or_means_two_things_is_refused(evidence):
    with Store(evidence.workspace) as store:
        for text, use_case, message in [
            ("9", "WEIGHED", "no version or alias '9'"),
            ("none", "WEIGHED", "no version or alias 'none'"),
            ("none", "", "no run 'none'"),
            (evidence.runs[0][:4], "", "is ambiguous"),
        ]:
            with pytest.raises(UsageError, match=message):
                find_subject(store, text, use_case=use_case)
        registry = Registry(store)
        registry.move_alias("WEIGHED", "latest", version=1, expected=None, why="test")
        with pytest.raises(UsageError, match=f"'latest' means version 1 of model 'WEIGHED' and run {evidence.runs[1]}"):
            find_subject(store, "latest", use_case="WEIGHED")
        assert find_subject(store, evidence.runs[0], use_case="WEIGHED").version.version == 1


def test_run_without_a_verdict_is_refused(evidence, tmp_path):
    failed = run("WEIGHED", workspace=evidence.workspace, only=["split"])
    assert failed.verdict is None
    with pytest.raises(UsageError, match=r"\(partial\) has no verdict"):
        evidence.write(tmp_path / "none.tar")
    assert not (tmp_path / "none.tar").exists()


def test_damaged_or_missing_artifacts_are_refused(evidence, tmp_path):
    with Store(evidence.workspace) as store:
        record = store.runs.load(evidence.runs[1])
        model = store.artifacts.path(record.step("train").outputs["model"])
        predictions = store.artifacts.path(record.step("evaluate").outputs["predictions"]) / PREDICTIONS_FILE
    predictions.chmod(0o644)
    content = predictions.read_text()
    predictions.write_text(content.replace('"light"', '"heavy"'))
    with pytest.raises(StoreError, match="has changed since the step wrote it"):
        evidence.write(tmp_path / "none.tar")
    predictions.write_text(content)
    (model / "limit.txt").chmod(0o644)
    (model / "limit.txt").write_text("0")
    with pytest.raises(StoreError, match=r"the model of run .* is damaged: .*limit.txt has changed"):
        evidence.write(tmp_path / "none.tar")
    shutil.rmtree(model)
    with pytest.raises(StoreError, match="is not in the workspace"):
        evidence.write(tmp_path / "none.tar")
    assert not (tmp_path / "none.tar").exists()


def test_champion_whose_artifact_is_gone_is_named_and_nothing_else_is_lost(evidence, tmp_path):
    with Store(evidence.workspace) as store:
        champion = store.runs.load(evidence.runs[0]).step("evaluate").outputs["predictions"]
        shutil.rmtree(store.artifacts.path(champion))
    [note] = evidence.write(tmp_path / "gone.tar")
    assert "the predictions of the champion, version 1, are gone" in note
    report = verify_bundle(tmp_path / "gone.tar", keys=evidence.keys)
    assert report.is_verified
    assert set(report.not_checked) == {"model files", "verdict"}


def test_secrets_of_the_environment_are_not_in_a_bundle(evidence, tmp_path, monkeypatch):
    with Store(evidence.workspace) as store:
        registry = Registry(store)
        why = "token sesame-open-4711 works, see https://me:hunter22@example.org/x"
        registry.set_status(registry.version("WEIGHED", 2), ApprovalStatus.APPROVED, why=why)
    monkeypatch.setenv("REVIEW_TOKEN", "sesame-open-4711")
    evidence.write(tmp_path / "secret.tar")
    monkeypatch.delenv("REVIEW_TOKEN")
    content = (tmp_path / "secret.tar").read_bytes()
    assert b"sesame" not in content
    assert b"hunter22" not in content
    assert verify_bundle(tmp_path / "secret.tar", keys=evidence.keys).is_verified


def test_killed_bundle_leaves_the_old_file_or_the_whole_new_one(evidence, tmp_path):
    target = tmp_path / "out" / "bundle.tar"
    target.parent.mkdir()
    whole = evidence.bundle.read_bytes()
    script = (
        "import sys, os\nfrom pathlib import Path\n"
        "from mlops_core.trust.bundles.bundle import find_subject, write_bundle\n"
        "from mlops_core.trust.bundles.keys import read_signing_key\nfrom mlops_core.workspace.store import Store\n"
        "key = read_signing_key(Path(sys.argv[2]))\nprint('ready', flush=True)\n"
        "with Store(Path(sys.argv[1])) as store:\n    subject = find_subject(store, 'latest')\n"
        "    while True:\n        write_bundle(store, subject, Path(sys.argv[3]), key=key)\n"
    )
    for round_ in range(int(os.environ.get("MLOPS_FAULT_ROUNDS", "2"))):
        process = subprocess.Popen(
            [sys.executable, "-c", script, evidence.workspace, evidence.private, target], stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.002 * (round_ % 40))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if target.exists():
            assert target.read_bytes() == whole
    assert [path.name for path in target.parent.glob("*.tar")] in ([], ["bundle.tar"])


# --- On another machine -----------------------------------------------------------------------------------


def test_bundle_is_verified_in_a_clean_process_without_the_workspace(evidence, started, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = shutil.copy(evidence.bundle, elsewhere / "bundle.tar")
    key = shutil.copy(evidence.public, elsewhere / "key.pem")
    shutil.rmtree(evidence.workspace)
    with_plugin = started(["verify", moved, "--key", key, "--json"], cwd=elsewhere)
    report = json.loads(with_plugin.stdout)
    assert (with_plugin.returncode, report["is_verified"], report["is_recomputed"]) == (0, True, True), with_plugin
    assert report["not_checked"] == ["model files"]
    assert [check["name"] for check in report["checks"]] == list(CHECKS)
    assert report["key"].startswith("key.pem (")
    without = started(["verify", moved, "--key", key], cwd=elsewhere, plugin=None)
    assert without.returncode == 0, without
    assert "not checked  metrics" in without.stdout
    assert "plugin mlops-weighed 0.1.0, which computes metrics, is not installed here" in without.stdout
    assert without.stdout.splitlines()[-1].endswith("NOT CHECKED: model files, metrics, verdict")
    strict = started(["verify", moved, "--key", key, "--require-recomputed"], cwd=elsewhere, plugin=None)
    assert strict.returncode == 3
    assert "NOT VERIFIED: not checked, and required: model files, metrics, verdict" in strict.stdout
    assert sorted(path.name for path in elsewhere.iterdir()) == ["bundle.tar", "key.pem"]


def test_toy_from_run_to_verification(ran, workspace, started, tmp_path):
    assert ran.status == "accepted"
    write_key_pair(tmp_path / "k.pem")
    with Store(workspace) as store:
        write_bundle(store, find_subject(store, "latest"), tmp_path / "t.tar", key=read_signing_key(tmp_path / "k.pem"))
    done = started(["verify", "t.tar", "--key", "k.pub.pem", "--json"], cwd=tmp_path, plugin=TOY)
    report = json.loads(done.stdout)
    assert (done.returncode, report["is_verified"]) == (0, True)
    found = {check["name"]: check for check in report["checks"]}
    assert found["metrics"]["outcome"] == found["verdict"]["outcome"] == "passed"
    assert found["split"]["outcome"] == found["predictions"]["outcome"] == "passed"
    assert found["split"]["detail"].startswith("no group in two parts, no content in two parts")
    no_plugin = json.loads(
        started(["verify", "t.tar", "--key", "k.pub.pem", "--json"], cwd=tmp_path, plugin=None).stdout
    )
    assert no_plugin["is_verified"]
    assert {check["name"]: check["outcome"] for check in no_plugin["checks"]}["verdict"] == "passed"


def test_bundle_of_a_rejected_run_shows_why(evidence, tmp_path):
    record = run("WEIGHED", workspace=evidence.workspace, overrides=["training.limit=9"], parameters={"q_acc": "0.99"})
    assert record.status == "rejected"
    evidence.write(tmp_path / "rejected.tar")
    report = verify_bundle(tmp_path / "rejected.tar", keys=evidence.keys)
    assert (report.is_verified, report.model_version) == (True, None)
    details = {check.name: check.detail for check in report.checks}
    assert details["verdict"].startswith("rejected: acc >= q_acc")
    assert "registered no model version" in details["approvals"]


# --- Trust ------------------------------------------------------------------------------------------------


def test_another_key_is_not_trusted(evidence, tmp_path):
    other, key = write_key_pair(tmp_path / "other.pem")
    report = verify_bundle(evidence.bundle, keys=TrustedKeys((read_public_key(other),)))
    assert not report.is_verified
    assert "which is not trusted; trusted: other.pub.pem" in report.mismatch
    both = TrustedKeys((key, *evidence.keys.keys))
    assert verify_bundle(evidence.bundle, keys=both).is_verified
    assert "give that key with --key or --trust" in verify_bundle(evidence.bundle, keys=None).mismatch


def test_unsigned_bundle_is_verified_only_where_that_is_allowed(evidence, tmp_path):
    evidence.write(tmp_path / "unsigned.tar", key=None)
    assert "the bundle is not signed; accept" in verify_bundle(tmp_path / "unsigned.tar", keys=None).mismatch
    with_key = verify_bundle(tmp_path / "unsigned.tar", keys=evidence.keys)
    assert "the bundle is not signed; expected a signature of" in with_key.mismatch
    allowed = verify_bundle(tmp_path / "unsigned.tar", keys=None, allows_unsigned=True)
    assert allowed.is_verified
    assert allowed.warnings == ("the bundle is not signed: anybody can have written it",)
    assert outcomes(allowed)["model signature"] == "not checked"
    signed = verify_bundle(evidence.bundle, keys=None, allows_unsigned=True)
    assert not signed.is_verified
    with pytest.raises(UsageError, match="--allow-unsigned: a key was given, too"):
        verify_bundle(evidence.bundle, keys=evidence.keys, allows_unsigned=True)


def test_model_folder_is_compared_with_what_was_signed(evidence, tmp_path):
    with Store(evidence.workspace) as store:
        artifact = store.runs.load(evidence.runs[1]).step("train").outputs["model"]
        shutil.copytree(store.artifacts.path(artifact), tmp_path / "model")
    (tmp_path / "model" / "mlops-model.json").write_text("{}")  # as an export has it
    report = verify_bundle(evidence.bundle, keys=evidence.keys, model=tmp_path / "model")
    assert report.is_verified
    assert report.not_checked == ()
    (tmp_path / "model" / "extra.txt").write_text("x")
    (tmp_path / "model" / "limit.txt").unlink()
    report = verify_bundle(evidence.bundle, keys=evidence.keys, model=tmp_path / "model")
    assert "2 of its files differ from what was signed: extra.txt (added), limit.txt (missing)" in report.mismatch


def test_a_bundle_holds_the_reference_with_which_the_version_was_registered(evidence, tmp_path):
    with tarfile.open(evidence.bundle) as archive:
        held = archive.extractfile("documents/reference_statistics.json").read()
    path = evidence.workspace / "runs" / evidence.runs[1] / "reference_statistics.json"
    assert held == path.read_bytes()
    path.write_text(path.read_text().replace('"samples":["', '"samples":["x'))
    evidence.write(tmp_path / "other.tar")
    report = verify_bundle(tmp_path / "other.tar", keys=evidence.keys)
    assert "not the reference" in report.mismatch
    assert report.mismatch.endswith("of version 2")
    path.unlink()
    evidence.write(tmp_path / "none.tar")
    assert "reference_statistics.json is missing" in verify_bundle(tmp_path / "none.tar", keys=evidence.keys).mismatch


def test_digest_of_the_file_is_that_of_sha256sum(evidence):
    report = verify_bundle(evidence.bundle, keys=evidence.keys, is_hashed=True)
    assert report.sha256 == hashlib.sha256(evidence.bundle.read_bytes()).hexdigest()
    assert json.loads(json.dumps(report.to_json()))["sha256"] == report.sha256


def test_file_that_cannot_be_read_is_a_usage_error(evidence, tmp_path, capsys):
    for path, message in [(tmp_path / "none.tar", "No such file"), (tmp_path, "it is a folder")]:
        with pytest.raises(UsageError, match=message):
            verify_bundle(path, keys=evidence.keys)
    os.mkfifo(tmp_path / "pipe")
    assert _exit_code(["verify", str(tmp_path / "pipe"), "--key", str(evidence.public)]) == 2
    assert "it is not a regular file" in capsys.readouterr().err


# --- Evidence that contradicts itself, correctly signed -------------------------------------------------------


def _set(data, value, *path):
    *outer, last = path
    for name in outer:
        data = data[name]
    data[last] = value


CONTRADICTIONS = {
    "a prediction left out": (
        edit_object(statements.PREDICTIONS, lambda lines: lines[:-1]),
        "predictions: the predictions are of another test set than the evaluation's",
    ),
    "a sample twice": (
        edit_object(statements.PREDICTIONS, lambda lines: [*lines, lines[-1]]),
        "predictions: sample 'parcel-227' has two predictions",
    ),
    "a score that is not a number": (
        edit_object(
            statements.PREDICTIONS, lambda lines: [lines[0], lines[1].replace('"scores": [', '"scores": ["x", ')]
        ),
        "predictions: it cannot be read: StepError: the bundle/predictions/predictions.jsonl (line 2) is not a",
    ),
    "a score that is infinite": (
        edit_object(
            statements.PREDICTIONS, lambda lines: [lines[0], lines[1].replace('"scores": [', '"scores": [1e999, ')]
        ),
        "predictions: it cannot be read: StepError",
    ),
    "a sample that the split does not have": (
        edit_object(statements.SPLIT, lambda lines: [lines[0], *lines[2:]], of=split_file),
        "predictions: predicted sample 'parcel-000' is not in split.split; expected predictions of the test samples",
    ),
    "a test sample that was not predicted": (
        edit_object(
            statements.SPLIT, lambda lines: [*lines, f"parcel-999,sender-0,heavy,test,{64 * 'a'},9\n"], of=split_file
        ),
        "predictions: test sample 'parcel-999' of split.split has no prediction; expected each test sample",
    ),
    "a group in two parts": (
        edit_object(
            statements.SPLIT, lambda lines: [*lines[:-1], lines[-1].replace("sender-59", "sender-0")], of=split_file
        ),
        "split: split.split: split leaks: 'parcel-000' (test) and 'parcel-239' (train) are of the same group",
    ),
    "the same content in two parts": (
        edit_object(
            statements.SPLIT,
            lambda lines: [*lines[:-1], lines[-1].replace(lines[-1].split(",")[4], lines[1].split(",")[4])],
            of=split_file,
        ),
        "have the same content, SHA-256 ",
    ),
    "a sample in no part": (
        edit_object(statements.SPLIT, lambda lines: [*lines[:-1], lines[-1].replace("train", "")], of=split_file),
        "split: split.split: 1 sample in no part of the split",
    ),
    "a metric that is not that of the predictions": (
        edit_json(archive.EVALUATION, lambda data: _set(data, 0.99, "classification_metrics", "acc", "value")),
        "metrics: acc was recorded as 0.99; computed again it is 0.9833333333",
    ),
    "a bound that is not that of the predictions": (
        edit_json(
            archive.EVALUATION,
            lambda data: _set(data, 0.98, "classification_metrics", "acc", "confidence_interval", "low"),
        ),
        "metrics: acc has a lower bound that was recorded as 0.98",
    ),
    "a threshold that was edited": (
        edit_json(archive.RUN, lambda data: _set(data, 0.999, "parameters", "q_acc")),
        "verdict: the verdict was recorded as accepted; judged again it is rejected",
    ),
    "a verdict that was edited": (
        edit_json(archive.VERDICT, lambda data: _set(data, "better than ever", "message")),
        "verdict: documents/verdict.json and documents/run.json hold different verdicts",
    ),
    "another run's configuration": (
        edit_json(archive.RUN, lambda data: _set(data, "training: {}", "config")),
        "provenance: the configuration is not the same in every statement",
    ),
    "another seed": (
        edit_json(archive.RUN, lambda data: _set(data, 7, "seed")),
        "provenance: the seed is not the same",
    ),
    "another list of the model's files": (
        edit_json(archive.MODEL, lambda data: _set(data, "0" * 64, "files", 0, "sha256")),
        "model signature: the files in documents/model.json do not add up to the artifact",
    ),
    "an approval out of thin air": (
        edit_json(archive.APPROVALS, lambda data: _set(data, "Approved", "entries", 0, "value")),
        "approvals: the newest entry says Approved, and the version is PendingManualApproval",
    ),
    "an approval that follows from nothing": (
        edit_json(
            archive.APPROVALS,
            lambda data: data["entries"].append(
                {**data["entries"][0], "sequence": 999, "value": "Approved", "previous": "Rejected"}
            ),
        ),
        "approvals: entry 999 of the ledger changes Rejected, and the one before it says PendingManualApproval",
    ),
    "approvals out of order": (
        edit_json(
            archive.APPROVALS,
            lambda data: data["entries"].append(
                {**data["entries"][0], "sequence": 0, "previous": "PendingManualApproval"}
            ),
        ),
        "approvals: entry 0 of the ledger is older than the one before it",
    ),
    "a document that is not JSON": (
        lambda files, claims, head: files.update({archive.RUN: b"{"}),
        "provenance: it cannot be read: JSONDecodeError",
    ),
    "a document that is missing": (
        lambda files, claims, head: files.pop(archive.APPROVALS),
        "statements: a statement names documents/approvals.json, which the first one does not list",
    ),
    "a statement that is missing": (
        lambda files, claims, head: claims.pop(statements.SPLIT),
        "split: the bundle lacks a statement of the type https://mlops_usecases/split/v1",
    ),
    "a newer format": (
        lambda files, claims, head: head.update({"format": "mlops-bundle/2"}),
        "statements: the bundle has the format 'mlops-bundle/2'; this mlops reads 'mlops-bundle/1': use a newer one",
    ),
    "another run id": (
        lambda files, claims, head: head.update({"runId": "20200101-000000-000000"}),
        "provenance: the run is not the same",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_evidence_that_contradicts_itself_is_not_verified(evidence, tmp_path, name):
    change, expected = CONTRADICTIONS[name]
    rewritten(evidence.bundle, tmp_path / "changed.tar", evidence.signer, change)
    report = verify_bundle(tmp_path / "changed.tar", keys=evidence.keys)
    assert not report.is_verified
    assert expected in report.mismatch
    assert "\n" not in report.mismatch


def test_rewriting_without_a_change_stays_verified(evidence, tmp_path):
    rewritten(evidence.bundle, tmp_path / "same.tar", evidence.signer, lambda files, claims, head: None)
    assert verify_bundle(tmp_path / "same.tar", keys=evidence.keys).is_verified
    assert (tmp_path / "same.tar").read_bytes() == evidence.bundle.read_bytes()


def test_statements_and_documents_of_a_later_version_are_accepted_and_named(evidence, tmp_path):
    def change(files, claims, head):
        files["documents/model_card.md"] = b"# Card\n"
        claims["https://mlops_usecases/reference/v1"] = {"anything": 1}

    rewritten(evidence.bundle, tmp_path / "more.tar", evidence.signer, change)
    report = verify_bundle(tmp_path / "more.tar", keys=evidence.keys)
    assert report.is_verified
    assert report.warnings == ("not understood by this version of mlops: https://mlops_usecases/reference/v1",)


def test_another_version_of_the_plugin_is_named_where_values_differ(evidence, tmp_path):
    def change(files, claims, head):
        inside = claims[statements.PROVENANCE]["buildDefinition"]["internalParameters"]
        inside["plugin"] = "mlops-weighed 0.2.0"
        edit_json(archive.RUN, lambda data: _set(data, "mlops-weighed 0.2.0", "plugin"))(files, claims, head)

    rewritten(evidence.bundle, tmp_path / "other.tar", evidence.signer, change)
    report = verify_bundle(tmp_path / "other.tar", keys=evidence.keys)
    assert report.is_verified
    [metrics] = [check for check in report.checks if check.name == "metrics"]
    assert "(by mlops-weighed 0.1.0, and the run had mlops-weighed 0.2.0)" in metrics.detail

    def also(files, claims, head):
        change(files, claims, head)
        edit_json(archive.EVALUATION, lambda data: _set(data, 0.99, "classification_metrics", "acc", "value"))(
            files, claims, head
        )

    rewritten(evidence.bundle, tmp_path / "both.tar", evidence.signer, also)
    report = verify_bundle(tmp_path / "both.tar", keys=evidence.keys)
    [metrics] = [check for check in report.checks if check.name == "metrics"]
    assert str(metrics.outcome) == "not checked"
    assert "by mlops-weighed 0.1.0, and the run had mlops-weighed 0.2.0, which may be why acc was" in metrics.detail
    assert not report.is_recomputed
