"""The pages of the registry: all models, and the versions, aliases and ledger of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import UsageError
from mlops_core.quantities import counted, format_number
from mlops_core.report.kit import (
    Markup,
    Node,
    PageSection,
    badge,
    callout,
    code,
    data_table,
    element,
    group,
    missing_note,
    muted,
)
from mlops_core.web.answers import PageAnswer, PageNotFoundError
from mlops_core.web.pages.forms import button_link, part, post_form, select_field
from mlops_core.web.pages.states import APPROVALS, approval_badge, moment
from mlops_core.web.shell import page_header, ui_page
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.web.answers import View
    from mlops_core.workspace.model_versions import LedgerEntry, ModelVersion

_SHOWN = 100
_METRICS = 3
_DONE = {
    "alias": "The alias was moved.",
    "removed": "The alias was removed.",
}


def models_page(view: View) -> PageAnswer:
    """Return the page of all models."""
    versions = Registry(view.opened.store).versions()
    by_name: dict[str, list[ModelVersion]] = {}
    for version in versions:
        by_name.setdefault(version.use_case, []).append(version)
    cards = [_card(name, found) for name, found in sorted(by_name.items())]
    if cards:
        body: Markup = element("ul", *cards, class_="cards")
    else:
        body = group(
            missing_note("no model is registered; a run whose model the gate accepts registers it."),
        )
    section = element("section", element("h2", "Registered models", class_="hidden"), body)
    page = ui_page(view, title="Models", active="models", heading=page_header("Models"), body=[section])
    return PageAnswer(body=page)


def _card(name: str, versions: Sequence[ModelVersion]) -> Markup:
    newest = versions[0]
    aliases = [(alias, version.version) for version in versions for alias in version.aliases]
    waiting = sum(APPROVALS.get(version.status, ("",))[0] == "pending approval" for version in versions)
    shown = ", ".join(f"{alias} is version {number}" for alias, number in sorted(aliases)) or "no aliases"
    return element(
        "li",
        element("h3", element("a", name, href=f"/models/{part(name)}")),
        element("p", f"{counted(len(versions), 'version')}; {shown}."),
        element("p", "Newest: ", _version_link(newest), " ", approval_badge(newest.status), " ", _metrics(newest)),
        element("p", muted(f"{waiting} of them wait for approval.")) if waiting else None,
    )


def model_versions(view: View) -> tuple[str, tuple[ModelVersion, ...]]:
    """Return the name of the model in the path, as it was registered, and its versions.

    Raises:
        PageNotFoundError: no such model is registered.
    """
    versions = Registry(view.opened.store).versions(view.path["use_case"])
    if not versions:
        raise PageNotFoundError(f"no model of '{view.path['use_case'][:80]}' is registered in this workspace")
    return versions[0].use_case, versions


def model_page(view: View) -> PageAnswer:
    """Return the page of one model."""
    name, versions = model_versions(view)
    history = Registry(view.opened.store).history(name)
    sections = [
        PageSection(anchor="versions", title="Versions", body=_versions(versions)),
        PageSection(anchor="aliases", title="Aliases", body=_aliases(view, name, versions)),
        PageSection(
            anchor="ledger",
            title="Ledger",
            lead="Who approved, rejected or moved what, when and why. Entries are never changed.",
            body=ledger_table(history),
        ),
    ]
    done = _DONE.get(view.first("done"))
    page = ui_page(
        view,
        title=f"Model {name}",
        active="models",
        heading=page_header(name, eyebrow="Model", lead=callout("good", done) if done else None),
        body=sections,
        sections=[(section.anchor, section.title) for section in sections],
    )
    return PageAnswer(body=page)


def _versions(versions: Sequence[ModelVersion]) -> Markup:
    rows: list[tuple[Node, ...]] = [
        (
            _version_link(version),
            approval_badge(version.status),
            group(*(group(badge(alias, "plain"), " ") for alias in version.aliases)) if version.aliases else "-",
            _metrics(version),
            group(version.dataset or "-", " ", badge("generated", "warn") if version.is_generated_data else None),
            moment(version.created),
            element("a", code(version.run_id), href=f"/runs/{version.run_id}/"),
        )
        for version in versions[:_SHOWN]
    ]
    headings = ("Version", "Approval", "Aliases", "Metrics", "Data set", "Registered (UTC)", "Run")
    left = len(versions) - _SHOWN
    return group(
        data_table("Versions, newest first", headings, rows, class_="versions", is_caption_visible=False),
        element("p", muted(f"{counted(left, 'older version')} not shown; mlops models list shows all."))
        if left > 0
        else None,
    )


def _version_link(version: ModelVersion) -> Markup:
    return element("a", f"version {version.version}", href=f"/models/{part(version.use_case)}/{version.version}")


def _metrics(version: ModelVersion) -> Markup:
    names = sorted(version.metrics, key=lambda name: (name != version.compared_by, name))[:_METRICS]
    return muted(", ".join(f"{name} {format_number(version.metrics[name])}" for name in names))


def _aliases(view: View, name: str, versions: Sequence[ModelVersion]) -> Markup:
    targets = sorted((alias, version.version) for version in versions for alias in version.aliases)
    rows: list[tuple[Node, ...]] = [
        (
            code(alias),
            element("a", f"version {number}", href=f"/models/{part(name)}/{number}"),
            _alias_removal(view, name, alias, number),
        )
        for alias, number in targets
    ]
    table = data_table("Aliases", ("Alias", "Points to", "Remove"), rows, is_caption_visible=False)
    return group(table if rows else missing_note("the model has no alias."), _alias_form(view, name, versions, targets))


def _alias_removal(view: View, name: str, alias: str, number: int) -> Markup:
    return post_form(
        f"/models/{part(name)}/alias",
        element("input", type="hidden", name="alias", value=alias),
        element("input", type="hidden", name="expected", value=str(number)),
        element("button", "Remove", type="submit", aria_label=f"Remove the alias {alias}"),
        csrf=view.csrf,
        class_="",
    )


def _alias_form(view: View, name: str, versions: Sequence[ModelVersion], targets: Sequence[tuple[str, int]]) -> Markup:
    numbers = {str(version.version): f"version {version.version}" for version in versions[:_SHOWN]}
    known = element("datalist", *(element("option", value=alias) for alias, _ in targets), id="known-aliases")
    return group(
        element("h3", "Point an alias to a version"),
        post_form(
            f"/models/{part(name)}/alias",
            element("label", "Alias", for_="alias-name"),
            element(
                "input",
                id="alias-name",
                name="alias",
                type="text",
                required=True,
                list="known-aliases",
                pattern="[a-z][a-z0-9_\\-]*",
                title="a letter, then lower-case letters, digits, - and _",
            ),
            known,
            select_field("version", "Version", numbers, str(versions[0].version)),
            element("label", "Reason, kept in the ledger", for_="alias-why"),
            element("textarea", id="alias-why", name="why", required=True, maxlength=4000),
            element("button", "Continue", type="submit", class_="primary"),
            csrf=view.csrf,
        ),
    )


def ledger_table(entries: Sequence[LedgerEntry]) -> Markup:
    """Return the entries of a ledger, newest first."""
    rows: list[tuple[Node, ...]] = [
        (
            moment(entry.at),
            entry.who,
            entry.subject,
            group(_value(entry.previous), " → ", _value(entry.value)),
            entry.why,
        )
        for entry in reversed(entries[-_SHOWN:])
    ]
    if not rows:
        return missing_note("the ledger has no entry.")
    headings = ("When (UTC)", "Who", "Subject", "Change", "Why")
    left = len(entries) - _SHOWN
    more = element("p", muted(f"{left} older entries: mlops models history shows all.")) if left > 0 else None
    return group(data_table("Ledger, newest first", headings, rows, is_caption_visible=False), more)


def _value(value: str) -> Node:
    if not value:
        return muted("nothing")
    return approval_badge(value) if value in APPROVALS else value


def back_button(name: str) -> Markup:
    """Return the link to the page of a model."""
    return button_link("All versions", f"/models/{part(name)}")


def version_number(text: str) -> int:
    """Return the number of a version in a form or a path.

    Raises:
        UsageError: it is not a number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"{text[:40]!r} is not the number of a version")
    return int(text)
