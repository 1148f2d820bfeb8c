"""The samples that the model gets most wrong, to be heard, seen or read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.blocks import PageSection, badge, missing_note, muted
from mlops_core.report.charts import share_bar
from mlops_core.report.facts import Missing
from mlops_core.report.markup import Markup, data_uri, element

if TYPE_CHECKING:
    from mlops_core.datasets.previews import Preview
    from mlops_core.report.evidence import Evidence
    from mlops_core.report.worst import Guess, JudgedSample, WorstSamples

_TEXT_LIMIT = 600
_MAX_LOSS = 27.6
"""Minus the logarithm of the smallest score that is told apart from 0."""


def samples_section(evidence: Evidence) -> PageSection:
    """Return a card for each of the worst samples."""
    worst = evidence.worst
    if isinstance(worst, Missing):
        return PageSection(anchor="samples", title="Worst samples", body=missing_note(worst.reason))
    if not worst.samples:
        return PageSection(anchor="samples", title="Worst samples", body=missing_note("there are no predictions."))
    cards = (_card(worst, sample, evidence.previews.get(sample.sample)) for sample in worst.samples)
    return PageSection(
        anchor="samples",
        title="Worst samples",
        lead=_lead(worst),
        body=element("ol", *cards, class_="samples"),
    )


def _lead(worst: WorstSamples) -> str:
    shown = f"The {len(worst.samples)} with the largest"
    if worst.is_regression:
        return f"{shown} error of {worst.count}."
    meaning = "loss, minus the logarithm of the score of the true class"
    return f"{worst.wrong} of {worst.count} samples are classified wrongly. {shown} {meaning}:"


def _card(worst: WorstSamples, sample: JudgedSample, preview: Preview | Missing | None) -> Markup:
    return element(
        "li",
        element("h3", sample.sample),
        _preview(sample.sample, preview),
        _regression(sample) if worst.is_regression else _classification(sample),
        element("p", muted(_facts(worst, sample)), class_="sample-facts"),
    )


def _facts(worst: WorstSamples, sample: JudgedSample) -> str:
    loss = (
        f"at least {_MAX_LOSS}" if not worst.is_regression and sample.loss > _MAX_LOSS else format_number(sample.loss)
    )
    told = [f"{'error' if worst.is_regression else 'loss'} {loss}"]
    if sample.group != sample.sample:
        told.append(f"group {sample.group}")
    if sample.parts > 1:
        told.append(f"mean of {sample.parts} parts")
    return ", ".join(told)


def _classification(sample: JudgedSample) -> Markup:
    shown = [*sample.guesses]
    rows = [_guess(guess, label=sample.label) for guess in shown]
    if sample.label not in [guess.label for guess in shown]:
        rows.append(_score_row(sample.label, sample.label_score, kind="right", note="truth"))
    verdict = badge("wrong", "bad") if sample.is_wrong else badge("right", "good")
    return element(
        "div",
        element("p", verdict, " ", element("strong", sample.label), f" taken for {sample.guesses[0].label}")
        if sample.is_wrong
        else element("p", verdict, " ", element("strong", sample.label), ", without certainty"),
        element("ul", *rows, class_="scores"),
    )


def _guess(guess: Guess, *, label: str) -> Markup:
    is_truth = guess.label == label
    return _score_row(guess.label, guess.score, kind="right" if is_truth else "wrong", note="truth" if is_truth else "")


def _score_row(label: str, score: float, *, kind: str, note: str) -> Markup:
    name = element("span", label, f" ({note})" if note else None, class_="score-name")
    bar = share_bar(score, kind=kind, label=f"score of {label}: {format_number(score)}")
    return element("li", name, bar, element("span", f"{score:.3f}", class_="score"))


def _regression(sample: JudgedSample) -> Markup:
    return element(
        "p", "truth ", element("strong", sample.label), ", predicted ", element("strong", f"{sample.label_score:g}")
    )


def _preview(sample: str, preview: Preview | Missing | None) -> Markup | None:
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
