"""The section of a server's page about drift: each statistic against its threshold, what moved, and the alarms."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.kit import (
    Curve,
    Markup,
    PageSection,
    badge,
    callout,
    code,
    curve_chart,
    data_table,
    details,
    element,
    facts_list,
    group,
    legend,
    missing_note,
    muted,
)
from mlops_core.serving.watch.options import rate_in_words
from mlops_core.serving.watch.records import retrain_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.serving.drift.alarms import DriftAlarm, MovedFeature
    from mlops_core.serving.watch.watching import DriftReport

_LEAD = (
    "Requests are compared with the samples that the model was tested with. A statistic that reaches its threshold "
    "raises an alarm, and everything begins anew."
)
_ALARMS_SHOWN = 5
_UNITS = (
    (300.0, 1.0, "seconds"),
    (5 * 3600.0, 60.0, "minutes"),
    (4 * 86400.0, 3600.0, "hours"),
    (math.inf, 86400.0, "days"),
)


def drift_section(report: DriftReport | None, *, unwatched: str) -> PageSection:
    """Return the section.

    Args:
        report: of the drift detector; None without one.
        unwatched: why there is none.
    """
    if report is None:
        return PageSection(anchor="drift", title="Drift", body=missing_note(unwatched or "drift is not watched"))
    body = group(_outcome(report), _facts(report), _charts(report), _moved(report.moved), _alarms(report.alarms))
    return PageSection(anchor="drift", title="Drift", lead=_LEAD, body=body)


def _outcome(report: DriftReport) -> Markup:
    if not report.alarms:
        return element("p", badge("no alarm", "good"))
    newest = report.alarms[0]
    return callout(
        "warn",
        f"Last alarm on {_time(newest.raised_at)}: {newest.reason}. If the new data is right, retrain on it: ",
        code(retrain_command(report.use_case)),
        ". Nothing was started or deployed.",
    )


def _facts(report: DriftReport) -> Markup:
    every = "each sample" if report.plan.every == 1 else f"one in {report.plan.every:,} samples"
    return facts_list(
        {
            "Reference": report.reference,
            "Observed": f"{every}; {int(report.state['observed']):,} of {int(report.state['seen']):,} so far",
            "False alarms": rate_in_words(report.days, report.requests_per_hour),
            "On held-out data": report.held_out,
            "Alarms": f"{int(report.state['alarms']):,}",
        },
        class_="wide",
    )


def _charts(report: DriftReport) -> Markup:
    if len(report.history) < 2:
        return element("p", muted("A chart appears when two samples have been observed."))
    return element("div", *(_figure(report, name) for name in report.statistics), class_="charts")


def _figure(report: DriftReport, name: str) -> Markup:
    begin = report.history[0][0]
    _, divisor, unit = next(each for each in _UNITS if report.now - begin <= each[0])
    points = tuple(
        (round((moment - report.now) / divisor, 2), values[name]) for moment, values in report.history if name in values
    )
    threshold = report.state[f"{name}_threshold"]
    curves = [Curve(name="statistic", kind="held-out", points=points)]
    curves.append(
        Curve(name="threshold", kind="training", points=((points[0][0], threshold), (points[-1][0], threshold)))
    )
    value = points[-1][1]
    return element(
        "figure",
        element("figcaption", _title(name)),
        legend((f"line {curve.kind}", curve.name) for curve in curves),
        curve_chart(
            curves,
            x_label=f"{unit} from now",
            label=f"{_title(name)}: now {format_number(value)}, threshold {format_number(threshold)}",
        ),
        element("output", f"now {format_number(value)} of {format_number(threshold)}", class_="readout"),
        class_="curves",
    )


def _title(name: str) -> str:
    if name.startswith("mmd_"):
        return f"MMD² of the last {name.removeprefix('mmd_')} observed samples"
    return "largest cumulative sum (CUSUM) of a feature"


def _short_title(name: str) -> str:
    return f"MMD², {name.removeprefix('mmd_')} samples" if name.startswith("mmd_") else "CUSUM"


def _moved(features: Sequence[MovedFeature]) -> Markup:
    rows = [
        (
            code(each.name),
            f"{each.shift:+.2f}",
            format_number(each.ks),
            badge("moved", "warn") if each.has_moved else "by chance",
        )
        for each in features
    ]
    if not rows:
        return group()
    headings = ("Feature", "Shift in standard deviations", "KS distance", "Verdict")
    return data_table("Features that moved most in the present window", headings, rows)


def _alarms(alarms: Sequence[DriftAlarm]) -> Markup:
    if not alarms:
        return group()
    newest = _alarm_table("Alarms, newest first", alarms[:_ALARMS_SHOWN])
    older = alarms[_ALARMS_SHOWN:]
    return group(newest, details(f"{len(older)} older", _alarm_table("Older alarms", older)) if older else None)


def _alarm_table(caption: str, alarms: Sequence[DriftAlarm]) -> Markup:
    rows = [
        (
            _time(alarm.raised_at),
            _short_title(alarm.statistic),
            f"{format_number(alarm.value)} of {format_number(alarm.threshold)}",
            ", ".join(f"{each.name} {each.shift:+.2g} sd" for each in alarm.features if each.has_moved)
            or "no one alone",
            "retrain" if alarm.proposal else "-",
        )
        for alarm in alarms
    ]
    return data_table(caption, ("Time (UTC)", "Statistic", "Value", "Moved", "Proposal"), rows)


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"
