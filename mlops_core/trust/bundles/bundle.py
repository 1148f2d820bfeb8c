"""Writes evidence bundles: what a run or a model version rests on, from the workspace, as one archive.

``attestations.intoto.jsonl`` holds the statements in envelopes, ``documents/`` what a person reads, ``objects/`` the
predictions and splits by digest, and ``model.sig`` the model's signature; the model itself stays where it is. Equal
state of the workspace and an equal key give equal bytes. Text passes the redaction that records and reports pass.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import file_digest, iter_tree, manifest_of
from mlops_core.datasets.splits import SPLIT_FILE
from mlops_core.errors import MlopsError, StepError, StoreError, UsageError
from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.evaluation.coverage import LEFT_OUT_FILE
from mlops_core.evaluation.evaluation_file import EVALUATION_FILE, read_evaluation
from mlops_core.evaluation.reference_statistics import REFERENCE_FILE
from mlops_core.pipeline import DATASET, PREDICTIONS_OUTPUT, Pipeline
from mlops_core.predictions import PREDICTIONS_FILE
from mlops_core.redaction import environment_redactor
from mlops_core.runners.evidence import predictions_folder
from mlops_core.settings import environment
from mlops_core.trust.bundles import statements
from mlops_core.trust.bundles.archive import (
    APPROVALS,
    ATTESTATIONS,
    CONFIG,
    EVALUATION,
    MODEL,
    MODEL_SIGNATURE,
    RUN,
    VERDICT,
    Member,
    write_archive,
)
from mlops_core.trust.bundles.envelopes import seal
from mlops_core.trust.bundles.model_signing import sign_model
from mlops_core.trust.model_card import version_card
from mlops_core.workspace.ledger import version_subject
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlops_core.trust.bundles.keys import SigningKey
    from mlops_core.workspace.model_versions import ModelVersion
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

OPTIONAL_DOCUMENTS = (REFERENCE_FILE,)
"""Files of a run's folder that a bundle contains if they exist; adding one changes neither format nor verification."""
_SHORTEST_PREFIX = 4
"""With a use case, a shorter text is a model version or an alias and never the beginning of a run id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSubject:
    """What a bundle is about.

    Attributes:
        record: the run.
        version: the model version that it registered; None if it registered none.
    """

    record: RunRecord
    version: ModelVersion | None = None


@dataclass(slots=True)
class _Files:
    """The files of a bundle that is being collected."""

    contents: dict[str, tuple[Member, bytes | Path]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, content: bytes) -> dict[str, str]:
        """Add a file and return the reference by which statements name it."""
        digest = hashlib.sha256(content).hexdigest()
        self.contents[name] = (Member(name=name, size=len(content), sha256=digest), content)
        return {"name": name, "sha256": digest}

    def add_object(self, path: Path) -> dict[str, str]:
        """Add a file by its digest and return the reference by which statements name it."""
        try:
            digest, size = file_digest(path), path.stat().st_size
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error
        name = f"objects/{digest}"
        self.contents[name] = (Member(name=name, size=size, sha256=digest), path)
        return {"name": name, "sha256": digest}

    def members(self) -> list[Member]:
        """Return the files in the order in which the archive has them."""
        return [self.contents[name][0] for name in sorted(self.contents)]


def find_subject(store: Store, text: str, *, use_case: str = "") -> BundleSubject:
    """Return the run or the model version that somebody means.

    Args:
        store: the workspace.
        text: a run id, the beginning of one, or ``latest``; with `use_case` also the number of a version or an alias.
        use_case: name of the use case; empty for a run.

    Raises:
        UsageError: there is none, or the text means two things.
    """
    registry = Registry(store)
    if not use_case:
        record = store.runs.load(text)
        number = record.model_version
        return BundleSubject(
            record=record, version=None if number is None else registry.version(record.use_case, number)
        )
    try:
        version, problem = registry.version(use_case, text), None
    except UsageError as error:
        version, problem = None, error
    run_id = _run_of(store, text, use_case)
    if version is None and not run_id:
        raise problem or UsageError(f"no model version or run '{text}' of '{use_case}'")
    if version is not None and run_id:
        raise UsageError(
            f"'{text}' means version {version.version} of model '{version.use_case}' and run {run_id}; give the "
            "number of the version, or the run id without --usecase"
        )
    return find_subject(store, run_id) if run_id else _subject_of(store, version)


def _run_of(store: Store, text: str, use_case: str) -> str:
    """Return the id of the run that a text means where a use case is given; empty for none."""
    if len(text) < _SHORTEST_PREFIX:
        return ""
    if text == "latest":
        newest = store.runs.newest(use_case=use_case, limit=1)
        return newest[0].run_id if newest else ""
    try:
        return store.runs.full_id(text)
    except UsageError:
        return ""


def _subject_of(store: Store, version: ModelVersion | None) -> BundleSubject:
    assert version is not None  # noqa: S101  for mypy: the caller has looked
    try:
        record = store.runs.load(version.run_id)
    except UsageError:
        raise UsageError(
            f"model {version.use_case} version {version.version}: its run {version.run_id} is not in the workspace any "
            "more, and with it the evidence"
        ) from None
    return BundleSubject(record=record, version=version)


def write_bundle(store: Store, subject: BundleSubject, path: Path, *, key: SigningKey | None = None) -> tuple[str, ...]:
    """Write the bundle of a run or a model version.

    Args:
        store: the workspace.
        subject: what `find_subject` returned.
        path: the archive; an existing file is replaced once the new one is complete.
        key: signs the statements and the model; None for a bundle that is not signed.

    Returns:
        One line for each piece of evidence that is not in the workspace any more.

    Raises:
        UsageError: the run has no verdict, or the file cannot be written.
        StepError, StoreError: predictions, evaluation or model are gone or damaged.
    """
    record = subject.record
    if record.verdict is None:
        raise UsageError(
            f"run {record.run_id} ({record.status}) has no verdict; a bundle shows what a verdict rests on: run it to "
            "its end"
        )
    try:
        pipeline = Pipeline.from_json(record.pipeline)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"the pipeline of run {record.run_id} cannot be read by this version of mlops: {error}"
        ) from error
    files = _Files()
    step, _, output = pipeline.model.rpartition(".")
    artifact = next((one.outputs.get(output, "") for one in record.steps if one.name == step), "")
    claims = _claims(store, subject, pipeline, files, artifact=artifact, key=key)
    payloads = [statements.write_statement(kind, predicate, artifact=artifact) for kind, predicate in claims.items()]
    first = _first_statement(subject, payloads, claims, files, artifact=artifact)
    lines = b"".join(seal(payload, key) + b"\n" for payload in (first, *payloads))
    files.add(ATTESTATIONS, lines)
    write_archive(path, list(files.contents.values()))
    return tuple(files.notes)


def _claims(
    store: Store,
    subject: BundleSubject,
    pipeline: Pipeline,
    files: _Files,
    *,
    artifact: str,
    key: SigningKey | None,
) -> dict[str, dict[str, Any]]:
    """Return the type and the predicate of each statement but the first, and add the files that they name."""
    record, folder = subject.record, store.runs.folder(subject.record.run_id)
    redactor = environment_redactor(environment())
    shown = redactor.data(record.to_json())
    config = files.add(CONFIG, shown["config"].encode("utf-8", "backslashreplace"))
    run = files.add(RUN, _document(shown))
    for name in OPTIONAL_DOCUMENTS:
        if (folder / name).is_file():
            files.add(f"documents/{name}", (folder / name).read_bytes())
    if subject.version is not None:
        files.add("documents/model_card.md", redactor.text(version_card(store, subject.version)).encode())
    claims = {
        statements.PROVENANCE: _provenance(record, config=config, run=run, version=subject.version),
        statements.SPLIT: _split_claim(store, record, pipeline, files),
        statements.PREDICTIONS: _predictions_claim(store, record, pipeline, files),
        statements.METRICS: _metrics_claim(folder, files),
        statements.VERDICT: _verdict_claim(store, record, pipeline, files),
        statements.MODEL: _model_claim(store, subject, files, artifact=artifact, key=key),
    }
    if subject.version is not None:
        entries = [
            asdict(entry)
            for entry in Registry(store).history(record.use_case)
            if entry.subject == version_subject(subject.version.version)
        ]
        data = {"version": subject.version.version, "status": subject.version.status, "entries": entries}
        claims[statements.APPROVALS] = {
            "version": subject.version.version,
            "status": str(subject.version.status),
            "file": files.add(APPROVALS, _document(redactor.data(data))),
        }
    return claims


def _first_statement(
    subject: BundleSubject, payloads: Iterable[bytes], kinds: Iterable[str], files: _Files, *, artifact: str
) -> bytes:
    listed = [
        {"predicateType": kind, "sha256": hashlib.sha256(payload).hexdigest()}
        for kind, payload in zip(kinds, payloads, strict=True)
    ]
    predicate = {
        "format": statements.FORMAT,
        "runId": subject.record.run_id,
        "useCase": subject.record.use_case,
        "modelVersion": None if subject.version is None else subject.version.version,
        "statements": listed,
        "files": [asdict(member) for member in files.members()],
    }
    return statements.write_statement(statements.BUNDLE, predicate, artifact=artifact)


def _provenance(
    record: RunRecord, *, config: Mapping[str, str], run: Mapping[str, str], version: ModelVersion | None
) -> dict[str, Any]:
    """Return how the model was made, as SLSA provenance of version 1."""
    started = dt.datetime.fromisoformat(record.created)
    finished = started + dt.timedelta(seconds=record.duration_s)
    dataset = record.dataset
    dependencies = [{"name": f"dataset {dataset.name}", "digest": {"sha256": dataset.digest}}] if dataset else []
    if version is not None and version.code:
        dependencies.append({"name": f"code of {record.plugin}", "digest": {"sha256": version.code}})
    code = {
        name: digest for step in record.steps for name, digest in step.key_components.items() if name[:5] == "code "
    }
    dependencies += [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(code.items())]
    return {
        "buildDefinition": {
            "buildType": statements.BUILD_TYPE,
            "externalParameters": {
                "useCase": record.use_case,
                "parameters": {name: _exact(value) for name, value in record.parameters.items()},
                "seed": record.seed,
                "config": config,
            },
            "internalParameters": {
                "runner": record.runner,
                "plugin": record.plugin,
                "environment": {name: _exact(value) for name, value in record.environment.items()},
            },
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": f"https://mlops_usecases/runner/{record.runner}"},
            "metadata": {
                "invocationId": record.run_id,
                "startedOn": started.isoformat(timespec="milliseconds"),
                "finishedOn": finished.isoformat(timespec="milliseconds"),
            },
            "byproducts": [run],
        },
    }


def _split_claim(store: Store, record: RunRecord, pipeline: Pipeline, files: _Files) -> dict[str, Any]:
    """Return the split manifests among the outputs of the steps before the evaluation."""
    evaluation = pipeline.evaluation_step
    references = [reference for reference in evaluation.inputs.values() if reference != DATASET]
    splits, missing = [], []
    ancestors = pipeline.ancestors(evaluation.name)
    for step in pipeline.ordered():
        found = record.step(step.name) if step.name in ancestors else None
        for output, digest in sorted(found.outputs.items()) if found else ():
            place = {"step": step.name, "output": output, "artifact": digest}
            path = store.artifacts.path(digest) / SPLIT_FILE
            if not store.artifacts.has(digest):
                files.notes.append(f"the output {step.name}.{output}, artifact {digest[:12]}, is not in the workspace")
                missing.append(place)
            elif path.is_file():
                reference = f"{step.name}.{output}"
                position = references.index(reference) if reference in references else None
                file = files.add_object(path)
                _require_unchanged(store, digest, SPLIT_FILE, file["sha256"])
                splits.append({**place, "file": file, "position": position})
    return {"splits": splits, "missing": missing}


def _predictions_claim(store: Store, record: RunRecord, pipeline: Pipeline, files: _Files) -> dict[str, Any]:
    step = record.step(pipeline.evaluation_step.name)
    digest = step.outputs.get(PREDICTIONS_OUTPUT, "") if step else ""
    found: dict[str, Any] = {"artifact": digest}
    folder = predictions_folder(store, record.run_id)
    for name, key in ((PREDICTIONS_FILE, "file"), (LEFT_OUT_FILE, "leftOut")):
        if key == "file" or (folder / name).is_file():
            found[key] = files.add_object(folder / name)
            _require_unchanged(store, digest, name, found[key]["sha256"])
    return found


def _metrics_claim(folder: Path, files: _Files) -> dict[str, Any]:
    try:
        content = (folder / EVALUATION_FILE).read_bytes()
    except OSError as error:
        raise StepError(f"{folder / EVALUATION_FILE} cannot be read: {error.strerror}") from error
    notes = read_evaluation(folder, ()).notes
    return {"file": files.add(EVALUATION, content), "testSet": str(notes.get(TEST_SET_NOTE, ""))}


def _verdict_claim(store: Store, record: RunRecord, pipeline: Pipeline, files: _Files) -> dict[str, Any]:
    assert record.verdict is not None  # noqa: S101  for mypy: `write_bundle` has looked
    champion: dict[str, Any] | None = None
    if record.champion is not None and pipeline.gate.needs_champion:
        champion = {"version": record.champion, "file": None, "problem": ""}
        try:
            run_id = Registry(store).version(record.use_case, record.champion).run_id
            champion["file"] = files.add_object(predictions_folder(store, run_id) / PREDICTIONS_FILE)
        except MlopsError as error:
            champion["problem"] = str(error)
            files.notes.append(f"the predictions of the champion, version {record.champion}, are gone: {error}")
    return {
        "condition": str(pipeline.gate.condition),
        "outcome": str(record.verdict.outcome),
        "champion": champion,
        "file": files.add(VERDICT, _document(record.verdict.to_json())),
    }


def _model_claim(
    store: Store, subject: BundleSubject, files: _Files, *, artifact: str, key: SigningKey | None
) -> dict[str, Any]:
    """Return the files of the model, and its signature."""
    record = subject.record
    if not artifact or not store.artifacts.has(artifact):
        raise StoreError(
            f"the model of run {record.run_id}, artifact {artifact[:12] or 'none'}, is not in the workspace"
        )
    found = list(iter_tree(store.artifacts.path(artifact)))
    if manifest_of(found).digest != artifact:
        raise StoreError(
            f"the model of run {record.run_id} is damaged: {store.artifacts.damage(artifact)}; restore it, or run "
            "the use case again"
        )
    version = subject.version
    data = {
        "artifact": artifact,
        "files": [file._asdict() for file in found],
        "version": None if version is None else {"version": version.version, **version.record()},
    }
    claim: dict[str, Any] = {"file": files.add(MODEL, _document(data)), "signature": None}
    if key is not None:
        name = f"{record.use_case}-{version.version}" if version else f"{record.use_case}-{record.run_id}"
        signature = sign_model({file.path: file.sha256 for file in found}, key, name=name)
        claim["signature"] = files.add(MODEL_SIGNATURE, signature)
    return claim


def _require_unchanged(store: Store, artifact: str, name: str, sha256: str) -> None:
    """Refuse a file of an artifact that is not what the artifact's manifest says.

    Raises:
        StoreError: it has changed.
    """
    manifest = store.manifests.find(artifact)
    if manifest is not None and manifest.get(name, sha256) != sha256:
        raise StoreError(f"{store.artifacts.path(artifact) / name} has changed since the step wrote it")


def _document(data: object) -> bytes:
    """Return a JSON document for people; escapes stand for what UTF-8 cannot express."""
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def _exact(value: object) -> object:
    """Return a value of JSON, as text where canonical JSON would not hold it exactly."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    is_exact = isinstance(value, bool) or (
        isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1 << 53
    )
    return value if is_exact else str(value)
