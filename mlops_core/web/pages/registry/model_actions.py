"""What the pages of the registry change: approvals and aliases, each with a reason and after a confirmation.

A form says which state its reader saw. If another one has changed it in the meantime, nothing happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError, UsageError
from mlops_core.observers.publishing import announced_models
from mlops_core.report.kit import Markup, Node, PageSection, callout, code, element, facts_list, group
from mlops_core.web.answers import PageAnswer, see_other
from mlops_core.web.pages.forms import confirm_form, part, post_form
from mlops_core.web.pages.registry.model_version import known_version
from mlops_core.web.pages.registry.models import model_versions, version_number
from mlops_core.web.pages.states import approval_badge
from mlops_core.web.shell import page_header, ui_page
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from mlops_core.web.answers import View
    from mlops_core.workspace.model_versions import ModelVersion

_STATUSES = {"approve": ApprovalStatus.APPROVED, "reject": ApprovalStatus.REJECTED}
_WORDS = {ApprovalStatus.APPROVED: ("Approve", "primary"), ApprovalStatus.REJECTED: ("Reject", "danger primary")}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """A decision about a version that its reader has not confirmed yet."""

    version: ModelVersion
    status: ApprovalStatus
    why: str
    moves_aliases: bool


def change_status(view: View) -> PageAnswer:
    """Approve or reject a version, after a confirmation."""
    version = known_version(view)
    decision = _Decision(
        version=version,
        status=_status(view.form.get("status", "")),
        why=_reason(view),
        moves_aliases=view.form.get("moves_aliases") == "yes",
    )
    _check_seen(f"version {version.version}", str(version.status), view.form.get("expected", ""))
    if view.form.get("confirmed") != "yes":
        return _confirm_status(view, decision)
    path = f"/models/{part(version.use_case)}/{version.version}"
    with announced_models(view.opened.store):
        Registry(view.opened.store).set_status(
            version, decision.status, why=decision.why, moves_aliases=decision.moves_aliases
        )
        if decision.status is ApprovalStatus.REJECTED:
            return see_other(f"{path}?done=rejected")
        return see_other(f"{path}?done=approved&best={_promoted(view, version)}")


def _promoted(view: View, version: ModelVersion) -> str:
    """Let ``best`` move to a version that was approved; return ``moved``, ``kept`` or ``unknown``."""
    try:
        view.opened.plugins.ask("promotion", use_case=version.use_case, version=version.version)
    except MlopsError:
        return "unknown"
    best = Registry(view.opened.store).alias_target(version.use_case, "best")
    return "moved" if best == version.version else "kept"


def change_alias(view: View) -> PageAnswer:
    """Move or remove an alias, after a confirmation."""
    name, versions = model_versions(view)
    alias = view.form.get("alias", "").strip()
    number = view.form.get("version", "")
    target = version_number(number) if number else None
    current = next((version.version for version in versions if alias in version.aliases), None)
    seen = view.form.get("expected")
    if seen is not None:
        _check_seen(f"alias '{alias}'", "" if current is None else str(current), seen)
    if target is None and current is None:
        raise UsageError(f"model {name} has no alias '{alias[:80]}'")
    if view.form.get("confirmed") != "yes":
        return _confirm_alias(view, name, alias, current=current, target=target)
    with announced_models(view.opened.store):
        Registry(view.opened.store).move_alias(name, alias, version=target, expected=current, why=_reason(view))
    return see_other(f"/models/{part(name)}?done={'removed' if target is None else 'alias'}#aliases")


# --- Confirmations ----------------------------------------------------------------------------------------


def _confirm_status(view: View, decision: _Decision) -> PageAnswer:
    version, (word, kind) = decision.version, _WORDS[decision.status]
    path = f"/models/{part(version.use_case)}/{version.version}"
    fields = {
        "status": word.lower(),
        "why": decision.why,
        "expected": str(version.status),
    }
    notes = []
    if decision.status is ApprovalStatus.REJECTED and version.aliases:
        fields["moves_aliases"] = "yes"
        names = ", ".join(version.aliases)
        notes.append(
            callout("warn", f"It is {names}: each of these aliases moves back to its version before, or is removed.")
        )
    if decision.status is ApprovalStatus.APPROVED:
        notes.append(element("p", "The alias ", code("best"), " moves to it if a paired test shows that it is better."))
    facts = facts_list(
        {
            "Model": f"{version.use_case} version {version.version}",
            "Now": approval_badge(version.status),
            "Then": approval_badge(decision.status),
            "Reason": decision.why,
        },
        class_="wide",
    )
    form = confirm_form(
        f"{path}/status",
        csrf=view.csrf,
        fields=fields,
        confirm=f"{word} version {version.version}",
        back=path,
        kind=kind,
    )
    return _question(view, f"{word} {version.use_case} version {version.version}?", group(facts, *notes, form))


def _confirm_alias(view: View, name: str, alias: str, *, current: int | None, target: int | None) -> PageAnswer:
    path = f"/models/{part(name)}"
    before, after = (_shown(number) for number in (current, target))
    fields = {"alias": alias, "version": "" if target is None else str(target), "expected": _value(current)}
    facts: dict[str, Node] = {"Alias": code(alias), "Now": before, "Then": after}
    title = f"Remove the alias {alias}?" if target is None else f"Point {alias} to version {target}?"
    why = view.form.get("why", "").strip()
    if not why:  # a removal asks for the reason here
        form = post_form(
            f"{path}/alias",
            *(element("input", type="hidden", name=key, value=value) for key, value in fields.items()),
            element("input", type="hidden", name="confirmed", value="yes"),
            element("label", "Reason, kept in the ledger", for_="why"),
            element("textarea", id="why", name="why", required=True, maxlength=4000),
            element(
                "div",
                element(
                    "button",
                    "Remove the alias" if target is None else "Move the alias",
                    type="submit",
                    class_="danger primary",
                ),
                element("a", "Cancel", href=path, class_="button"),
                class_="actions",
            ),
            csrf=view.csrf,
        )
        return _question(view, title, group(facts_list(facts, class_="wide"), form))
    form = confirm_form(
        f"{path}/alias",
        csrf=view.csrf,
        fields={**fields, "why": why},
        confirm="Move the alias",
        back=path,
        kind="primary",
    )
    return _question(view, title, group(facts_list({**facts, "Reason": why}, class_="wide"), form))


def _value(number: int | None) -> str:
    return "" if number is None else str(number)


def _shown(number: int | None) -> str:
    return "nothing" if number is None else f"version {number}"


def _question(view: View, title: str, body: Markup) -> PageAnswer:
    section = PageSection(anchor="confirm", title="Confirm", body=body)
    page = ui_page(view, title=title, active="models", heading=page_header(title), body=[section])
    return PageAnswer(body=page)


# --- Checks -----------------------------------------------------------------------------------------------


def _status(word: str) -> ApprovalStatus:
    if word not in _STATUSES:
        raise UsageError(f"{word[:40]!r}: expected approve or reject")
    return _STATUSES[word]


def _reason(view: View) -> str:
    why = view.form.get("why", "").strip()
    if not why:
        raise UsageError("a reason is missing; it is kept in the ledger for later readers")
    return why


def _check_seen(what: str, now: str, seen: str) -> None:
    """Refuse a decision about a state that is not the present one.

    Raises:
        UsageError: somebody has changed it since the page was shown.
    """
    if now != seen:
        raise UsageError(
            f"{what} was changed in the meantime: it was '{seen[:60] or 'nothing'}' when the page "
            f"was shown and is '{now or 'nothing'}' now; go back and decide again"
        )
