"""The matrix: every installed use case at its smallest configuration, on every installed runner.

Each cell is a run in a workspace of its own. The same rows become a table, JSON and one HTML page
(`mlops_core.testing.matrix.page`).
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ExitCode, MlopsError
from mlops_core.testing.observation.trees import differences, shown
from mlops_core.testing.use_cases.session import ContractSession
from mlops_core.testing.use_cases.subjects import subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mlops_core.testing.observation.processes import Processes
    from mlops_core.testing.runners.installed import RunnerOutcome, RunnerUnderTest
    from mlops_core.use_cases.discovery import InstalledUseCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One use case on one runner.

    Attributes:
        use_case: its name.
        plugin: distribution and version.
        runner: name of the runner; empty where the use case could not even be loaded.
        status: ``accepted``, ``rejected``, ``failed``, or ``broken`` for a use case that cannot be loaded.
        configuration: with which it was run.
        metrics: name -> value, as the gate saw it.
        duration_s: of the run.
        steps_s: step -> seconds.
        is_same: its outputs equal those of the first runner; None where nothing was compared.
        message: the problem; empty when there is none.
    """

    use_case: str
    plugin: str
    runner: str
    status: str
    configuration: str = ""
    metrics: Mapping[str, float | None]
    duration_s: float = 0.0
    steps_s: Mapping[str, float]
    is_same: bool | None = None
    message: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of a command that made only this cell."""
        if self.status == "broken" or self.is_same is False:
            return ExitCode.PLUGIN
        codes = {"accepted": ExitCode.OK, "rejected": ExitCode.REJECTED, "undecided": ExitCode.REJECTED}
        return codes.get(self.status, ExitCode.STEP)

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
        runners: the columns; all are compared with the first one that reaches a verdict.
        processes: in which the plugins' code is executed.
        on_cell: called with each cell as soon as it is known.
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
            is_compared = first is not None and session.declaration.is_deterministic and not found.error
            differing = _differing(first, found) if first is not None and is_compared else ""
            first = first or (None if found.error else found)
            yield Cell(
                use_case=use_case.name,
                plugin=plugin,
                runner=runner.name,
                status=found.status,
                configuration=subject.origin,
                metrics=found.metrics,
                duration_s=found.duration_s,
                steps_s=found.durations_s,
                is_same=not differing if is_compared else None,
                message=found.error or differing,
            )


def _differing(first: RunnerOutcome, found: RunnerOutcome) -> str:
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


def comparison_text(cell: Cell) -> str:
    """Return the result of comparing a cell's outputs, as one word."""
    return {True: "same", False: "DIFFER", None: "-"}[cell.is_same]
