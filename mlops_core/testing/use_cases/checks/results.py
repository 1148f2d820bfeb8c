"""Checks of the results: equal for equal seeds, in any surroundings and for any number of shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.pipeline import EVALUATION_OUTPUT
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.execution import Surrounding
from mlops_core.testing.observation.trees import differences, shown
from mlops_core.testing.use_cases.sharding import execute_sharded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.observation.execution import Trace
    from mlops_core.testing.use_cases.session import ContractSession

RAN = ("steps_succeed",)
REPEATABLE = ("same_seed_gives_same_outputs",)


@check(after=(*RAN, "split_is_repeatable", "fetched_data_are_repeatable"))
def same_seed_gives_same_outputs(session: ContractSession) -> Iterator[str]:
    """Every step writes the same bytes when it is executed twice with the same seed.

    Fix: seed every generator with context.seed, iterate in sorted order, write no time stamps. A step that cannot be
    deterministic declares is_deterministic = False.
    """
    if not session.declaration.is_deterministic:
        raise NotApplicableError("declared: is_deterministic = False")
    if session.varied.failed is None and not _changed(session, session.varied):
        return  # what is equal even in other surroundings need not be made a third time
    repeated = session.repeated
    if repeated.failed is not None:
        yield f"the second time, step '{repeated.failed.name}' failed: {repeated.failed.error}"
    else:
        yield from _first(_changed(session, repeated))


@check(after=REPEATABLE, needs="is_deterministic")
def results_ignore_the_working_directory(session: ContractSession) -> Iterator[str]:
    """Outputs do not depend on the working directory.

    Fix: build paths from context.input(), context.output() and context.scratch.
    """
    yield from _varied(session, Surrounding.WORKING_DIRECTORY)


@check(after=REPEATABLE, needs="is_deterministic")
def results_ignore_the_locale(session: ContractSession) -> Iterator[str]:
    """Outputs do not depend on the locale and its encoding.

    Fix: give encoding="utf-8" to open(), read_text() and write_text(); do not sort or format by locale.
    """
    yield from _varied(session, Surrounding.LOCALE)


@check(after=REPEATABLE, needs="is_deterministic")
def results_ignore_the_time_zone(session: ContractSession) -> Iterator[str]:
    """Outputs do not depend on the time zone.

    Fix: let outputs hold no time of the clock; where a time belongs to the data, take it from the data, with its zone.
    """
    yield from _varied(session, Surrounding.TIME_ZONE)


@check(after=REPEATABLE, needs="is_deterministic")
def results_ignore_the_hash_seed(session: ContractSession) -> Iterator[str]:
    """Outputs do not depend on the iteration order of sets of strings.

    Fix: sort sets before iterating; do not use hash() of a text.
    """
    yield from _varied(session, Surrounding.HASH_SEED)


@check(after=REPEATABLE, needs="is_deterministic")
def results_ignore_the_listing_order(session: ContractSession) -> Iterator[str]:
    """Outputs do not depend on the order in which a folder is listed.

    Fix: wrap iterdir(), glob(), listdir() and scandir() in sorted().
    """
    yield from _varied(session, Surrounding.LISTING_ORDER)


@check(after=(*REPEATABLE, "outputs_name_no_place_of_this_machine"), needs="is_deterministic")
def results_ignore_folder_names(session: ContractSession) -> Iterator[str]:
    """Outputs do not depend on the location of inputs and outputs.

    Fix: take names relative to the input; a path is different on each machine.
    """
    yield from _varied(session, Surrounding.FOLDER_NAMES)


@check(
    after=(
        *REPEATABLE,
        "steps_survive_read_only_inputs",
        "results_ignore_the_working_directory",
        "results_ignore_the_locale",
        "results_ignore_the_time_zone",
        "results_ignore_the_hash_seed",
        "results_ignore_the_listing_order",
        "results_ignore_folder_names",
    ),
    needs="is_deterministic",
)
def results_ignore_all_surroundings_together(session: ContractSession) -> Iterator[str]:
    """Outputs are the same when all surroundings are different at once.

    Fix: look for what depends on two of them together; the message names the first file that differs.
    """
    if session.varied.failed is not None:
        yield f"step '{session.varied.failed.name}': {session.varied.failed.error}"
    else:
        yield from _first(_changed(session, session.varied))


@check(after=(*REPEATABLE, "steps_leave_inputs_unchanged"), needs="is_deterministic")
def results_ignore_the_number_of_shards(session: ContractSession) -> Iterator[str]:
    """The merged output of a sharded step is the same with every number of shards.

    Fix: let each shard take the items index, index + count, ... of a sorted list, and name files after items.
    """
    declared = session.declaration
    sharded = declared.sharded_steps or [step.name for step in session.pipeline.steps if step.shards > 1]
    if not sharded:
        raise NotApplicableError("no step is sharded; set sharded_steps to those that claim to be")
    for step in map(session.pipeline.step, sharded):
        expected: dict[str, str] = {}
        for count in declared.shards:
            files, error = execute_sharded(session, step, count)
            if error:
                yield f"step '{step.name}' with {count} shards: {error}"
                continue
            expected = expected or files
            differing = differences(expected, files)
            if differing:
                yield f"step '{step.name}' with {count} shards instead of {declared.shards[0]}: {shown(differing)}"


def _changed(session: ContractSession, trace: Trace) -> list[str]:
    """Return what differs from the first execution, in the order of the steps."""
    found = trace.trees()
    return [
        f"{reference}: {phrase}"
        for reference, files in session.completed.trees().items()
        if not reference.endswith(f".{EVALUATION_OUTPUT}")  # what the metric hook makes of equal predictions
        for phrase in differences(files, found.get(reference, {}))
    ]


def _first(changed: list[str]) -> Iterator[str]:
    if changed:
        yield shown(changed)


def _varied(session: ContractSession, surrounding: Surrounding) -> Iterator[str]:
    """Execute with one thing changed, but only where changing all of them at once has changed something."""
    if session.varied.failed is None and not _changed(session, session.varied):
        return
    alone = session.execute(surrounding)
    if alone.failed is not None:
        yield f"step '{alone.failed.name}': {alone.failed.error}"
    else:
        yield from _first(_changed(session, alone))
