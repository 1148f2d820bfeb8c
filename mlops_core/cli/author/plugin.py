"""``mlops plugin new|check|checks``."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_core.cli.options import HomePath, config_options, json_option, parse_parameters
from mlops_core.cli.output import format_duration, print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlops_core.testing.checks import Check
    from mlops_core.testing.outcomes import Outcome
    from mlops_core.testing.use_cases.session import ContractSession
    from mlops_core.testing.use_cases.subjects import Subject


@click.group("plugin")
def command() -> None:
    """Create a plugin, and check one against the contract."""


@command.command("new")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["audio", "image", "tabular"]),
    default="tabular",
    show_default=True,
    help="Kind of samples.",
)
@click.option(
    "--into",
    type=HomePath(file_okay=False),
    default=".",
    show_default=True,
    help="Folder in which the plugin's folder is created.",
)
def new(*, name: str, kind: str, into: str) -> None:
    """Create a complete small distribution with the use case NAME, for example BIRD_CALLS."""
    from mlops_core.scaffolding import use_case_name, write_plugin

    folder = write_plugin(name, kind=kind, into=Path(into))
    echo_line(f"{folder} contains a complete plugin; next:")
    echo_line(f"  pip install -e '{folder}[test]'")
    echo_line(f"  mlops run --usecase {use_case_name(name)}")
    echo_line(f"  mlops plugin check {folder}")


@command.command("checks")
@json_option
def checks(*, as_json: bool) -> None:
    """List the checks of the contract: the rule, and how to fix a violation."""
    from mlops_core.testing.use_cases.registry import all_checks

    found = all_checks().values()
    if as_json:
        print_json([{"name": one.name, "phase": one.phase, "rule": one.rule, "fix": one.remedy} for one in found])
        return
    print_table(("phase", "check", "rule"), [(one.phase, one.name, one.rule) for one in found])


@command.command("check")
@click.argument("subject", metavar="NAME|DIST|PATH")
@config_options
@click.option(
    "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the pipeline. Repeatable."
)
@click.option(
    "--without",
    multiple=True,
    metavar="CAPABILITY",
    help="Capability that the use case does not claim, for example is_deterministic. Repeatable.",
)
@click.option("--only", multiple=True, metavar="CHECK", help="Run only this check. Repeatable.")
@click.option(
    "--keep",
    type=HomePath(file_okay=False),
    help="New folder for outputs, logs and workspaces, which are removed otherwise.",
)
@json_option
def check(
    *,
    subject: str,
    config: str | None,
    overrides: tuple[str, ...],
    parameters: tuple[str, ...],
    without: tuple[str, ...],
    only: tuple[str, ...],
    keep: str | None,
    as_json: bool,
) -> int:
    """Check a use case, a distribution, or a folder that is not installed, against the contract.

    A folder need not be installed. The declaration in tests/test_contract.py is used. The exit code is 6 if a rule is
    broken.
    """
    from mlops_core.testing.use_cases.registry import all_checks, find_check
    from mlops_core.testing.use_cases.subjects import subjects

    chosen = [find_check(name) for name in only] or list(all_checks().values())
    results = []
    with subjects(subject) as found:
        for item in found:
            changed = _changed(item, config=config, overrides=overrides, parameters=parameters, without=without)
            with _place(keep, use_case=item.installed.name) as folder:
                results.append(_check_one(changed, chosen, folder=folder, is_quiet=as_json))
    if as_json:
        print_json(results)
    return ExitCode.OK if all(result["is_good"] for result in results) else ExitCode.PLUGIN


def _changed(
    subject: Subject,
    *,
    config: str | None,
    overrides: tuple[str, ...],
    parameters: tuple[str, ...],
    without: tuple[str, ...],
) -> Subject:
    from mlops_core.errors import UsageError, did_you_mean
    from mlops_core.testing.use_cases.declaration import capability_flags

    declared = subject.declaration
    flags = capability_flags()
    for name in without:
        if name not in flags:
            raise UsageError(
                f"--without {name}: no such capability{did_you_mean(name, flags) or ';'} "
                f"capabilities: {', '.join(flags)}"
            )
    changes: dict[str, Any] = dict.fromkeys(without, False)
    changes["overrides"] = (*declared.overrides, *overrides)
    changes["parameters"] = {**declared.parameters, **parse_parameters(parameters)}
    if config:
        changes["config"] = Path(config)
    return replace(subject, declaration=replace(declared, **changes))


@contextlib.contextmanager
def _place(keep: str | None, *, use_case: str) -> Iterator[Path]:
    """Yield an empty folder for the checks; it is kept if the user named it."""
    from mlops_core.errors import UsageError

    if keep is None:
        with tempfile.TemporaryDirectory(prefix="mlops-check-") as folder:
            yield Path(folder)
        return
    path = Path(keep) / use_case
    if path.exists():
        raise UsageError(f"--keep {keep}: {path} exists; name a new folder")
    path.mkdir(parents=True)
    yield path


def _check_one(subject: Subject, checks: Iterable[Check], *, folder: Path, is_quiet: bool) -> dict[str, Any]:
    from mlops_core.testing.observation.processes import Processes
    from mlops_core.testing.use_cases.session import ContractSession

    if not is_quiet:
        echo_line(f"{subject.installed}; {subject.origin}")
    with Processes() as processes:
        session = ContractSession(subject.declaration, processes=processes, folder=folder)
        outcomes = []
        for one in checks:
            outcome = session.outcome(one)
            outcomes.append(outcome)
            if not is_quiet and outcome.status != "passed":
                _print_outcome(one, outcome)
    notes = _notes(session, outcomes)
    if not is_quiet:
        for note in notes:
            echo_line(f"  warning: {note}")
        _print_summary(outcomes)
    return {
        "use_case": subject.installed.name,
        "distribution": subject.installed.distribution,
        "declared_in": subject.origin,
        "is_good": all(outcome.is_good for outcome in outcomes),
        "warnings": notes,
        "checks": [
            {
                "name": outcome.check,
                "status": outcome.status,
                "messages": list(outcome.violations),
                "duration_s": round(outcome.duration_s, 3),
            }
            for outcome in outcomes
        ],
    }


def _notes(session: ContractSession, outcomes: Iterable[Outcome]) -> list[str]:
    """Return what the checks cannot fail for: a small configuration need not give a useful model."""
    from mlops_core.evaluation.baselines import constant_warning

    if not any(outcome.check == "gate_rejects_a_constant_predictor" and outcome.is_good for outcome in outcomes):
        return []
    warning = constant_warning(session.predictions)
    return [f"{warning}; the checks of the gate say nothing about this configuration's model"] if warning else []


def _print_outcome(check: Check, outcome: Outcome) -> None:
    if outcome.is_good or outcome.status == "blocked":
        echo_line(f"  {outcome.status:<8} {check.name}: {'; '.join(outcome.violations)}")
        return
    echo_line(f"  {'FAILED':<8} {check.name}: {check.rule}")
    for violation in outcome.violations:
        echo_line(f"           found: {violation}")
    echo_line(f"           fix: {check.remedy}")


def _print_summary(outcomes: list[Outcome]) -> None:
    counts = Counter(str(outcome.status) for outcome in outcomes)
    listed = ", ".join(f"{count} {status}" for status, count in counts.items())
    echo_line(f"{len(outcomes)} checks: {listed} in {format_duration(sum(one.duration_s for one in outcomes))}")
