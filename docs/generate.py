"""Write docs/hooks.md and docs/cli.md from the code, so that they cannot say anything else: ``make docs``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_core import hookspecs
from mlops_core.cli import cli
from mlops_core.use_cases.manager import REQUIRED_HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator

CLI_HEADER = """# Commands

Written by `make docs` from the commands themselves; a test compares the two. Exit codes: 0 done and accepted, 1 a
defect of mlops, 2 usage or configuration, 3 gate rejected, 4 step or runner failed, 5 data set, 6 plugin, 130
interrupted.
"""
HEADER = """# Hooks

Every hook that core calls, in the order in which it calls them. Written by `make docs` from
`mlops_core/hookspecs.py`; a test compares the two. Mark an implementation with `@hookimpl`; take only the arguments
that you need, by these names.
"""


def hooks_page() -> str:
    """Return the page."""
    found = [(name, hook) for name, hook in vars(hookspecs).items() if name.startswith("mlops_")]
    parts = [HEADER]
    for name, hook in found:
        arguments = ", ".join(inspect.signature(hook).parameters)
        kind = "required" if name in REQUIRED_HOOKS else "optional"
        parts.append(f"## {name}\n\n`{name}({arguments})`, {kind}\n\n{inspect.getdoc(hook)}\n")
    return "\n".join(parts)


def cli_page() -> str:
    """Return the page with the help of every command."""
    return "\n".join([CLI_HEADER, *_commands(click.Context(cli, info_name="mlops", **_SETTINGS))])


_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "terminal_width": 80}


def _commands(context: click.Context) -> Iterator[str]:
    command = context.command
    yield f"## {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _commands(click.Context(inner, parent=context, info_name=name, **_SETTINGS))


if __name__ == "__main__":
    here = Path(__file__).parent
    (here / "hooks.md").write_text(hooks_page(), encoding="utf-8")
    (here / "cli.md").write_text(cli_page(), encoding="utf-8")
