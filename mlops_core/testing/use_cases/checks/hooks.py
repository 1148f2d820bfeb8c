"""Checks of the hooks: present, spelled right, pure, of the declared types."""

from __future__ import annotations

import copy
import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError, PipelineError, did_you_mean
from mlops_core.testing.checks import check
from mlops_core.testing.observation.guard import guarded
from mlops_core.testing.observation.source_code import package_folder, package_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_core.testing.use_cases.session import ContractSession

LOADED = ("plugin_can_be_loaded",)
BUILT = ("pipeline_can_be_built",)


def _hook_names() -> dict[str, Any]:
    from mlops_core import hookspecs

    return {name: value for name, value in vars(hookspecs).items() if name.startswith("mlops_")}


def _functions(session: ContractSession) -> dict[str, Callable[..., object]]:
    plugin = session.plugin
    members = {**vars(type(plugin)), **vars(plugin)} if not inspect.ismodule(plugin) else vars(plugin)
    return {name: value for name, value in members.items() if name.startswith("mlops_") and callable(value)}


@check(after=("plugin_can_be_imported",))
def hooks_are_spelled_right(session: ContractSession) -> Iterator[str]:
    """Every function whose name begins with mlops_ is a hook of the contract.

    Fix: correct the name, or let names of your own functions begin otherwise.
    """
    known = _hook_names()
    for name in _functions(session):
        if name not in known:
            yield f"'{name}' is not a hook{did_you_mean(name, known)}"


@check(after=("plugin_can_be_imported",))
def hooks_are_marked(session: ContractSession) -> Iterator[str]:
    """Every hook is marked with @hookimpl.

    Fix: add the decorator; an unmarked hook is never called.
    """
    known = _hook_names()
    for name, function in _functions(session).items():
        if name in known and not hasattr(function, "mlops_impl"):
            yield f"{name} is not marked"


@check(after=("plugin_can_be_imported", "hooks_are_spelled_right"))
def required_hooks_are_present(session: ContractSession) -> Iterator[str]:
    """Every required hook is implemented.

    Fix: implement it; docs/hooks.md says what it returns.
    """
    from mlops_core.use_cases.registration import REQUIRED_HOOKS

    found = _functions(session)
    yield from (f"{name} is missing" for name in REQUIRED_HOOKS if name not in found)


@check(after=("plugin_can_be_imported",))
def hook_arguments_are_known(session: ContractSession) -> Iterator[str]:
    """Hooks take arguments of their specification only.

    Fix: take those that docs/hooks.md gives, by these names; leave out what you do not need.
    """
    known = _hook_names()
    for name, function in _functions(session).items():
        if name not in known:
            continue
        allowed = inspect.signature(known[name]).parameters
        for argument in inspect.signature(function).parameters:
            if argument not in allowed:
                yield f"{name} takes '{argument}'{did_you_mean(argument, allowed) or ';'} known: {', '.join(allowed)}"


@check(after=("plugin_can_be_imported",))
def hook_arguments_have_no_defaults(session: ContractSession) -> Iterator[str]:
    """No argument of a hook has a default.

    Fix: remove it; core always gives every argument, and a default hides a misspelt one.
    """
    for name, function in _functions(session).items():
        for argument, parameter in inspect.signature(function).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                yield f"{name}: '{argument}' has the default {parameter.default!r}"


@check(
    after=(
        "hooks_are_spelled_right",
        "hooks_are_marked",
        "required_hooks_are_present",
        "hook_arguments_are_known",
        "hook_arguments_have_no_defaults",
    )
)
def plugin_can_be_loaded(session: ContractSession) -> Iterator[str]:
    """Core accepts the plugin.

    Fix: whatever the error says.
    """
    if session.use_case.name != session.installed.name:
        yield f"it is loaded as '{session.use_case.name}'"


@check(after=("plugin_can_be_loaded", "smallest_configuration_is_valid"))
def hooks_return_declared_types(session: ContractSession) -> Iterator[str]:
    """Each hook returns the type of its specification.

    Fix: return the declared type; the message names hook, file and line.
    """
    for hook, call in _describing(session).items():
        try:
            call()
        except PipelineError:
            continue  # of the right types, but no pipeline: pipeline_can_be_built says why
        except MlopsError as error:
            yield f"{hook}: {error}"
        except Exception as error:  # noqa: BLE001  the façade has let through what it must not
            yield f"{hook}: {type(error).__name__}: {error}"


@check(after=BUILT)
def hooks_answer_equally_twice(session: ContractSession) -> Iterator[str]:
    """A descriptive hook returns equal values when it is called twice.

    Fix: compute from the arguments alone: no counters, no random numbers, no time, no caches that are handed out.
    """
    for hook, call in _describing(session).items():
        first, second = copy.deepcopy(call()), call()
        if first != second:
            yield f"{hook} returned {_short(first)}, then {_short(second)}"


@check(after=("hooks_answer_equally_twice",))
def hooks_forget_earlier_calls(session: ContractSession) -> Iterator[str]:
    """The result of a hook does not depend on earlier calls with other configurations.

    Fix: keep nothing between calls; several configurations are described in one process.
    """
    first = {hook: copy.deepcopy(call()) for hook, call in _describing(session).items()}
    other = session.use_case.load_config()
    for call in _describing(session, other.model).values():
        call()
    for hook, call in _describing(session).items():
        if call() != first[hook]:
            yield f"{hook} returns something else after it was called with the default configuration"


@check(after=BUILT)
def hooks_leave_arguments_untouched(session: ContractSession) -> Iterator[str]:
    """Hooks do not change their arguments, at the first call in a process and at those after it.

    Fix: build a new value; the configuration that was used is what is recorded.
    """
    for hook, found in session.first_calls.items():
        if found["arguments"]:
            yield f"{hook} changes {found['arguments']}"


@check(after=BUILT)
def hooks_change_nothing_around_them(session: ContractSession) -> Iterator[str]:
    """Descriptive hooks leave the process unchanged: environment, working directory, random state, logging.

    Fix: set what you need inside the step that needs it.
    """
    for hook, call in _unguarded(session, session.config.model).items():
        changes: list[str] = []
        with guarded(hook, changes=changes, printed=[]):
            call()
        yield from changes


@check(after=BUILT)
def hooks_print_nothing(session: ContractSession) -> Iterator[str]:
    """Descriptive hooks print nothing and log nothing to standard error.

    Fix: remove the output; standard output belongs to the command's result.
    """
    import contextlib
    import io

    for hook, call in _raw_describing(session).items():
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            call()
        if out.getvalue().strip():
            yield f"{hook} prints {out.getvalue().strip()[:60]!r}"


@check(after=("plugin_can_be_loaded",))
def default_configuration_file_is_packaged(session: ContractSession) -> Iterator[str]:
    """The default configuration is a file of the plugin's package, so that it is installed with it.

    Fix: put user_config.yaml beside the plugin's module and list it in tool.setuptools.package-data.
    """
    path = session.use_case.default_config_path().resolve()
    folder = package_folder(package_of(session.installed.target)).resolve()
    if not path.is_relative_to(folder):
        yield f"{path} is not below {folder}"


def _describing(session: ContractSession, model: Any = None) -> dict[str, Callable[[], Any]]:
    """Return hook -> a call of it through the façade; what it changes around it is put back."""

    def guarded_call(hook: str, call: Callable[[], Any]) -> Callable[[], Any]:
        def guarded_one() -> Any:
            with session.guard(hook):
                return call()

        return guarded_one

    calls = _unguarded(session, session.config.model if model is None else model)
    return {hook: guarded_call(hook, call) for hook, call in calls.items()}


def _unguarded(session: ContractSession, config: Any) -> dict[str, Callable[[], Any]]:
    use_case = session.use_case
    return {
        "mlops_get_config_model": use_case.config_model,
        "mlops_get_config_file": use_case.default_config_path,
        "mlops_get_datasets": lambda: use_case.datasets(config),
        "mlops_get_dataset_source": lambda: use_case.dataset_source(config),
        "mlops_get_earlier_split": lambda: use_case.earlier_split(config),
        "mlops_get_base_models": lambda: use_case.base_models(config),
        "mlops_get_metrics": lambda: use_case.metrics(config),
        "mlops_get_gate": lambda: use_case.gate(config),
        "mlops_get_steps": lambda: _declared(use_case.pipeline(config)),
        "mlops_get_prediction_outputs": use_case.prediction_outputs,
        "mlops_get_content_types": use_case.content_types,
    }


def _declared(pipeline: Any) -> Any:
    return pipeline.to_json()


def _raw_describing(session: ContractSession) -> dict[str, Callable[[], object]]:
    """Return hook -> a call of it past the façade, which drops what is printed."""
    given = {"config": session.config.model, "context": session.use_case.context}
    calls: dict[str, Callable[[], object]] = {}
    for name, function in _functions(session).items():
        wanted = [key for key in inspect.signature(function).parameters if key != "self"]
        if set(wanted) <= set(given) and name in _hook_names():
            arguments = {key: given[key] for key in wanted}
            calls[name] = functools.partial(getattr(session.plugin, name), **arguments)
    return calls


def _short(value: object) -> str:
    text = repr(value if not isinstance(value, Path) else str(value))
    return text if len(text) < 80 else f"{text[:80]}..."
