"""The page of one model version, its card, and its evidence bundle."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.quantities import format_number
from mlops_core.report.kit import (
    Markup,
    Node,
    PageSection,
    badge,
    callout,
    code,
    data_table,
    digest,
    element,
    facts_list,
    group,
    missing_note,
)
from mlops_core.web.answers import PageAnswer, PageNotFoundError, attachment
from mlops_core.web.pages.forms import address, button_link, part, post_form, spaced
from mlops_core.web.pages.registry.card_text import markdown_markup
from mlops_core.web.pages.registry.models import back_button, ledger_table, model_versions, version_number
from mlops_core.web.pages.states import approval_badge, moment
from mlops_core.web.shell import page_header, ui_page
from mlops_core.workspace.ledger import alias_subject, version_subject
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from mlops_core.datasets.licences import Licences
    from mlops_core.web.answers import View
    from mlops_core.workspace.model_versions import ModelVersion

_DONE = {"approved": "The version was approved.", "rejected": "The version was rejected."}


def known_version(view: View) -> ModelVersion:
    """Return the version in the path.

    Raises:
        PageNotFoundError: there is no such version.
    """
    name, versions = model_versions(view)
    number = version_number(view.path["version"])
    for version in versions:
        if version.version == number:
            return version
    raise PageNotFoundError(f"model {name} has no version {number}")


def version_page(view: View) -> PageAnswer:
    """Return the page of a version."""
    version = known_version(view)
    name = version.use_case
    subjects = {version_subject(version.version), *(alias_subject(alias) for alias in version.aliases)}
    entries = [
        entry
        for entry in Registry(view.opened.store).history(name)
        if entry.subject in subjects or str(version.version) in (entry.value, entry.previous)
    ]
    sections = [
        PageSection(anchor="facts", title="Facts", body=_facts(version)),
        PageSection(anchor="metrics", title="Metrics", body=_metrics(version)),
        PageSection(anchor="decide", title="Approve or reject", body=_decision_form(view, version)),
        PageSection(anchor="ledger", title="Ledger of this version", body=ledger_table(entries)),
        PageSection(anchor="card", title="Model card", body=_card(view, version)),
    ]
    path = f"/models/{part(name)}/{version.version}"
    heading = page_header(
        group(f"{name} version {version.version}", " ", approval_badge(version.status), *_alias_badges(version)),
        eyebrow=group("Model ", element("a", name, href=f"/models/{part(name)}")),
        lead=_note(view),
        actions=spaced(
            button_link("Evidence bundle", f"{path}/bundle.tar"),
            button_link("Model card (Markdown)", f"{path}/card"),
            button_link("Run", f"/runs/{version.run_id}/"),
            back_button(name),
        ),
    )
    page = ui_page(
        view,
        title=f"{name} version {version.version}",
        active="models",
        heading=heading,
        body=sections,
        sections=[(section.anchor, section.title) for section in sections],
    )
    return PageAnswer(body=page)


def card_page(view: View) -> PageAnswer:
    """Return the model card as a Markdown file."""
    version = known_version(view)
    text = _card_text(view, version)
    headers = attachment(f"model-card-{version.version}.md")
    return PageAnswer(body=text, media_type="text/markdown; charset=utf-8", headers=headers)


def bundle_file(view: View) -> PageAnswer:
    """Return the evidence bundle of a version, not signed: the application holds no key."""
    from mlops_core.trust.bundles.bundle import find_subject, write_bundle

    version = known_version(view)
    store = view.opened.store
    subject = find_subject(store, str(version.version), use_case=version.use_case)
    descriptor, name = tempfile.mkstemp(prefix="mlops-ui-", suffix=".tar")
    os.close(descriptor)
    try:
        write_bundle(store, subject, Path(name))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    headers = attachment(f"bundle-{version.run_id}.tar")
    return PageAnswer(file=Path(name), is_removed=True, media_type="application/x-tar", headers=headers)


def _note(view: View) -> Markup | None:
    done = view.first("done")
    if done not in _DONE:
        return None
    best = {"moved": " The alias 'best' points to it now.", "kept": " The alias 'best' was not moved.", "": ""}
    failed = " Whether it is better than 'best' could not be found out; see the log of the server."
    return callout("good", _DONE[done] + best.get(view.first("best"), failed))


def _alias_badges(version: ModelVersion) -> list[Markup]:
    return [group(" ", badge(alias, "plain")) for alias in version.aliases]


def _facts(version: ModelVersion) -> Markup:
    facts: dict[str, Node] = {
        "Registered": group(moment(version.created), " UTC"),
        "Run": element("a", code(version.run_id), href=f"/runs/{version.run_id}/"),
        "Plugin": version.plugin or "-",
        "Model": digest(version.artifact),
        "Data set": _dataset(version),
        "Test set": digest(version.test_set),
        "Code of the plugin": digest(version.code),
        **_licences(version.licences),
    }
    if version.is_generated_data:
        facts["Note"] = badge("trained on generated data", "warn")
    return facts_list(facts, class_="wide")


def _dataset(version: ModelVersion) -> Node:
    if not version.dataset_digest:
        return version.dataset or "-"
    link = element("a", version.dataset, href=f"/datasets/{part(version.dataset_digest)}")
    return group(
        link, f" ({version.dataset_asset})" if version.dataset_asset else "", " ", digest(version.dataset_digest)
    )


def _licences(licences: Licences | None) -> dict[str, Node]:
    if licences is None:
        return {"Licences": "not recorded"}
    return {f"Licence of {what}": licence or "not known" for what, licence in licences.named()}


def _metrics(version: ModelVersion) -> Markup:
    if not version.metrics:
        return missing_note("the version has no metrics.")
    rows = [
        (
            name,
            element("strong", format_number(value)),
            "versions are compared by it" if name == version.compared_by else "",
        )
        for name, value in sorted(version.metrics.items())
    ]
    return data_table("Metrics on the test set", ("Metric", "Value", "Note"), rows, is_caption_visible=False)


def _decision_form(view: View, version: ModelVersion) -> Markup:
    """Return the form that decides; the next page asks for confirmation."""
    is_approved, is_rejected = (version.status is each for each in (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED))
    return post_form(
        f"/models/{part(version.use_case)}/{version.version}/status",
        element("p", "The version is now: ", approval_badge(version.status)),
        element("input", type="hidden", name="expected", value=str(version.status)),
        element("label", "Reason, kept in the ledger", for_="why"),
        element("textarea", id="why", name="why", required=True, maxlength=4000),
        element(
            "div",
            None
            if is_approved
            else element("button", "Approve", type="submit", name="status", value="approve", class_="primary"),
            None
            if is_rejected
            else element("button", "Reject", type="submit", name="status", value="reject", class_="danger"),
            class_="actions",
        ),
        csrf=view.csrf,
    )


def _card(view: View, version: ModelVersion) -> Markup:
    try:
        text = _card_text(view, version)
    except MlopsError as error:
        return missing_note(str(error))
    return group(
        element("div", markdown_markup(text), class_="card-text"),
        element(
            "p",
            element("a", "Save as Markdown", href=address(f"/models/{part(version.use_case)}/{version.version}/card")),
        ),
    )


def _card_text(view: View, version: ModelVersion) -> str:
    from mlops_core.trust.model_card import version_card

    return version_card(view.opened.store, version)
