"""``mlops watch``."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, use_case_option
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.watching import TriggerRule


@click.command("watch", context_settings={"ignore_unknown_options": False})
@click.argument("folder", metavar="DIR", type=HomePath(path_type=Path))
@use_case_option
@click.option(
    "--rules",
    "file",
    metavar="FILE",
    type=HomePath(dir_okay=False, path_type=Path),
    help="Rules (triggers.yaml); without them, every file in DIR starts a run with DIR as the data set.",
)
@click.option(
    "--bucket", default="", metavar="NAME", help="Bucket of the rules that DIR stands for (default: its name)."
)
@click.option("--quiet", "quiet_s", type=click.FloatRange(0, 86_400), metavar="SECONDS", help="Quiet period of a rule.")
@click.option("--max-wait", "max_wait_s", type=click.FloatRange(0, 86_400), metavar="SECONDS", help="Longest wait.")
@click.option("--poll", "poll_s", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Poll, for network folders.")
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="A file is complete when it has not changed for this long.",
)
@click.option("--include-existing", "includes_existing", is_flag=True, help="Files that are there already arrive, too.")
@click.option("--once", "is_once", is_flag=True, help="End when nothing waits and no run is in progress.")
@click.argument("run_arguments", metavar="[-- RUN OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(
    context: dict[str, str | None],
    /,
    *,
    folder: Path,
    usecase: str | None,
    file: Path | None,
    bucket: str,
    quiet_s: float | None,
    max_wait_s: float | None,
    poll_s: float | None,
    settle_s: float,
    includes_existing: bool,
    is_once: bool,
    run_arguments: tuple[str, ...],
) -> int:
    """Start runs when data arrives in a folder, until Ctrl-C.

    A run starts after a quiet period, with a copy of the data as it is then. A rule has one run at a time; what arrives
    meanwhile waits for the next. The same data is not run twice. The journal in the workspace survives kill -9: no
    start is lost or doubled. Options after -- are those of mlops run, and are checked before anything is watched.

    What arrived waits on when its run could not start. With --once, the exit code is the worst one of the runs.
    """
    from mlops_core.api import workspace_path
    from mlops_core.watching.watcher import FolderOptions, Watcher

    name = bucket or folder.absolute().name
    rules, owner = _rules(file, usecase, name)
    rules = _with_waits(rules, quiet_s=quiet_s, max_wait_s=max_wait_s)
    options = FolderOptions(
        bucket=name,
        poll_s=poll_s,
        settle_s=settle_s,
        includes_existing=includes_existing,
        is_once=is_once,
        run_arguments=run_arguments,
        use_case=owner,
    )
    watcher = Watcher(folder, rules, workspace=workspace_path(context["workspace"]), options=options, report=echo_line)
    _check_runs(context, rules, folder=folder, arguments=run_arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    code = watcher.watch(stop)
    return code if is_once else 0


def _rules(file: Path | None, usecase: str | None, bucket: str) -> tuple[tuple[TriggerRule, ...], str]:
    """Return the rules, and the use case of those that name none; empty if there are none of them.

    Raises:
        UsageError: a use case is missing, or not installed.
        PluginError: it is installed twice.
    """
    from dataclasses import replace

    from mlops_core.cli.options import chosen_use_case
    from mlops_core.use_cases.discovery import find_use_case
    from mlops_core.watching import PrefixRule, read_rules, rules_for

    rules: tuple[TriggerRule, ...] = (PrefixRule(name="folder", bucket=bucket, prefix=""),)
    if file is not None:
        rules = rules_for(read_rules(file), usecase or "")
    owner = "" if file is not None and all(rule.use_case for rule in rules) else chosen_use_case(usecase)
    owner = find_use_case(owner).name if owner else ""
    owned = (replace(rule, use_case=find_use_case(rule.use_case).name if rule.use_case else owner) for rule in rules)
    return tuple(owned), owner


def _with_waits(
    rules: tuple[TriggerRule, ...], *, quiet_s: float | None, max_wait_s: float | None
) -> tuple[TriggerRule, ...]:
    from dataclasses import replace

    from mlops_core.errors import UsageError

    if quiet_s is not None:
        longest = max_wait_s if max_wait_s is not None else max(quiet_s * 10, rules[0].max_wait_s)
        rules = tuple(replace(rule, quiet_s=quiet_s, max_wait_s=longest) for rule in rules)
    elif max_wait_s is not None:
        rules = tuple(replace(rule, max_wait_s=max_wait_s) for rule in rules)
    for rule in rules:
        if rule.max_wait_s < rule.quiet_s:
            raise UsageError(f"--max-wait is less than the quiet period of '{rule.name}' ({rule.quiet_s:g} s)")
    return rules


def _check_runs(
    context: dict[str, str | None], rules: Sequence[TriggerRule], *, folder: Path, arguments: tuple[str, ...]
) -> None:
    """Check the options of the runs, once per rule, as ``mlops run`` does.

    Raises:
        UsageError: an option is not one of ``mlops run``, or belongs to the watcher.
        ConfigError: a run could not start with its configuration or its parameters.
        PluginError: the use case cannot be loaded.
    """
    from mlops_core.api import prepare_run
    from mlops_core.cli.options import parse_parameters
    from mlops_core.cli.use_case.run import command as run_command
    from mlops_core.errors import UsageError
    from mlops_core.watching import ObjectRule, PrefixRule

    with run_command.make_context("mlops run", list(arguments), obj=context) as parsed:
        options = parsed.params
    for name, spelling in (("usecase", "--usecase"), ("resume", "--resume"), ("run_id", "--run-id")):
        if options[name]:
            raise UsageError(f"{spelling} after --: mlops watch sets it for each run; leave it out there")
    if any(override.partition("=")[0].strip() == "dataset.path" for override in options["overrides"]):
        raise UsageError("--set dataset.path after --: the data set of a run is what arrives; leave it out")
    for rule in rules:
        if rule.is_enabled and isinstance(rule, ObjectRule | PrefixRule):
            prepare_run(
                rule.use_case,
                config=options["config"],
                overrides=(f"dataset.path={json.dumps(str(folder.absolute()))}", *options["overrides"]),
                parameters={**rule.parameters, **parse_parameters(options["parameters"])},
                seed=options["seed"],
                is_offline=options["is_offline"],
                force=options["force"],
                start=options["start"],
                only=options["only"],
                keep_going=options["keep_going"],
            )
