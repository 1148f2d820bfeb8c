"""``mlops gate selftest|replay``."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.author import gate_replay
from mlops_core.cli.options import chosen_use_case, config_options, json_option, parse_parameters, use_case_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import ExitCode

if TYPE_CHECKING:
    from mlops_core.testing.use_cases.session import ContractSession


@click.group("gate")
def command() -> None:
    """Test a gate on models that it must reject, or replay another one over stored runs."""


command.add_command(gate_replay.command)


@command.command("selftest")
@use_case_option
@config_options
@click.option(
    "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the pipeline. Repeatable."
)
@click.option("--run", "run_id", metavar="RUN", help="Use the predictions of this run instead of a new small run.")
@json_option
@click.pass_obj
def selftest(
    context: dict[str, str | None],
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    parameters: tuple[str, ...],
    run_id: str | None,
    as_json: bool,
) -> int:
    """Test the use case's metrics and gate with canaries: all must be rejected except a perfect oracle.

    The canaries are a constant predictor, shuffled labels, an untrained model, an empty test set, inverted
    predictions, and metrics that are NaN, infinite, missing, in percent or inverted. The exit code is 6 if a canary
    gets the wrong verdict.
    """
    from mlops_core.testing.observation.processes import Processes
    from mlops_core.testing.use_cases.checks.gate import SELFTEST
    from mlops_core.testing.use_cases.registry import all_checks
    from mlops_core.testing.use_cases.session import ContractSession
    from mlops_core.testing.use_cases.subjects import subject_of
    from mlops_core.use_cases.discovery import find_use_case

    subject = subject_of(find_use_case(chosen_use_case(usecase)))
    declared = replace(
        subject.declaration,
        parameters={**subject.declaration.parameters, **parse_parameters(parameters)},
        overrides=(*subject.declaration.overrides, *overrides),
        config=Path(config) if config else subject.declaration.config,
    )
    with tempfile.TemporaryDirectory(prefix="mlops-gate-") as folder, Processes() as processes:
        session = ContractSession(declared, processes=processes, folder=Path(folder))
        if run_id:
            session = _of_run(session, run_id, workspace=context["workspace"])
        outcomes = [session.outcome(all_checks()[name], ignoring=SELFTEST) for name in SELFTEST]
        gate = str(session.pipeline.gate.condition)
    if as_json:
        print_json({"gate": gate, "canaries": [_json(outcome) for outcome in outcomes]})
    else:
        echo_line(f"{subject.installed}: {gate}")
        rows = [(_WORDS.get(one.status, one.status), one.check, "; ".join(one.violations)) for one in outcomes]
        print_table(("", "canary", "found"), rows)
    return ExitCode.OK if all(outcome.is_good for outcome in outcomes) else ExitCode.PLUGIN


_WORDS = {"passed": "pass", "failed": "FAIL", "unexpected": "FAIL", "blocked": "not tried", "skipped": "no matter"}


def _json(outcome: object) -> dict[str, object]:
    from mlops_core.testing.outcomes import Outcome

    assert isinstance(outcome, Outcome)  # noqa: S101  for mypy
    return {"canary": outcome.check, "status": outcome.status, "messages": list(outcome.violations)}


def _of_run(session: ContractSession, run_id: str, *, workspace: str | None) -> ContractSession:
    """Return a session with the configuration, parameters, predictions and evaluation of a stored run.

    Raises:
        UsageError: there is no such run, it is of another use case, or it has no evaluation.
    """
    from mlops_core.api import workspace_path
    from mlops_core.errors import UsageError
    from mlops_core.evaluation.evaluation_file import read_evaluation
    from mlops_core.predictions import read_predictions
    from mlops_core.runners.evidence import split_columns
    from mlops_core.testing.use_cases.session import ContractSession
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        record = store.runs.load(run_id)
        if record.use_case != session.installed.name:
            raise UsageError(f"run {record.run_id} belongs to {record.use_case}, not to {session.installed.name}")
        path = session.folder / "config.yaml"
        path.write_text(record.config, encoding="utf-8")
        declared = replace(
            session.declaration,
            config=path,
            overrides=(),
            parameters={name: str(value) for name, value in record.parameters.items()},
        )
        found = ContractSession(declared, processes=session.processes, folder=session.folder)
        step = record.step(found.pipeline.evaluation_step.name)
        if step is None or not step.outputs:
            raise UsageError(f"run {record.run_id} has no evaluation; it is {record.status}")
        found.take_run(
            predictions=read_predictions(store.artifacts.path(step.outputs["predictions"])),
            columns=split_columns(
                store.artifacts.path(digest) for name, digest in step.inputs.items() if store.artifacts.has(digest)
            ),
            report=read_evaluation(store.artifacts.path(step.outputs["evaluation"]), found.pipeline.metrics),
        )
    return found
