"""Verifies evidence bundles: `verify_bundle` returns a list of checks, each passed, failed or not checked, and why.

The bytes come first: archive, signature, statements, the digest of every file. Only when all of them are right is
anything read that they hold (`mlops_core.trust.bundles.contents`). The archive is read once, in pieces, and the files
that later checks need are copied to a private folder meanwhile. A workspace is neither needed nor opened.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.splits import SPLIT_FILE
from mlops_core.errors import StoreError, UsageError
from mlops_core.evaluation.coverage import LEFT_OUT_FILE
from mlops_core.predictions import PREDICTIONS_FILE
from mlops_core.quantities import counted, format_size
from mlops_core.reading import open_regular
from mlops_core.trust.bundles import recomputation, statements
from mlops_core.trust.bundles.archive import ATTESTATIONS, MEMBER_NAME, ArchiveReader, Member
from mlops_core.trust.bundles.contents import BundleContents, NotCheckedError
from mlops_core.trust.bundles.envelopes import EvidenceFaultError, open_envelope
from mlops_core.trust.bundles.split_samples import split_folder
from mlops_core.trust.bundles.statements import read_statement, require_format

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlops_core.trust.bundles.envelopes import Envelope
    from mlops_core.trust.bundles.keys import TrustedKeys, VerificationKey
    from mlops_core.trust.bundles.statements import Statement

_REPORT_FORMAT = "mlops-verification/1"
_STATEMENTS_LIMIT_BYTES = 4 << 20
_DOCUMENT_LIMIT_BYTES = 32 << 20
_DOCUMENTS_LIMIT_BYTES = 64 << 20
_MOST_LINES = 100
_INTEGRITY = ("archive", "signature", "statements", "files")
_RECOMPUTED = ("split", "predictions", "metrics", "verdict")
_CONTENTS: Mapping[str, Callable[[BundleContents], str]] = {
    "provenance": BundleContents.check_provenance,
    "model signature": BundleContents.check_model,
    "model files": BundleContents.check_model_files,
    "split": BundleContents.check_split,
    "predictions": BundleContents.check_predictions,
    "metrics": BundleContents.check_metrics,
    "verdict": BundleContents.check_verdict,
    "approvals": BundleContents.check_approvals,
}
CHECKS = (*_INTEGRITY, *_CONTENTS)
"""Names of the checks, in order."""


class CheckOutcome(StrEnum):
    """The outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCheck:
    """A check of a bundle.

    Attributes:
        name: one of `CHECKS`.
        outcome: passed, failed or not checked.
        detail: one line: what was found, what is wrong, or why it was not checked.
    """

    name: str
    outcome: CheckOutcome
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleReport:
    """What the verification of a bundle found.

    Attributes:
        path: the bundle's file.
        checks: in order.
        warnings: one line each.
        run_id: of the run; empty where the statements could not be read.
        use_case: name of the use case.
        model_version: number of the model version; None if the run registered none.
        artifact: digest of the model's artifact.
        key: name and id of the key that signed it; empty if it is not signed.
        sha256: of the file; empty where it was not asked for or the file is not whole.
        documents: name of the member -> content of each document; empty unless the bytes are those that were signed.
    """

    path: Path
    checks: tuple[BundleCheck, ...]
    warnings: tuple[str, ...] = ()
    run_id: str = ""
    use_case: str = ""
    model_version: int | None = None
    artifact: str = ""
    key: str = ""
    sha256: str = ""
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def is_verified(self) -> bool:
        """Whether the bytes are those that were signed, and nothing that could be checked is wrong."""
        outcomes = {check.name: check.outcome for check in self.checks}
        is_intact = all(outcomes.get(name) is CheckOutcome.PASSED for name in _INTEGRITY)
        return is_intact and CheckOutcome.FAILED not in outcomes.values()

    @property
    def is_recomputed(self) -> bool:
        """Whether split, predictions, metrics and verdict were all checked from the bundle's contents."""
        outcomes = {check.name: check.outcome for check in self.checks}
        return all(outcomes[name] is CheckOutcome.PASSED for name in _RECOMPUTED)

    @property
    def mismatch(self) -> str:
        """The first check that failed, with its detail; empty if none did."""
        failed = (check for check in self.checks if check.outcome is CheckOutcome.FAILED)
        return next((f"{check.name}: {check.detail}" for check in failed), "")

    @property
    def not_checked(self) -> tuple[str, ...]:
        """Names of the checks that were not made."""
        return tuple(check.name for check in self.checks if check.outcome is CheckOutcome.NOT_CHECKED)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON types only."""
        return {
            "format": _REPORT_FORMAT,
            "is_verified": self.is_verified,
            "mismatch": self.mismatch,
            "bundle": str(self.path),
            "run_id": self.run_id,
            "use_case": self.use_case,
            "model_version": self.model_version,
            "artifact": self.artifact,
            "key": self.key,
            "sha256": self.sha256,
            "warnings": list(self.warnings),
            "checks": [
                {"name": check.name, "outcome": str(check.outcome), "detail": check.detail} for check in self.checks
            ],
            "not_checked": list(self.not_checked),
        }


def verify_bundle(
    path: Path,
    *,
    keys: TrustedKeys | None,
    allows_unsigned: bool = False,
    recomputes: bool = True,
    model: Path | None = None,
    is_hashed: bool = False,
) -> BundleReport:
    """Verify a bundle.

    Args:
        path: the bundle's file.
        keys: keys whose signatures are accepted; None for none, which only a bundle without a signature passes.
        allows_unsigned: accept a bundle without a signature, with a warning; not together with `keys`.
        recomputes: read predictions and splits, and compute metrics and verdict again with the installed plugin;
            otherwise only what the statements themselves show is checked.
        model: folder of the model to compare with the bundle.
        is_hashed: also return the SHA-256 of the file.

    Raises:
        UsageError: the file or the model's folder cannot be read, or both keys and no signature are accepted.
        StoreError: the disk has not enough space for the files that the checks read.
    """
    if keys is not None and allows_unsigned:
        raise UsageError("--allow-unsigned: a key was given, too; a bundle is either signed with it or not verified")
    if model is not None and not model.is_dir():
        raise UsageError(f"--model {model} is not a folder; expected the folder of the model")
    try:
        descriptor = open_regular(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"bundle {path} cannot be read: {getattr(error, 'strerror', error)}") from error
    with (
        os.fdopen(descriptor, "rb", buffering=0) as stream,
        tempfile.TemporaryDirectory(prefix="mlops-verify-") as work,
    ):
        size = os.fstat(stream.fileno()).st_size
        digest = hashlib.sha256() if is_hashed else None
        reader = ArchiveReader(stream, size=size, observe=digest.update if digest else None)
        examination = _Examination(reader, keys=keys, allows_unsigned=allows_unsigned, scratch=Path(work))
        try:
            is_intact = examination.examine(recomputes=recomputes)
        except OSError as error:
            raise StoreError(f"{path} cannot be verified: {error.strerror} ({error.filename or work})") from error
        if is_intact:
            examination.check_contents(recomputes=recomputes, model=model)
        return examination.report(path, sha256=digest.hexdigest() if digest and is_intact else "")


@dataclass(slots=True)
class _Plan:
    """Where the contents of members go while the archive is read."""

    places: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, reference: Mapping[str, Any] | None, place: Path) -> None:
        if reference is not None:
            self.places.setdefault(str(reference["name"]), []).append(place)


class _Examination:
    """The verification of one file."""

    def __init__(
        self, reader: ArchiveReader, *, keys: TrustedKeys | None, allows_unsigned: bool, scratch: Path
    ) -> None:
        self._reader = reader
        self._keys = keys
        self._allows_unsigned = allows_unsigned
        self._scratch = scratch
        self._checks: dict[str, BundleCheck] = {}
        self._warnings: list[str] = []
        self._current = _INTEGRITY[0]
        self._key: VerificationKey | None = None
        self._first: Statement | None = None
        self._claims: dict[str, Statement] = {}
        self._members: list[Member] = []
        self._documents: dict[str, bytes] = {}

    def examine(self, *, recomputes: bool) -> bool:
        """Check the bytes; return whether they are those that were signed.

        Raises:
            OSError: a file cannot be read or written.
        """
        try:
            self._examine(recomputes=recomputes)
        except EvidenceFaultError as error:
            self._fail(str(error))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self._fail(f"a statement lacks what it needs: {type(error).__name__} {error}")
        return all(name in self._checks for name in _INTEGRITY) and not self._has_failed

    def _examine(self, *, recomputes: bool) -> None:
        content = self._reader.first(limit=_STATEMENTS_LIMIT_BYTES)
        self._current = "signature"
        payloads = self._signed_payloads(content)
        self._current = "statements"
        self._read_statements(payloads)
        self._current = "archive"
        attestations = (ATTESTATIONS, len(content))
        self._reader.require_size([attestations, *((member.name, member.size) for member in self._members)])
        self._current = "files"
        self._read_files(recomputes=recomputes)
        size = sum(member.size for member in self._members)
        self._pass(f"{counted(len(self._members), 'file')}, {format_size(size)}: each has the digest in the statements")
        self._current = "archive"
        self._reader.end()
        self._pass("sorted regular files and nothing else")

    def _signed_payloads(self, content: bytes) -> list[bytes]:
        """Return the payloads whose signatures are those of one trusted key.

        Raises:
            EvidenceFaultError: they are not.
        """
        lines = content.split(b"\n")
        if lines.pop() or not 0 < len(lines) <= _MOST_LINES:
            raise EvidenceFaultError(f"{ATTESTATIONS} is not one envelope per line, {_MOST_LINES} at most")
        envelopes = [open_envelope(line) for line in lines]
        signers = {envelope.key_id for envelope in envelopes}
        if len(signers) != 1:
            raise EvidenceFaultError("the statements are not all signed with the same key")
        (signer,) = signers
        if signer:
            self._key = self._require_signed(envelopes, signer)
            self._pass(f"{counted(len(envelopes), 'statement')} signed with {self._key.name} ({signer[:12]})")
        elif self._allows_unsigned:
            self._warnings.append("the bundle is not signed: anybody can have written it")
            self._pass("not signed, which was allowed (--allow-unsigned)")
        else:
            advice = f"expected a signature of {self._keys}" if self._keys else "accept that with --allow-unsigned"
            raise EvidenceFaultError(f"the bundle is not signed; {advice}")
        return [envelope.payload for envelope in envelopes]

    def _require_signed(self, envelopes: Sequence[Envelope], signer: str) -> VerificationKey:
        if self._keys is None:
            raise EvidenceFaultError(f"it is signed with the key {signer[:12]}; give that key with --key or --trust")
        key = self._keys.find(signer)
        if key is None:
            raise EvidenceFaultError(
                f"it is signed with the key {signer[:12]}, which is not trusted; trusted: {self._keys}"
            )
        for number, envelope in enumerate(envelopes, 1):
            if not envelope.is_signed_by(key):
                raise EvidenceFaultError(f"the signature of statement {number} is not one of {key.name} over its bytes")
        return key

    def _read_statements(self, payloads: Sequence[bytes]) -> None:
        first, *others = map(read_statement, payloads)
        require_format(first)
        self._first = first
        listed = [(entry["predicateType"], entry["sha256"]) for entry in first.predicate["statements"]]
        if listed != [(statement.predicate_type, statement.digest) for statement in others]:
            raise EvidenceFaultError("the statements are not those that the first one lists, in this order")
        self._claims = {statement.predicate_type: statement for statement in others}
        if len(self._claims) != len(others) or any(one.artifact != first.artifact for one in others):
            raise EvidenceFaultError("two statements are of the same type, or about different models")
        self._members = [_member(entry) for entry in first.predicate["files"]]
        names = [member.name for member in self._members]
        if names != sorted(set(names)) or ATTESTATIONS in names:
            raise EvidenceFaultError("the first statement lists files twice or out of order")
        documents = [member.size for member in self._members if not member.name.startswith("objects/")]
        if sum(documents) > _DOCUMENTS_LIMIT_BYTES or max(documents, default=0) > _DOCUMENT_LIMIT_BYTES:
            raise EvidenceFaultError(f"the documents have more than {format_size(_DOCUMENT_LIMIT_BYTES)}")
        self._check_references()
        unknown = [kind for kind in self._claims if kind not in statements.KNOWN]
        if unknown:
            self._warnings.append(f"not understood by this version of mlops: {', '.join(unknown)}")
        self._pass(f"{counted(len(others), 'statement')} about model {first.artifact[:12]}, {statements.FORMAT}")

    def _check_references(self) -> None:
        """Refuse a statement that names a file by another digest than the first statement does."""
        digests = {member.name: member.sha256 for member in self._members}
        waiting: list[Any] = [dict(claim.predicate) for kind, claim in self._claims.items() if kind in statements.KNOWN]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                if value.keys() == {"name", "sha256"} and digests.get(value["name"]) != value["sha256"]:
                    raise EvidenceFaultError(
                        f"a statement names {str(value['name'])[:80]}, which the first one does not list"
                    )
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value

    # --- Files ----------------------------------------------------------------------------------------------

    def _read_files(self, *, recomputes: bool) -> None:
        places = self._plan(recomputes=recomputes).places
        for member in self._members:
            targets = places.get(member.name, [])
            if not member.name.startswith("objects/"):
                content = bytearray()
                self._reader.member(member, content.extend)
                self._documents[member.name] = bytes(content)
                for target in targets:
                    target.write_bytes(content)
            elif targets:
                with targets[0].open("wb", buffering=0) as stream:
                    self._reader.member(member, stream.write)
                for target in targets[1:]:
                    target.hardlink_to(targets[0])
            else:
                self._reader.member(member)

    def _plan(self, *, recomputes: bool) -> _Plan:
        """Return which members later checks read, and make the folders for them."""
        plan = _Plan()
        claims = {kind: claim.predicate for kind, claim in self._claims.items()}
        evaluation = self._folder(recomputation.EVALUATION) / "evaluation.json"
        plan.add(claims.get(statements.METRICS, {}).get("file"), evaluation)
        if recomputes:
            predictions = claims.get(statements.PREDICTIONS, {})
            folder = self._folder(recomputation.PREDICTIONS)
            plan.add(predictions.get("file"), folder / PREDICTIONS_FILE)
            plan.add(predictions.get("leftOut"), folder / LEFT_OUT_FILE)
            champion = claims.get(statements.VERDICT, {}).get("champion") or {}
            plan.add(champion.get("file"), self._folder(recomputation.CHAMPION) / PREDICTIONS_FILE)
            for number, split in enumerate(claims.get(statements.SPLIT, {}).get("splits", ())):
                plan.add(split["file"], self._folder(split_folder(number)) / SPLIT_FILE)
        return plan

    def _folder(self, name: str) -> Path:
        folder = self._scratch / name
        folder.mkdir()
        return folder

    # --- Results --------------------------------------------------------------------------------------------

    def check_contents(self, *, recomputes: bool, model: Path | None) -> None:
        """Check what the files say, now that they are known to be the right ones."""
        assert self._first is not None  # noqa: S101  for mypy: the caller has asked
        contents = BundleContents(
            first=self._first,
            claims=self._claims,
            documents=self._documents,
            scratch=self._scratch,
            keys=self._keys if self._key else None,
            model=model,
            recomputes=recomputes,
        )
        for name, check in _CONTENTS.items():
            self._current = name
            contents.failed = next((one for one in CHECKS if self._outcome(one) is CheckOutcome.FAILED), "")
            try:
                self._pass(check(contents))
            except NotCheckedError as error:
                self._record(CheckOutcome.NOT_CHECKED, str(error))
            except EvidenceFaultError as error:
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001  whatever the contents make the check raise, it has failed
                self._fail(f"it cannot be read: {type(error).__name__}: {error}")

    def report(self, path: Path, *, sha256: str) -> BundleReport:
        """Return what was found; the checks that were not reached are not checked."""
        failed = next((name for name in CHECKS if self._outcome(name) is CheckOutcome.FAILED), "")
        checks = tuple(
            self._checks.get(name)
            or BundleCheck(name=name, outcome=CheckOutcome.NOT_CHECKED, detail=f"the check '{failed}' failed")
            for name in CHECKS
        )
        first = self._first.predicate if self._first and not self._has_failed_integrity else {}
        return BundleReport(
            path=path,
            checks=checks,
            warnings=tuple(self._warnings),
            run_id=str(first.get("runId", "")),
            use_case=str(first.get("useCase", "")),
            model_version=first.get("modelVersion"),
            artifact=self._first.artifact if self._first and first else "",
            key=f"{self._key.name} ({self._key.key_id})" if self._key else "",
            sha256=sha256,
            documents=self._documents if first else {},
        )

    def _outcome(self, name: str) -> CheckOutcome | None:
        return self._checks[name].outcome if name in self._checks else None

    @property
    def _has_failed(self) -> bool:
        return any(check.outcome is CheckOutcome.FAILED for check in self._checks.values())

    @property
    def _has_failed_integrity(self) -> bool:
        return any(self._outcome(name) is not CheckOutcome.PASSED for name in _INTEGRITY)

    def _pass(self, detail: str) -> None:
        self._record(CheckOutcome.PASSED, detail)

    def _fail(self, detail: str) -> None:
        self._record(CheckOutcome.FAILED, detail)

    def _record(self, outcome: CheckOutcome, detail: str) -> None:
        line = " ".join(detail.replace(str(self._scratch), "the bundle").split())
        self._checks[self._current] = BundleCheck(name=self._current, outcome=outcome, detail=line)


def _member(entry: Mapping[str, Any]) -> Member:
    name, size, sha256 = entry["name"], entry["size"], entry["sha256"]
    if not isinstance(name, str) or not MEMBER_NAME.fullmatch(name):
        raise EvidenceFaultError(f"the first statement lists a file with a name that no bundle has: {str(name)[:80]!r}")
    if not isinstance(size, int) or size < 0 or not isinstance(sha256, str):
        raise EvidenceFaultError(f"the first statement lists {name} without size and digest")
    if name.startswith("objects/") and name != f"objects/{sha256}":
        raise EvidenceFaultError(f"the first statement lists {name} with another digest than its name")
    return Member(name=name, size=size, sha256=sha256)
