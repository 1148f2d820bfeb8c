"""Checks of what the distribution provides: the plugin, its abilities and its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession


@check()
def runner_is_announced_once(session: RunnerSession) -> Iterator[str]:
    """One installed distribution provides the runner.

    Fix: name an instance of RunnerPlugin in [project.entry-points."mlops.runners"], and uninstall other providers.
    """
    from mlops_core.runners.discovery import find_runner

    find_runner(session.declaration.runner)
    yield from ()


@check(after=("runner_is_announced_once",))
def runner_can_be_imported(session: RunnerSession) -> Iterator[str]:
    """The plugin can be imported in a fresh process and bears the name of its entry point.

    Fix: set the attribute name of the RunnerPlugin to the name of the entry point; declare all requirements.
    """
    name = session.described["name"]
    if name != session.declaration.runner:
        yield f"the entry point is called '{session.declaration.runner}', the plugin '{name}'"


@check(after=("runner_can_be_imported",))
def importing_the_runner_changes_nothing(session: RunnerSession) -> Iterator[str]:
    """Importing and describing the plugin changes no environment variable.

    Fix: pass environment variables to the processes that need them.
    """
    yield from (f"it changed {name}" for name in session.described["changed"])


@check(after=("runner_can_be_imported",))
def abilities_are_implemented(session: RunnerSession) -> Iterator[str]:
    """Each listed ability has a method of the plugin's own, and each such method is listed.

    Fix: override the method, or correct RunnerPlugin.abilities.
    """
    listed, implemented = set(session.described["listed"]), set(session.described["implemented"])
    yield from (f"'{name}' is listed and not implemented" for name in sorted(listed - implemented))
    yield from (f"'{name}' is implemented and not listed" for name in sorted(implemented - listed))


@check(after=("abilities_are_implemented",))
def missing_abilities_are_refused_by_name(session: RunnerSession) -> Iterator[str]:
    """A method of an ability that the engine lacks raises UsageError, which names runner and ability.

    Fix: keep the method of RunnerPlugin, or raise self.refused(ability).
    """
    for ability, refusal in session.described["refused"].items():
        if refusal["kind"] != "UsageError" or session.declaration.runner not in refusal["message"]:
            yield f"{ability}: {refusal['kind'] or 'no error'}: {refusal['message']}"


@check(after=("runner_can_be_imported",))
def unknown_options_are_refused_by_name(session: RunnerSession) -> Iterator[str]:
    """An option that the plugin does not have is refused with UsageError, which names it.

    Fix: let read_options raise UsageError for each value that it does not use.
    """
    refusal = session.described["unknown_option"]
    if refusal["kind"] != "UsageError" or "no_such_option" not in refusal["message"]:
        yield f"read_options with no_such_option: {refusal['kind'] or 'no error'}: {refusal['message']}"


@check(after=("runner_can_be_imported",))
def options_of_other_runners_are_refused(session: RunnerSession) -> Iterator[str]:
    """Options of another runner's class are refused with UsageError.

    Fix: let create_runner check the class of its options.
    """
    refusal = session.described["foreign_options"]
    if refusal["kind"] != "UsageError":
        yield f"create_runner with options of another class: {refusal['kind'] or 'no error'}: {refusal['message']}"


@check(after=("runner_can_be_imported",))
def command_options_have_a_help_text(session: RunnerSession) -> Iterator[str]:
    """Every option of the command line has a help text.

    Fix: give click.Option a help.
    """
    yield from (f"{option} has none" for option in session.described["options_without_help"])


@check(after=("runner_can_be_imported",))
def a_run_is_accepted(session: RunnerSession) -> Iterator[str]:
    """A run whose steps succeed and whose gate is passed ends as accepted.

    Fix: whatever the error says; all other checks depend on it.
    """
    if session.plain.status != "accepted":
        yield f"it ended with {session.plain.outcome}"
