"""What a report contains, stored in the page itself, so that a report is never replaced by one that shows less.

A report is evidence: data sets move, plugins are removed and artifacts are cleaned up, and what the page showed cannot
be shown again. Each page says in its head how much of each part it has; before a page is replaced, the two are
compared.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mlops_core.evaluation.metrics import MetricReport
from mlops_core.report.facts import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_core.report.evidence import Evidence

CONTENTS_NAME = "mlops-contents"
"""Name of the ``meta`` element that holds the contents."""
_HEAD_BYTES = 262_144
_META = re.compile(rf'<meta name="{CONTENTS_NAME}" content="([^"]*)">')


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContents:
    """How much a report contains.

    Attributes:
        state: digest of the state of the run that it shows; it differs once the run was resumed.
        available: part -> how many of it the page shows.
        missing: part -> why the page shows none or not all of it.
    """

    state: str
    available: Mapping[str, int]
    missing: Mapping[str, str]

    def to_text(self) -> str:
        """Return the contents as the text that `read_contents` finds in a page."""
        return json.dumps(asdict(self), sort_keys=True)

    def losses(self, earlier: ReportContents) -> tuple[str, ...]:
        """Return, for each part of which `earlier` has more, what is lost and why; empty when this is no poorer."""
        return tuple(
            f"{part}: {self.available.get(part, 0)} instead of {count} ({reason.rstrip('.')})"
            for part, count in earlier.available.items()
            if self.available.get(part, 0) < count and (reason := self.missing.get(part))
        )


def contents_of(evidence: Evidence) -> ReportContents:
    """Return what a report of `evidence` contains."""
    parts = list(_parts(evidence))
    return ReportContents(
        state=_state(evidence),
        available={name: count for name, count, _ in parts},
        missing={name: reason for name, _, reason in parts if reason},
    )


def read_contents(page: Path) -> ReportContents | None:
    """Return the contents of a page that was written earlier; None when it does not say them.

    Raises:
        OSError: the page exists and cannot be read.
    """
    with page.open(encoding="utf-8", errors="replace") as stream:
        match = _META.search(stream.read(_HEAD_BYTES))
    try:
        return ReportContents(**json.loads(html.unescape(match[1]))) if match else None
    except (ValueError, TypeError):
        return None


def _state(evidence: Evidence) -> str:
    record = evidence.record
    outputs = {step.name: dict(step.outputs) for step in record.steps}
    return hashlib.sha256(json.dumps([record.status, outputs], sort_keys=True).encode()).hexdigest()


def _parts(evidence: Evidence) -> Iterator[tuple[str, int, str]]:
    """Yield each part of a report with how many of it there are and, where some are missing, the reason."""
    report = evidence.facts.evaluation
    if isinstance(report, MetricReport):
        yield "metrics", len(report.values), ""
        yield "confusion matrices", len(report.confusion_matrices), ""
        yield "evaluation tables", len(report.tables), ""
    else:
        for part in ("metrics", "confusion matrices", "evaluation tables"):
            yield part, 0, report.reason
    yield "training histories", *_counted(evidence.histories)
    if evidence.searches:
        trials = [trial for search in evidence.searches for trial in search.trials]
        known = sum(trial.value is not None for trial in trials)
        yield "results of trials", known, "" if known == len(trials) else "a trial has no result any more"
    worst = evidence.worst
    yield "worst predictions", *((0, worst.reason) if isinstance(worst, Missing) else (len(worst.samples), ""))
    no_samples = worst.reason if isinstance(worst, Missing) else ""
    count, reason = _counted(tuple(evidence.previews.values()))
    yield "previews", count, reason or no_samples
    yield "comparison with the previous accepted run", *_counted((evidence.comparison,))
    yield "metrics of the previous accepted run", *_previous_metrics(evidence)
    lines = sum(map(len, evidence.logs.values()))
    yield "log lines of failed steps", lines, "" if all(evidence.logs.values()) else "a log is gone"


def _previous_metrics(evidence: Evidence) -> tuple[int, str]:
    """Return how many metrics of the previous run are shown, and why they are not."""
    if isinstance(evidence.previous, Missing):
        return 0, evidence.previous.reason
    report = evidence.previous.evaluation
    return (0, report.reason) if isinstance(report, Missing) else (len(report.values), "")


def _counted(parts: tuple[object, ...]) -> tuple[int, str]:
    missing = [part.reason for part in parts if isinstance(part, Missing)]
    return len(parts) - len(missing), missing[0] if missing else ""
