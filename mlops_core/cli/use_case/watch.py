"""``mlops watch``."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, use_case_option
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
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
) -> None:
    """Start runs when data arrives in a folder, until Ctrl-C.

    A run starts after a quiet period, with a copy of the data as it is then. A rule has one run at a time; what arrives
    meanwhile waits for the next. The same data is not run twice. The journal in the workspace survives kill -9: no
    start is lost or doubled. Options after -- are those of mlops run.
    """
    from mlops_core.api import workspace_path
    from mlops_core.watching.watcher import FolderOptions, Watcher

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    name = bucket or folder.absolute().name
    rules = _rules(file, usecase, name, quiet_s=quiet_s, max_wait_s=max_wait_s)
    options = FolderOptions(
        bucket=name,
        poll_s=poll_s,
        settle_s=settle_s,
        includes_existing=includes_existing,
        is_once=is_once,
        run_arguments=run_arguments,
    )
    watcher = Watcher(folder, rules, workspace=workspace_path(context["workspace"]), options=options, report=echo_line)
    watcher.watch(stop)


def _rules(
    file: Path | None, usecase: str | None, bucket: str, *, quiet_s: float | None, max_wait_s: float | None
) -> tuple[TriggerRule, ...]:
    from dataclasses import replace

    from mlops_core.cli.options import chosen_use_case
    from mlops_core.errors import UsageError
    from mlops_core.watching import PrefixRule, read_rules

    if file is None:
        rules: tuple[TriggerRule, ...] = (
            PrefixRule(name="folder", use_case=chosen_use_case(usecase), bucket=bucket, prefix=""),
        )
    else:
        rules = tuple(
            rule if rule.use_case else replace(rule, use_case=chosen_use_case(usecase)) for rule in read_rules(file)
        )
    if quiet_s is not None:
        longest = max_wait_s if max_wait_s is not None else max(quiet_s * 10, rules[0].max_wait_s)
        rules = tuple(replace(rule, quiet_s=quiet_s, max_wait_s=longest) for rule in rules)
    elif max_wait_s is not None:
        rules = tuple(replace(rule, max_wait_s=max_wait_s) for rule in rules)
    for rule in rules:
        if rule.max_wait_s < rule.quiet_s:
            raise UsageError(f"--max-wait is less than the quiet period of '{rule.name}' ({rule.quiet_s:g} s)")
    return rules
