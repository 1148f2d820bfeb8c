"""The checks of what a bundle says, once its bytes are known to be those that were signed.

Each check returns what it found, or raises: `EvidenceFaultError` where the evidence contradicts itself,
`NotCheckedError` where it could not be checked here. Metrics and verdict are computed again by the installed plugin;
everything else needs nothing but the bundle.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import TreeFile, manifest_of
from mlops_core.datasets.leaks import check_leaks
from mlops_core.errors import MlopsError, PluginError, UsageError
from mlops_core.evaluation.coverage import check_coverage, read_left_out
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.evaluation.reference_statistics import REFERENCE_FILE
from mlops_core.gates.verdicts import Verdict
from mlops_core.installed.distributions import version_of
from mlops_core.pipeline import Pipeline
from mlops_core.predictions import digest_test_set, read_predictions
from mlops_core.quantities import counted
from mlops_core.reading import parse_json
from mlops_core.trust.bundles import archive, recomputation, statements
from mlops_core.trust.bundles.differences import metric_difference, verdict_difference
from mlops_core.trust.bundles.envelopes import EvidenceFaultError
from mlops_core.trust.bundles.model_signing import compare_model_folder, exported_files, verify_model_signature
from mlops_core.trust.bundles.split_samples import (
    BundledSplit,
    PredictedSample,
    compare_samples,
    part_counts,
    read_bundled_split,
    split_folder,
)
from mlops_core.use_cases.discovery import find_use_case
from mlops_core.workspace.ledger import version_subject
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.records import RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_core.predictions import Predictions
    from mlops_core.trust.bundles.keys import TrustedKeys
    from mlops_core.trust.bundles.statements import Statement

_CORE = "mlops-usecases"
_SHOWN = 3


class NotCheckedError(MlopsError):
    """Something could not be checked here; the message says why."""


@dataclass(kw_only=True)
class BundleContents:
    """What a bundle holds.

    Attributes:
        first: the statement that lists the others and the files.
        claims: type -> every other statement.
        documents: name of the member -> content.
        scratch: folder with the predictions, the champion's predictions, the splits and the evaluation.
        keys: the trusted keys; None where the bundle is not signed.
        model: folder of the model to compare; None for none.
        recomputes: read predictions and splits, and compute metrics and verdict again.
        failed: name of a check that failed; the plugin is not called on evidence that is known to be wrong.
    """

    first: Statement
    claims: Mapping[str, Statement]
    documents: Mapping[str, bytes]
    scratch: Path
    keys: TrustedKeys | None
    model: Path | None = None
    recomputes: bool = True
    failed: str = ""
    _parsed: dict[str, Any] = field(default_factory=dict)

    # --- What several checks read ---------------------------------------------------------------------------

    def claim(self, kind: str) -> Mapping[str, Any]:
        """Return what the statement of a type says.

        Raises:
            EvidenceFaultError: there is none.
        """
        if kind not in self.claims:
            raise EvidenceFaultError(f"the bundle lacks a statement of the type {kind}")
        return self.claims[kind].predicate

    def json_document(self, name: str) -> Any:
        """Return the value of a JSON document.

        Raises:
            EvidenceFaultError: it is missing.
            ValueError: it is not JSON.
        """
        if name not in self._parsed:
            if name not in self.documents:
                raise EvidenceFaultError(f"{name} is not in the bundle")
            self._parsed[name] = parse_json(self.documents[name])
        return self._parsed[name]

    @functools.cached_property
    def record(self) -> RunRecord:
        """The record of the run."""
        return RunRecord.from_json(self.json_document(archive.RUN))

    @functools.cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline of the run."""
        return Pipeline.from_json(self.record.pipeline)

    def _require_recomputation(self) -> None:
        if not self.recomputes:
            raise NotCheckedError("not asked for (--no-recompute)")

    # --- Provenance and model -------------------------------------------------------------------------------

    def check_provenance(self) -> str:
        """Compare run, configuration and provenance with each other."""
        record, first = self.record, self.first.predicate
        claim = self.claim(statements.PROVENANCE)
        outside, inside = (claim["buildDefinition"][f"{kind}ernalParameters"] for kind in ("ext", "int"))
        step, _, output = self.pipeline.model.rpartition(".")
        found = record.step(step)
        pairs = {
            "the run": (first["runId"], record.run_id, claim["runDetails"]["metadata"]["invocationId"]),
            "the use case": (first["useCase"], record.use_case, outside["useCase"]),
            "the plugin": (record.plugin, inside["plugin"]),
            "the seed": (record.seed, outside["seed"]),
            "the model": (self.first.artifact, found.outputs.get(output) if found else None),
            "the configuration": (
                self.documents[archive.CONFIG],
                record.config.encode("utf-8", "backslashreplace"),
            ),
        }
        for name, values in pairs.items():
            if any(value != values[0] for value in values):
                raise EvidenceFaultError(f"{name} is not the same in every statement and in {archive.RUN}")
        code = sum(entry["name"].startswith("code ") for entry in claim["buildDefinition"]["resolvedDependencies"])
        data = f"data set {record.dataset.name} {record.dataset.digest[:12]}" if record.dataset else "no data set"
        if record.dataset and record.dataset.assets:
            data = f"{data} (data asset {record.dataset.assets})"
        return f"run {record.run_id} with {record.plugin}, {counted(code, 'digest')} of code, {data}"

    def check_model(self) -> str:
        """Compare the model's files with its artifact and with its signature."""
        claim, data = self.claim(statements.MODEL), self.json_document(archive.MODEL)
        files = [TreeFile(path=file["path"], size=file["size"], sha256=file["sha256"]) for file in data["files"]]
        if not data["artifact"] == self.first.artifact == manifest_of(files).digest:
            raise EvidenceFaultError(
                f"the files in {archive.MODEL} do not add up to the artifact {self.first.artifact[:12]}"
            )
        version = data["version"]
        if version and (version["artifact"], version["run_id"]) != (self.first.artifact, self.record.run_id):
            version_run = f"version {version['version']} is registered for run {version['run_id']}"
            if version["artifact"] != self.first.artifact:
                raise EvidenceFaultError(f"{version_run} with another artifact than the bundle's")
        self._check_reference(version or {})
        if self.keys is None or claim["signature"] is None:
            raise NotCheckedError("the model is not signed; its files add up to the artifact")
        key, signed, _ = verify_model_signature(self.documents[archive.MODEL_SIGNATURE], self.keys)
        if signed != {file.path: file.sha256 for file in files}:
            raise EvidenceFaultError(f"{archive.MODEL_SIGNATURE} signs other files than those in {archive.MODEL}")
        return f"{counted(len(files), 'file')} signed with {key.name} in OpenSSF Model Signing format"

    def _check_reference(self, version: Mapping[str, Any]) -> None:
        """Compare the reference statistics with those of the registered version; older versions have none."""
        expected, name = version.get("reference"), f"documents/{REFERENCE_FILE}"
        found = hashlib.sha256(self.documents[name]).hexdigest() if name in self.documents else ""
        if expected and found != expected:
            raise EvidenceFaultError(
                f"{name} is {f'{found[:12]}, not' if found else 'missing; expected'} the reference {expected[:12]} of "
                f"version {version['version']}"
            )

    def check_model_files(self) -> str:
        """Compare a folder with the model's files."""
        if self.model is None:
            raise NotCheckedError("the bundle does not contain the model; compare a folder with --model FOLDER")
        data = self.json_document(archive.MODEL)
        files = {file["path"]: file["sha256"] for file in data["files"]}
        difference = compare_model_folder(self.model, files, ignored=exported_files(files))
        if difference:
            raise EvidenceFaultError(f"{self.model}: {difference}")
        return f"{self.model} holds exactly the files of the model"

    # --- Split and predictions ------------------------------------------------------------------------------

    @functools.cached_property
    def _splits(self) -> tuple[BundledSplit, ...]:
        listed = self.claim(statements.SPLIT)["splits"]
        return tuple(
            read_bundled_split(self.scratch / split_folder(number), f"{entry['step']}.{entry['output']}")
            for number, entry in enumerate(listed)
        )

    def check_split(self) -> str:
        """Check that no group and no content is in several parts, and that each sample is in one."""
        self._require_recomputation()
        claim = self.claim(statements.SPLIT)
        missing = [f"{entry['step']}.{entry['output']}" for entry in claim["missing"]]
        splits = self._splits
        for number, split in enumerate(splits):
            folder = self.scratch / split_folder(number)
            try:
                check_leaks(folder, between_folds=True)
            except MlopsError as error:
                raise EvidenceFaultError(f"{split.name}: {error}") from error
            if split.is_assigned and split.counts[""]:
                raise EvidenceFaultError(f"{split.name}: {counted(split.counts[''], 'sample')} in no part of the split")
        if missing:
            raise NotCheckedError(f"not in the workspace when the bundle was written: {', '.join(missing)}")
        if not splits:
            raise NotCheckedError("no step before the evaluation wrote a split.csv")
        shown = "; ".join(f"{split.name}: {part_counts(split)}" for split in splits[:_SHOWN])
        more = f" and {len(splits) - _SHOWN} more" if len(splits) > _SHOWN else ""
        is_complete = all(split.has_digests for split in splits)
        content = "no content in two parts" if is_complete else "contents not compared: there is no column 'digest'"
        return f"no group in two parts, {content}; {shown}{more}"

    def check_predictions(self) -> str:
        """Check that all test samples were predicted, once, and no others."""
        self._require_recomputation()
        predictions = read_predictions(self.scratch / recomputation.PREDICTIONS)
        seen: set[tuple[str, str, int]] = set()
        samples: dict[str, PredictedSample] = {}
        for row in predictions.rows:
            identity = (row.model, row.sample, row.part)
            if identity in seen:
                raise EvidenceFaultError(f"sample '{row.sample}' has two predictions")
            seen.add(identity)
            if not row.model:
                sample = samples.setdefault(row.sample, PredictedSample())
                sample.groups.add(row.group)
                sample.labels.add(row.label)
        test_set = self.claim(statements.METRICS)["testSet"]
        if test_set and digest_test_set(predictions) != test_set:
            raise EvidenceFaultError("the predictions are of another test set than the evaluation's")
        found = f"{counted(len(predictions.rows), 'prediction')} of {counted(len(samples), 'sample')}"
        if not self._splits:
            raise NotCheckedError(f"{found}, each once; there is no split to compare them with")
        self._check_coverage(predictions)
        compare_samples(samples, self._splits)
        return f"{found}: exactly the test samples, each once"

    def _check_coverage(self, predictions: Predictions) -> None:
        """Compare the predicted samples with the splits that the evaluation read."""
        read = set(self.pipeline.evaluation_step.inputs.values())
        folders = {split.name: self.scratch / split_folder(number) for number, split in enumerate(self._splits)}
        manifests = {name: folder for name, folder in folders.items() if name in read} or folders
        try:
            left_out = read_left_out(self.scratch / recomputation.PREDICTIONS)
            check_coverage(predictions, manifests, left_out=left_out)
        except MlopsError as error:
            raise EvidenceFaultError(str(error).replace(str(self.scratch), "the bundle")) from error

    # --- Metrics and verdict --------------------------------------------------------------------------------

    def check_metrics(self) -> str:
        """Compare the recorded metrics with those that the plugin computes from the predictions."""
        self._require_recomputation()
        self._recomputed()
        metrics = self.pipeline.metrics
        recorded = read_evaluation(self.scratch / recomputation.EVALUATION, metrics).values
        again = read_evaluation(self.scratch / recomputation.RECOMPUTED, metrics).values
        for metric in metrics:
            difference = metric_difference(recorded.get(metric.name), again.get(metric.name))
            if difference:
                self._refuse(f"{metric.name} {difference}")
        shown = ", ".join(f"{name} {value.value:.6g}" for name, value in list(recorded.items())[:_SHOWN])
        more = f" and {len(recorded) - _SHOWN} more" if len(recorded) > _SHOWN else ""
        return f"computed again: {shown}{more}{self._other_versions(' ({})')}"

    def check_verdict(self) -> str:
        """Compare the recorded verdict with the gate's on the recorded metrics and the predictions."""
        recorded = Verdict.from_json(self.json_document(archive.VERDICT))
        if recorded != self.record.verdict:
            raise EvidenceFaultError(f"{archive.VERDICT} and {archive.RUN} hold different verdicts")
        claim, gate = self.claim(statements.VERDICT), self.pipeline.gate
        if (claim["outcome"], claim["condition"]) != (recorded.outcome, str(gate.condition)):
            raise EvidenceFaultError("the statement about the verdict has another gate or outcome than the run")
        version = ""
        if gate.needs_predictions:
            self._require_recomputation()
            champion = claim["champion"]
            if champion and champion["problem"]:
                raise NotCheckedError(
                    f"the predictions of the champion, version {champion['version']}, were gone when the bundle was "
                    f"written: {champion['problem']}"
                )
            again = Verdict.from_json(self._recomputed()["verdict"])
            version = self._other_versions(" ({})")
        else:
            evaluation = self.scratch / recomputation.EVALUATION
            again = recomputation.gate_verdict(self.pipeline, evaluation, self.record.parameters)
        difference = verdict_difference(recorded, again)
        if difference:
            self._refuse(difference)
        return f"{recorded.outcome}: {gate.condition}{version}"

    def _refuse(self, difference: str) -> None:
        """Refuse a difference; where another version computed again, it may be the reason."""
        others = self._other_versions("{}")
        if others:
            raise NotCheckedError(f"{others}, which may be why {difference}")
        raise EvidenceFaultError(difference)

    def _recomputed(self) -> Mapping[str, Any]:
        if self.failed:
            raise NotCheckedError(f"the check '{self.failed}' failed")
        try:
            find_use_case(self.record.use_case)
        except (UsageError, PluginError):
            name, _, version = self.record.plugin.partition(" ")
            raise NotCheckedError(
                f"the plugin {self.record.plugin}, which computes metrics, is not installed here; "
                f"install it: pip install {name}=={version}"
            ) from None
        result = self._result
        if "unloadable" in result:
            raise NotCheckedError(f"the plugin cannot be loaded: {result['unloadable']}")
        if "error" in result:
            raise EvidenceFaultError(f"the plugin computes no metrics from these predictions: {result['error']}")
        return result

    @functools.cached_property
    def _result(self) -> Mapping[str, Any]:
        listed = [
            (entry["position"], split_folder(number))
            for number, entry in enumerate(self.claim(statements.SPLIT)["splits"])
            if entry["position"] is not None
        ]
        return recomputation.recompute(
            self.scratch,
            use_case=self.record.use_case,
            pipeline=self.record.pipeline,
            parameters=self.record.parameters,
            splits=[folder for _, folder in sorted(listed)],
            champion=self.claim(statements.VERDICT)["champion"],
        )

    def _other_versions(self, text: str) -> str:
        """Return what is installed in another version than the run had, in a text; empty if nothing is."""
        installed = find_use_case(self.record.use_case)
        pairs = [(self.record.plugin, f"{installed.distribution} {installed.version}")]
        core = self.record.environment.get(_CORE, "")
        if core:
            pairs.append((f"{_CORE} {core}", f"{_CORE} {version_of(_CORE)}"))
        others = [f"by {now}, and the run had {then}" for then, now in pairs if then != now]
        return text.format("; ".join(others)) if others else ""

    # --- Approvals ------------------------------------------------------------------------------------------

    def check_approvals(self) -> str:
        """Check that the decisions about the model version follow from each other."""
        number = self.first.predicate["modelVersion"]
        if number is None:
            raise NotCheckedError("the run registered no model version, so there is nothing to approve")
        claim, data = self.claim(statements.APPROVALS), self.json_document(archive.APPROVALS)
        entries: Sequence[Mapping[str, Any]] = data["entries"]
        if not claim["version"] == data["version"] == number or not entries:
            raise EvidenceFaultError(f"there are no decisions about version {number}")
        before: Mapping[str, Any] = {"sequence": -1, "value": "", "at": ""}
        for entry in entries:
            problem = _entry_problem(entry, before, use_case=self.record.use_case, version=number)
            if problem:
                raise EvidenceFaultError(f"entry {entry['sequence']} of the ledger {problem}")
            before = entry
        if not before["value"] == data["status"] == claim["status"]:
            raise EvidenceFaultError(f"the newest entry says {before['value']}, and the version is {data['status']}")
        who = f" by {before['who']}, {before['at'][:19]}" if len(entries) > 1 else ""
        return f"version {number}: {counted(len(entries), 'decision')} in order, {before['value']}{who}"


def _entry_problem(entry: Mapping[str, Any], before: Mapping[str, Any], *, use_case: str, version: int) -> str:
    """Return what is wrong with an entry of the ledger after the one before it; empty if nothing is."""
    if (entry["use_case"], entry["subject"]) != (use_case, version_subject(version)):
        return f"is about {entry['subject']} of {entry['use_case']}"
    if entry["sequence"] <= before["sequence"] or entry["at"] < before["at"]:
        return "is older than the one before it"
    if entry["value"] not in list(ApprovalStatus):
        return f"says {json.dumps(entry['value'])}, which is not an approval status"
    if entry["previous"] != before["value"]:
        return f"changes {entry['previous'] or 'nothing'}, and the one before it says {before['value'] or 'nothing'}"
    return ""
