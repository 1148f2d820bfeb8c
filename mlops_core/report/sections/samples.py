"""The worst samples of the test set, each with a preview to hear, see or read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.facts import Missing
from mlops_core.report.kit import Markup, PageSection, badge, data_uri, element, group, missing_note, muted, share_bar

if TYPE_CHECKING:
    from mlops_core.datasets.previews import Preview
    from mlops_core.predictions.boxes import BoxErrors
    from mlops_core.report.evidence import Evidence
    from mlops_core.report.worst import JudgedSample, WorstSamples

_TITLE = "Worst predictions"
_TEXT_LIMIT = 600
_MAX_LOSS = 27.6
"""Negative logarithm of the smallest score that is distinguished from 0."""


def samples_section(evidence: Evidence) -> PageSection:
    """Return a card for each of the worst samples."""
    worst = evidence.worst
    if isinstance(worst, Missing):
        return PageSection(anchor="samples", title=_TITLE, body=missing_note(worst.reason))
    if not worst.samples:
        return PageSection(anchor="samples", title=_TITLE, body=missing_note("the evaluation wrote no predictions."))
    reason = _common_reason(evidence)
    previews = {} if reason else evidence.previews
    cards = (_card(worst, sample, previews.get(sample.sample)) for sample in worst.samples)
    body = group(missing_note(reason) if reason else None, element("ol", *cards, class_="samples"))
    return PageSection(anchor="samples", title=_TITLE, lead=_lead(worst), body=body)


def _common_reason(evidence: Evidence) -> str:
    """Return why no sample has a preview, if it is the same for all; empty otherwise."""
    reasons = {preview.reason if isinstance(preview, Missing) else "" for preview in evidence.previews.values()}
    return reasons.pop() if len(reasons) == 1 and len(evidence.previews) > 1 else ""


def _lead(worst: WorstSamples) -> str:
    if worst.has_boxes:
        return (
            f"{worst.wrong} of {worst.count} samples have objects that were missed,"
            f" invented or found as another class: "
            f"shown are the {len(worst.samples)} with the most of them."
        )
    if worst.is_regression:
        return f"The {len(worst.samples)} of {worst.count} samples with the largest error."
    return (
        f"{worst.wrong} of {worst.count} samples are misclassified. Shown are the {len(worst.samples)} with the "
        "highest loss (negative log score of the true class), at most two of each confusion."
    )


def _card(worst: WorstSamples, sample: JudgedSample, preview: Preview | Missing | None) -> Markup:
    return element(
        "li",
        element("h3", sample.sample),
        sample_preview(sample.sample, preview),
        _answer(worst, sample),
        element("p", muted(_remarks(worst, sample)), class_="sample-facts"),
    )


def _answer(worst: WorstSamples, sample: JudgedSample) -> Markup:
    if sample.errors is not None:
        return _detection(sample, sample.errors)
    return _regression(sample) if worst.is_regression else _classification(sample)


def _detection(sample: JudgedSample, errors: BoxErrors) -> Markup:
    state = badge("wrong", "bad") if sample.is_wrong else badge("correct", "good")
    counts = ((errors.confused, "found as another class"), (errors.missed, "missed"), (errors.invented, "invented"))
    wrong = [f"{count} {text}" for count, text in counts if count]
    return element("p", state, " ", ", ".join([f"{errors.right} of {sample.label} objects found", *wrong]))


def _remarks(worst: WorstSamples, sample: JudgedSample) -> str:
    if worst.has_boxes:
        remarks = [f"{sample.loss:g} wrong"]
    elif worst.is_regression:
        remarks = [f"error {format_number(sample.loss)}"]
    else:
        remarks = [f"loss {f'over {_MAX_LOSS}' if sample.loss > _MAX_LOSS else format_number(sample.loss)}"]
    if sample.group != sample.sample:
        remarks.append(f"group {sample.group}")
    if sample.parts > 1:
        remarks.append(f"mean of {sample.parts} parts")
    return ", ".join(remarks)


def _classification(sample: JudgedSample) -> Markup:
    truth = element("strong", sample.label)
    if sample.is_wrong:
        summary = element("p", badge("wrong", "bad"), " ", truth, f" predicted as {sample.guesses[0].label}")
    else:
        summary = element("p", badge("correct", "good"), " ", truth)
    return element("div", summary, score_list(sample))


def score_list(sample: JudgedSample) -> Markup:
    """Return the scores of the best classes and of the true one, as bars."""
    rows = [_score(guess.label, guess.score, is_truth=guess.label == sample.label) for guess in sample.guesses]
    if sample.label not in [guess.label for guess in sample.guesses]:
        rows.append(_score(sample.label, sample.label_score, is_truth=True))
    return element("ul", *rows, class_="scores")


def _score(label: str, score: float, *, is_truth: bool) -> Markup:
    bar = share_bar(score, kind="right" if is_truth else "wrong", label=f"score of {label}: {format_number(score)}")
    name = element("span", label, " (true)" if is_truth else None, class_="score-name")
    return element("li", name, bar, element("span", f"{score:.3f}", class_="score"))


def _regression(sample: JudgedSample) -> Markup:
    prediction = element("strong", f"{sample.label_score:g}")
    return element("p", "true ", element("strong", sample.label), ", predicted ", prediction)


def sample_preview(sample: str, preview: Preview | Missing | None) -> Markup | None:
    """Return what a sample sounds or looks like, or why it is not shown; None for nothing."""
    if preview is None:
        return None
    if isinstance(preview, Missing):
        return element("p", muted(preview.reason), class_="preview")
    caption = element("figcaption", preview.caption) if preview.caption else None
    address = data_uri(preview.media_type, preview.data)
    if preview.kind == "audio":
        sound = element("audio", controls=True, preload="metadata", src=address, aria_label=f"Play {sample}")
        return element("figure", sound, caption, class_="preview")
    if preview.kind == "image":
        return element("figure", element("img", src=address, alt=f"Sample {sample}"), caption, class_="preview")
    text = preview.data.decode("utf-8", "replace")
    shortened = text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…"
    return element("figure", element("pre", shortened, tabindex=0), caption, class_="preview")
