"""Decides the clauses of a gate about licences, before a run and after it with the same answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.datasets.licences import is_known_licence, normalised_licence, shown_licence
from mlops_core.gates.clauses import LicenceSubject
from mlops_core.gates.evidence import EvidenceError

if TYPE_CHECKING:
    from mlops_core.datasets.licences import Licences
    from mlops_core.gates.clauses import LicenceClause


def judge_licence(clause: LicenceClause, licences: Licences | None) -> tuple[bool, str]:
    """Return whether a clause is met, and a sentence that says why.

    Args:
        clause: about the data or the base models.
        licences: of the run; None if they were not recorded.

    Raises:
        EvidenceError: a licence that the clause asks for is unknown or was not recorded.
    """
    found = _licences(clause, licences)
    if not found:
        return True, "there is no base model"
    listed = {normalised_licence(name) for name in clause.licences}
    wrong = {what: text for what, text in found.items() if (normalised_licence(text) in listed) is clause.is_excluded}
    return not wrong, "; ".join(
        f"{what} has the licence {shown_licence(text)}" for what, text in (wrong or found).items()
    )


def _licences(clause: LicenceClause, licences: Licences | None) -> dict[str, str]:
    """Return what each licence is for -> the licence; all of them are known.

    Raises:
        EvidenceError: one is not.
    """
    if licences is None or (clause.subject is LicenceSubject.BASE_MODEL and licences.base_models is None):
        raise EvidenceError("the run has no record of it")
    named = list(licences.named())
    found = dict(named[:1] if clause.subject is LicenceSubject.DATASET else named[1:])
    for what, text in found.items():
        if not is_known_licence(text):
            remedy = " (for data in dataset.path, declare it in gate.dataset_licence)"
            hint = remedy if clause.subject is LicenceSubject.DATASET and not text else ""
            raise EvidenceError(f"the licence of {what} is {shown_licence(text)}{hint}")
    return found
