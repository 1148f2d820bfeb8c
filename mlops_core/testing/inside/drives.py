"""Whole runs through the public API, as a user's program would start them, with everything that it can observe.

``python -m mlops_core.testing.inside.drives FILE`` carries out the run that the JSON file describes in a process of its
own, which can be interrupted and killed; the answer appears beside the file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.processes.pool import ProcessPool
from mlops_core.steps.observation import recorded

if TYPE_CHECKING:
    from mlops_core.runners.plugin import RunnerOptions
    from mlops_core.workspace.records import RunRecord, StepRecord


def drive(arguments: dict[str, Any]) -> dict[str, Any]:
    """Carry out a run and return its record or error, its events, and what it changed in this process.

    Args:
        arguments: ``runner``, ``options`` (values for `RunnerPlugin.read_options`), ``raises`` (the observer raises at
            each event), and ``run``: further arguments of `mlops_core.api.run`.
    """
    with ProcessPool.forked_from_here():
        return _observed(arguments)


def _observed(arguments: dict[str, Any]) -> dict[str, Any]:
    environ, cwd = dict(os.environ), Path.cwd()
    observer = _Recorder(raises=arguments["raises"])
    with recorded() as recorder:
        outcome = _run(arguments, observer)
    return {
        **outcome,
        "events": observer.events,
        "changed": [
            *(f"environment variable {name}" for name in _changed_names(environ, dict(os.environ))),
            *(["the working directory"] if Path.cwd() != cwd else []),
        ],
        "connections": sorted(subject for kind, subject in recorder.events if kind in ("connect", "resolve")),
    }


def call_plugin(arguments: dict[str, Any]) -> dict[str, Any]:
    """Load a runner's plugin and return its description and how it refuses unknown options and abilities."""
    from mlops_core.runners.discovery import load_runner
    from mlops_core.runners.plugin import Ability, RunnerPlugin

    environ = dict(os.environ)
    plugin = load_runner(arguments["runner"])
    methods = {
        Ability.COMPILE: "compile",
        Ability.PARITY: "executed_definition",
        Ability.CHECK: "check",
        Ability.ESTIMATE: "estimate",
        Ability.PACKAGE: "container_image",
        Ability.CI: "ci_file",
        Ability.STORE: "open_bucket",
        Ability.LOAD: "load_archive",
        Ability.FOLLOW: "open_run",
        Ability.DEPLOY: "deployment_target",
    }
    own = {
        ability for ability, name in methods.items() if getattr(type(plugin), name) is not getattr(RunnerPlugin, name)
    }
    return {
        "name": plugin.name,
        "listed": sorted(plugin.abilities),
        "implemented": sorted(own),
        "changed": _changed_names(environ, dict(os.environ)),
        "unknown_option": _refusal(lambda: plugin.read_options({"no_such_option": "1"})),
        "foreign_options": _refusal(lambda: _create(plugin, arguments["workspace"], _ForeignOptions())),
        "options_without_help": [
            f"{command} {option.name}"
            for command in ("run", "compile", "doctor", "estimate", "fetch", "parity")
            for option in plugin.command_options(command)
            if not getattr(option, "help", None)
        ],
        "refused": {
            ability: _refusal(lambda name=name: _called(plugin, name))
            for ability, name in methods.items()
            if ability not in plugin.abilities and ability is not Ability.FOLLOW
        },
    }


def main() -> int:
    """Carry out the run of the file that the only argument names."""
    path = Path(sys.argv[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
    warnings.simplefilter("ignore")
    outcome = _observed(json.loads(path.read_text(encoding="utf-8")))
    part = path.with_name("result.json.part")
    part.write_text(json.dumps(outcome), encoding="utf-8")
    part.rename(path.with_name("result.json"))
    return int(outcome["exit_code"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _ForeignOptions:
    """Options of another runner."""

    no_such_option: str = "1"


class _Recorder:
    """An observer that keeps every event, and raises afterwards where it is asked to."""

    def __init__(self, *, raises: bool) -> None:
        self.events: list[list[Any]] = []
        self._raises = raises

    def run_started(self, record: RunRecord) -> None:
        """Keep the event."""
        self._keep("run_started", record.run_id)

    def step_started(self, name: str) -> None:
        """Keep the event."""
        self._keep("step_started", name)

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Keep the event."""
        self._keep("step_progress", name, label, done, total)

    def step_ended(self, record: StepRecord) -> None:
        """Keep the event."""
        self._keep("step_ended", record.name, str(record.status))

    def note(self, text: str) -> None:
        """Keep the event."""
        self._keep("note", text)

    def _keep(self, *event: Any) -> None:
        self.events.append(list(event))
        if self._raises:
            raise RuntimeError("an observer that raises")


def _run(arguments: dict[str, Any], observer: _Recorder) -> dict[str, Any]:
    from mlops_core.api import run
    from mlops_core.errors import ExitCode, MlopsError
    from mlops_core.runners.discovery import load_runner

    outcome: dict[str, Any] = {"record": None, "error": "", "kind": "", "exit_code": int(ExitCode.DEFECT)}
    try:
        options: RunnerOptions | None = None
        if arguments["options"]:
            options = load_runner(arguments["runner"]).read_options(arguments["options"])
        record = run(runner=arguments["runner"], options=options, observer=observer, **arguments["run"])
    except KeyboardInterrupt:
        return outcome | {"kind": "KeyboardInterrupt", "error": "interrupted", "exit_code": int(ExitCode.INTERRUPTED)}
    except MlopsError as error:
        return outcome | {"kind": type(error).__name__, "error": str(error), "exit_code": int(error.exit_code)}
    except Exception as error:  # noqa: BLE001  a runner is foreign code; whatever it raises is reported
        return outcome | {"kind": type(error).__name__, "error": str(error)}
    _fetch_logs(record, workspace=arguments["run"]["workspace"])
    again = type(record).from_json(json.loads(json.dumps(record.to_json())))
    return outcome | {
        "record": record.to_json(),
        "exit_code": record.exit_code,
        "is_same_when_read": again == record,
    }


def _fetch_logs(record: RunRecord, *, workspace: str) -> None:
    """Fetch the logs of a run that a service carried out, as ``mlops runs logs`` does."""
    from mlops_core.runners.discovery import load_runner
    from mlops_core.runners.observers import SilentObserver
    from mlops_core.runners.plugin import Ability
    from mlops_core.workspace.store import Store

    plugin = load_runner(record.runner)
    if Ability.FOLLOW in plugin.abilities and record.remote is not None:
        with Store(Path(workspace)) as store:
            plugin.open_run(store, record, observer=SilentObserver()).fetch_logs()


def _changed_names(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _refusal(action: Any) -> dict[str, str]:
    try:
        result = action()
    except BaseException as error:  # noqa: BLE001  a runner is foreign code; whatever it raises is reported
        return {"kind": type(error).__name__, "message": str(error)}
    return {"kind": "", "message": f"returned {result!r}"}


def _create(plugin: Any, workspace: str, options: object) -> object:
    from mlops_core.runners.observers import SilentObserver
    from mlops_core.workspace.store import Store

    with Store(Path(workspace)) as store:
        return plugin.create_runner(store, observer=SilentObserver(), options=options)


def _called(plugin: Any, name: str) -> object:
    """Call an optional method with dummy arguments: a refusal does not use them."""
    arguments: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
        "compile": ((None, None), {}),
        "executed_definition": ((None, ""), {}),
        "check": ((None, None), {}),
        "estimate": ((None, None), {"store": None}),
        "container_image": ((), {}),
        "ci_file": (("PROBE",), {"provider": "github"}),
        "open_bucket": (("none://bucket", None), {}),
        "load_archive": ((None, "", "none://bucket", None), {"store": None, "observer": None}),
        "deployment_target": ((None, None), {}),
    }
    positional, named = arguments[name]
    result = getattr(plugin, name)(*positional, **named)
    return list(result) if name == "check" else result


if __name__ == "__main__":
    sys.exit(main())
