"""The matrix: every installed use case at its smallest configuration, on every installed runner.

Each cell is a run in a workspace of its own. The same rows become a table, JSON and one self-contained HTML page.
"""

from __future__ import annotations

import html
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ExitCode, MlopsError
from mlops_core.testing.session import ContractSession
from mlops_core.testing.subjects import subject_of
from mlops_core.testing.trees import differences, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mlops_core.discovery import InstalledUseCase
    from mlops_core.testing.processes import Processes
    from mlops_core.testing.runners import RunnerOutcome, RunnerUnderTest

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.35rem .8rem;border-bottom:1px solid #ddd}"
    ".accepted{color:#06632b}.rejected{color:#8a5a00}.failed,.broken{color:#a11}small{color:#555}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}small{color:#aaa}"
    ".accepted{color:#6c9}.rejected{color:#db6}.failed,.broken{color:#f88}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One use case on one runner.

    Attributes:
        use_case: its name.
        plugin: distribution and version.
        runner: name of the runner; empty where the use case could not even be loaded.
        status: ``accepted``, ``rejected``, ``failed``, or ``broken`` for a use case that cannot be loaded.
        configuration: what it was run with.
        metrics: name -> value, as the gate saw it.
        duration_s: of the run.
        steps_s: step -> seconds.
        is_same: its outputs are those of the first runner.
        message: what is wrong; empty when nothing is.
    """

    use_case: str
    plugin: str
    runner: str
    status: str
    configuration: str = ""
    metrics: Mapping[str, float | None]
    duration_s: float = 0.0
    steps_s: Mapping[str, float]
    is_same: bool = True
    message: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """What a command that made only this cell exits with."""
        if self.status == "broken" or not self.is_same:
            return ExitCode.PLUGIN
        return {"accepted": ExitCode.OK, "rejected": ExitCode.REJECTED}.get(self.status, ExitCode.STEP)

    def to_json(self) -> dict[str, Any]:
        """Return the cell as JSON types only."""
        return asdict(self)


def run_matrix(
    use_cases: Iterable[InstalledUseCase],
    *,
    runners: Sequence[RunnerUnderTest],
    processes: Processes,
    on_cell: Callable[[Cell], None],
) -> tuple[Cell, ...]:
    """Run each use case on each runner and return the cells, in this order.

    Args:
        use_cases: the rows.
        runners: the columns; the first is what the others are compared with.
        processes: where plugins' code is executed.
        on_cell: is told each cell as soon as it is known.
    """
    cells = []
    for use_case in use_cases:
        for cell in _row(use_case, runners=runners, processes=processes):
            on_cell(cell)
            cells.append(cell)
    return tuple(cells)


def exit_code(cells: Iterable[Cell]) -> ExitCode:
    """Return the gravest of the cells' exit codes: a plugin's fault before a failure before a rejection."""
    return max((cell.exit_code for cell in cells), default=ExitCode.OK)


def _row(use_case: InstalledUseCase, *, runners: Sequence[RunnerUnderTest], processes: Processes) -> Iterable[Cell]:
    plugin = f"{use_case.distribution} {use_case.version}"
    with tempfile.TemporaryDirectory(prefix="mlops-matrix-") as folder:
        try:
            subject = subject_of(use_case)
            session = ContractSession(subject.declaration, processes=processes, folder=Path(folder))
            session.request  # noqa: B018  everything that can be checked before a run is checked here
        except (MlopsError, ImportError) as error:
            yield Cell(
                use_case=use_case.name,
                plugin=plugin,
                runner="",
                status="broken",
                metrics={},
                steps_s={},
                message=str(error),
            )
            return
        first: RunnerOutcome | None = None
        for runner in runners:
            found = runner.run(session)
            first = first or found
            differing = _differing(first, found) if session.declaration.is_deterministic else ""
            yield Cell(
                use_case=use_case.name,
                plugin=plugin,
                runner=runner.name,
                status=found.status,
                configuration=subject.origin,
                metrics=found.metrics,
                duration_s=found.duration_s,
                steps_s=found.durations_s,
                is_same=not differing,
                message=found.error or differing,
            )


def _differing(first: RunnerOutcome, found: RunnerOutcome) -> str:
    if first.error or found.error:
        return ""
    phrases = [
        f"{reference}: {phrase}"
        for reference, files in first.outputs.items()
        for phrase in differences(files, found.outputs.get(reference, {}))
    ]
    if first.status != found.status:
        phrases.append(f"{found.status} instead of {first.status}")
    return shown(phrases)


def metrics_text(cell: Cell) -> str:
    """Return the metrics of a cell in one phrase."""
    return " ".join(f"{name}={'-' if value is None else f'{value:.4g}'}" for name, value in cell.metrics.items())


def html_page(cells: Sequence[Cell], *, title: str) -> str:
    """Return the matrix as one page that needs no other file."""
    rows = "\n".join(map(_html_row, cells))
    counts = {status: sum(cell.status == status for cell in cells) for status in dict.fromkeys(c.status for c in cells)}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items()) or "no use case is installed"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n<p>{html.escape(summary)}</p>\n"
        "<table><thead><tr><th>use case</th><th>runner</th><th>outcome</th><th>metrics</th><th>outputs</th>"
        f"<th>seconds</th><th>steps</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>\n</body></html>\n"
    )


def _html_row(cell: Cell) -> str:
    steps = " ".join(f"{name} {seconds:.1f}" for name, seconds in cell.steps_s.items())
    message = f"<br><small>{html.escape(cell.message)}</small>" if cell.message else ""
    fields = (
        f"{html.escape(cell.use_case)}<br><small>{html.escape(cell.plugin)}; {html.escape(cell.configuration)}</small>",
        html.escape(cell.runner or "-"),
        f'<span class="{cell.status}">{cell.status}</span>{message}',
        html.escape(metrics_text(cell)) or "-",
        "same" if cell.is_same else "<b>DIFFER</b>",
        f"{cell.duration_s:.1f}",
        html.escape(steps) or "-",
    )
    return f"<tr>{''.join(f'<td>{field}</td>' for field in fields)}</tr>"
