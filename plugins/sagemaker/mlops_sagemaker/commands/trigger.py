"""``mlops sagemaker trigger``: event rules that start pipelines, checked and tried without an account."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_core.cli.options import HomePath, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.runners.remote.options import pipeline_name_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_sagemaker.triggers.lint import PipelineOutputs
    from mlops_sagemaker.triggers.rules import EventRule
    from mlops_sagemaker.triggers.simulation import Simulation


@click.group("trigger")
def command() -> None:
    """Check, try and generate the event rules that start pipelines."""


def _rules_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say whose pipeline the rules start."""
    with_name = use_case_option(function)
    shared: list[click.Parameter] = getattr(with_name, "__click_params__", [])
    shared.append(pipeline_name_option())
    with_name.__click_params__ = shared  # type: ignore[attr-defined]  # where click keeps them
    return with_name


@command.command("match")
@click.argument("pattern")
@click.argument("event")
@json_option
def match_command(*, pattern: str, event: str, as_json: bool) -> int:
    """Tell whether an event matches a pattern. Both are files or JSON texts.

    The exit code is 0 for a match, 3 for none, and 2 for a pattern that the service refuses. The verdict is that of
    the library behind EventBridge.
    """
    from mlops_core.runners import ExitCode
    from mlops_sagemaker.triggers.patterns import EventPattern, read_event

    compiled = EventPattern.parse(_text(pattern, "the pattern"))
    mismatch = compiled.mismatch(read_event(_text(event, "the event"), origin=_origin(event)))
    if as_json:
        reason = None if mismatch is None else {"field": mismatch.field, "value": mismatch.value}
        print_json({"matches": mismatch is None, "mismatch": reason})
    else:
        echo_line("match" if mismatch is None else f"no match: {mismatch}")
    return int(ExitCode.OK if mismatch is None else ExitCode.REJECTED)


def _text(argument: str, what: str) -> str:
    """Return a JSON text, or the content of the file that is named."""
    from mlops_core import UsageError

    if argument.lstrip().startswith(("{", "[")):
        return argument
    try:
        return Path(argument).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {what} {argument}: {error}; expected a file or a JSON object") from None


def _origin(argument: str) -> str:
    return "in the argument" if argument.lstrip().startswith(("{", "[")) else argument


@command.command("lint")
@click.argument("file", type=HomePath(dir_okay=False, path_type=Path), default="triggers.yaml")
@_rules_options
@click.option("--settings", metavar="FILE", help="Settings file (sagemaker.yaml): where pipelines write.")
@click.option("--bucket", metavar="NAME", help="Artifact bucket, to which pipelines write.")
@json_option
def lint_command(
    *,
    file: Path,
    usecase: str | None,
    pipeline_name: str | None,
    settings: str | None,
    bucket: str | None,
    as_json: bool,
) -> int:
    """Find rules that never match, match too much, or start themselves.

    FILE holds rules (triggers.yaml), a pattern in JSON, or rules as `aws events list-rules` prints them. Without the
    name of the artifact bucket, every bucket is taken for it. The exit code is 2 if there are errors.
    """
    from mlops_core.runners import ExitCode
    from mlops_sagemaker.triggers.lint import has_errors, lint_file
    from mlops_sagemaker.values.account import check_account

    name = pipeline_name or ""
    check_account(bucket=bucket or "")
    outputs = _outputs(_named(usecase), name, settings=settings, bucket=bucket)
    findings = lint_file(file, use_case=usecase or "", default=_named(None), pipeline=name, outputs=outputs)
    if as_json:
        print_json([_plain(finding) for finding in findings])
    else:
        for finding in findings:
            echo_line(str(finding))
        echo_line(f"{file}: {len(findings) or 'no'} finding{'' if len(findings) == 1 else 's'}")
    return int(ExitCode.USAGE if has_errors(findings) else ExitCode.OK)


def _plain(item: object) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(item)  # type: ignore[call-overload, no-any-return]  # a dataclass


def _outputs(use_case: str, pipeline: str, *, settings: str | None, bucket: str | None) -> PipelineOutputs:
    from mlops_core.runners import read_settings
    from mlops_sagemaker.compiler.definition import model_package_group
    from mlops_sagemaker.settings import load_settings
    from mlops_sagemaker.triggers.lint import PipelineOutputs, output_prefixes

    environ = read_settings().environ
    account = load_settings(Path(settings) if settings else None, environ=environ).account
    name = pipeline or model_package_group(use_case)
    return PipelineOutputs(
        bucket=bucket or account.bucket or environ.get("ARTIFACT_BUCKET", ""),
        prefixes=output_prefixes(name, prefix=account.prefix or "") if name else output_prefixes("pipelines"),
        approval_status=account.approval_status,
    )


def _read(file: Path, use_case: str | None, pipeline: str | None) -> tuple[EventRule, ...]:
    from mlops_core.watching import read_rules, rules_for
    from mlops_sagemaker.triggers.rules import event_rules

    rules = rules_for(read_rules(file), use_case or "", default=_named(None))
    return event_rules(rules, pipeline=pipeline or "")


def _named(use_case: str | None) -> str:
    from mlops_core.runners import read_settings

    return use_case or read_settings().environ.get("USECASE_NAME", "")


@command.command("generate")
@click.argument("file", type=HomePath(dir_okay=False, path_type=Path), default="triggers.yaml")
@_rules_options
@click.option(
    "--to",
    "folder",
    type=HomePath(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the template and the inputs of the command line.",
)
@click.option("--account", default="", metavar="ID", help="Account, for the command line; the template needs none.")
@click.option("--region", default="", metavar="NAME", help="Region, for the command line (default: AWS_REGION).")
def generate_command(
    *, file: Path, usecase: str | None, pipeline_name: str | None, folder: Path, account: str, region: str
) -> None:
    """Write the rules with targets, roles, dead-letter queue and schedules.

    triggers.template.json is a CloudFormation template. With --account, cli/ holds the same as input of the aws command
    line, with apply.sh, which makes the calls in order.
    """
    from mlops_core import UsageError
    from mlops_core.runners import read_settings
    from mlops_sagemaker.triggers.resources import (
        account_arns,
        bucket_notes,
        command_inputs,
        command_script,
        template,
    )
    from mlops_sagemaker.triggers.rules import require_installed
    from mlops_sagemaker.values.account import check_account

    region = region or read_settings().environ.get("AWS_REGION", "")
    check_account(region=region, account=account)
    if account and not region:
        raise UsageError("--account: the ARNs need a region, too; pass --region NAME or set AWS_REGION")
    rules = _read(file, usecase, pipeline_name)
    require_installed(made.rule for made in rules)
    files = {"triggers.template.json": _pretty(template(rules))}
    if account:
        inputs = command_inputs(rules, account_arns(account, region))
        files |= {f"cli/{name}": _pretty(content) for name, content in inputs.items()}
        files["cli/apply.sh"] = command_script(inputs)
    _write(folder, files)
    echo_line(f"{folder}: {_counted(len(rules), 'rule')} in {_counted(len(files), 'file')}")
    for note in bucket_notes(rules):
        echo_line(note)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    from mlops_core import UsageError
    from mlops_core.runners import write_atomically

    try:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, content)
    except OSError as error:
        raise UsageError(f"--to: {folder} cannot be written: {error.strerror}; name another folder") from None


def _pretty(data: object) -> str:
    return json.dumps(data, indent=2) + "\n"


@command.command("simulate")
@click.argument("events", type=HomePath(dir_okay=False, path_type=Path))
@click.option(
    "--rules",
    "file",
    type=HomePath(dir_okay=False, path_type=Path),
    default="triggers.yaml",
    show_default=True,
    help="Rules to try.",
)
@_rules_options
@click.option(
    "--run-minutes", type=click.FloatRange(min=0), default=10.0, show_default=True, help="How long each run takes."
)
@click.option("--explain", "explains", is_flag=True, help="Also print why each other rule does not match.")
@json_option
def simulate_command(  # noqa: PLR0913  click passes every option as an argument
    *,
    events: Path,
    file: Path,
    usecase: str | None,
    pipeline_name: str | None,
    run_minutes: float,
    explains: bool,
    as_json: bool,
) -> None:
    """Send recorded events through the rules and print what would start.

    EVENTS holds one event per line, in the order of delivery. The bus calls the target for each match; `mlops watch`
    counts an arrival once, waits for a quiet period, and keeps one run pending per rule.
    """
    from mlops_sagemaker.triggers.simulation import read_events, simulate

    rules = _read(file, usecase, pipeline_name)
    result = simulate(rules, read_events(events), run_s=run_minutes * 60, explains=explains)
    if as_json:
        print_json(result.to_json())
    else:
        _print_simulation(result)


def _joined(parameters: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def _print_simulation(result: Simulation) -> None:
    rows = [
        (str(each.number), each.rule, each.result, each.reason or _joined(each.parameters)) for each in result.outcomes
    ]
    if rows:
        print_table(("event", "rule", "result", "reason or parameters"), rows)
    for start in result.starts:
        moment = dt.datetime.fromtimestamp(start.at, dt.UTC).isoformat(timespec="seconds")
        what = f"{_counted(len(start.keys), 'object')}" if start.keys else "1 event"
        echo_line(f"{moment}  {start.rule}: starts, with {what}")
    calls = ", ".join(f"{name} {count}" for name, count in result.deliveries.items() if count) or "none"
    starts = _counted(len(result.starts), "start")
    echo_line(f"{_counted(result.events, 'event')}; {starts}; the bus alone would call: {calls}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@command.command("propose")
@use_case_option
@click.option("--region", metavar="NAME", help="Region of the bus (default: AWS_REGION).")
@click.pass_obj
def propose_command(context: dict[str, str | None], *, usecase: str | None, region: str | None) -> None:
    """Send the proposals to retrain that servers of this workspace have recorded to the event bus, each once.

    A rule of kind `proposal` passes them on; nothing is started.
    """
    from mlops_core import workspace_path
    from mlops_core.cli.options import chosen_use_case
    from mlops_sagemaker.service.account import Account, faults
    from mlops_sagemaker.triggers.proposals import send_proposals

    client = Account(region=region).client("events")
    with faults():
        count = send_proposals(workspace_path(context["workspace"]), chosen_use_case(usecase), client=client)
    echo_line(f"{count or 'no'} new proposal{'' if count == 1 else 's'} sent")
