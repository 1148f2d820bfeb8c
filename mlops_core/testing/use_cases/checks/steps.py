"""Checks of the pipeline and its steps: a step does what it declares, and its result depends on nothing else."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from mlops_core.steps.packages import missing_packages
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.execution import Surrounding
from mlops_core.testing.observation.source_code import foreign_packages
from mlops_core.testing.observation.trees import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mlops_core.testing.observation.execution import ObservedStep
    from mlops_core.testing.use_cases.session import ContractSession

BUILT = ("pipeline_can_be_built",)
RAN = ("steps_succeed",)
DECLARED = (
    "steps_read_declared_inputs_only",
    "steps_read_declared_sections_only",
    "steps_write_declared_outputs_only",
    "steps_leave_inputs_unchanged",
)
REPEATABLE = ("same_seed_gives_same_outputs",)
_PORTABLE_LIMIT = 200
_SCANNED_BYTES = 4 << 20
_RESERVED = set('<>:"\\|?*')


@check(after=("hooks_return_declared_types", "use_case_name_is_portable"))
def pipeline_can_be_built(session: ContractSession) -> Iterator[str]:
    """The steps, parameters, metrics and the gate form a pipeline.

    Fix: whatever the error says; it names the culprit.
    """
    if not session.pipeline.steps:
        yield "it has no steps"


@check(after=(*BUILT, "gate_survives_its_text"))
def pipeline_survives_its_text(session: ContractSession) -> Iterator[str]:
    """The pipeline is equal after a JSON round trip.

    Fix: use only what mlops_core.pipeline declares, with texts, numbers and tuples.
    """
    import json

    from mlops_core.pipeline import Pipeline

    data = session.pipeline.to_json()
    if Pipeline.from_json(json.loads(json.dumps(data))).to_json() != data:
        yield "it changes in a JSON round trip"


@check(after=BUILT)
def step_code_can_be_called(session: ContractSession) -> Iterator[str]:
    """The code of every step exists and takes one argument, the context.

    Fix: correct Step(run="package.module:function"); the function is def train(context: StepContext) -> None.
    """
    references = {step.run: 1 for step in session.pipeline.steps}
    references |= {merge: 1 for step in session.pipeline.steps if (merge := getattr(step, "merge", ""))}
    answer = session.call("plugin:inspect_code", {"references": references})
    if answer.error:
        yield answer.error
    yield from (f"{reference}: {fault}" for reference, fault in (answer.result or {}).items())


@check(after=BUILT)
def step_packages_are_installed(session: ContractSession) -> Iterator[str]:
    """Every package that a step declares is the name of an installed distribution, or of an alternative to one.

    Fix: use the distribution's name (scikit-learn, not sklearn): its version belongs to the step's key. Alternatives,
    such as tensorflow and tensorflow-cpu, are both declared.
    """
    for step in session.pipeline.steps:
        for package in missing_packages(step):
            yield f"step '{step.name}': no distribution '{package}' is installed"


@check(after=("step_code_can_be_called",))
def step_packages_are_declared(session: ContractSession) -> Iterator[str]:
    """A step declares each foreign package that its own code imports.

    Fix: add the distribution to Step(packages=...); without it an upgrade would reuse what the old version made.
    """
    providers = importlib.metadata.packages_distributions()
    for step in session.pipeline.steps:
        declared = {name.lower().replace("_", "-") for name in step.packages}
        for top in sorted(foreign_packages(step.run.partition(":")[0])):
            names = {name.lower().replace("_", "-") for name in providers.get(top, ())}
            if names and not names & declared:
                yield f"step '{step.name}' imports {top}, which is of {shown(sorted(names))}"


@check(after=("step_code_can_be_called", "dataset_can_be_fetched"))
def steps_succeed(session: ContractSession) -> Iterator[str]:
    """Every step succeeds with the smallest configuration and only what it declares.

    Fix: whatever the error says. A step receives its declared inputs, sections and parameters, and nothing else.
    """
    failed = session.reference.failed
    if failed is not None:
        yield f"step '{failed.name}': {failed.error}"


@check(after=RAN)
def steps_read_declared_inputs_only(session: ContractSession) -> Iterator[str]:
    """A step opens no file outside of its declared inputs (observed).

    Fix: declare what it reads as an input, or put it into the package; a file elsewhere does not exist on another
    machine and is not part of the step's key.
    """
    yield from _each(session, lambda step: [f"reads {path}" for path in step.reads])


@check(after=RAN)
def steps_read_declared_sections_only(session: ContractSession) -> Iterator[str]:
    """A step takes its configuration from the context, never from a file (observed).

    Fix: declare the section in Step(config=...) and call context.section().
    """
    yield from _each(session, lambda step: [f"reads {path}" for path in step.configuration_reads])


@check(after=RAN)
def steps_write_declared_outputs_only(session: ContractSession) -> Iterator[str]:
    """A step writes below its outputs and context.scratch only (observed).

    Fix: declare an output for what is kept, use context.scratch for what is not.
    """
    changed = {step.name for step in session.completed.steps.values() if step.changed_inputs}
    yield from _each(session, lambda step: [] if step.name in changed else [f"writes {path}" for path in step.writes])


@check(after=RAN)
def steps_leave_inputs_unchanged(session: ContractSession) -> Iterator[str]:
    """A step leaves its inputs unchanged (compared file by file).

    Fix: copy what has to be changed to context.scratch.
    """
    yield from _each(session, lambda step: list(step.changed_inputs))


@check(after=RAN)
def declared_inputs_are_opened(session: ContractSession) -> Iterator[str]:
    """A step uses every input that it declares (observed).

    Fix: remove the input; the step waits for it, and runs again whenever it changes.
    """
    for step in session.pipeline.steps:
        for name in sorted(set(step.inputs) - session.completed.steps[step.name].opened):
            yield f"step '{step.name}' opens nothing in its input '{name}'"


@check(after=RAN)
def declared_sections_are_read(session: ContractSession) -> Iterator[str]:
    """A step asks for every configuration section that it declares (observed).

    Fix: remove the section; the step runs again whenever it changes.
    """
    for step in session.pipeline.steps:
        for name in sorted(set(step.config) - session.completed.steps[step.name].sections):
            yield f"step '{step.name}' does not ask for its section '{name}'"


@check(after=RAN)
def declared_parameters_are_read(session: ContractSession) -> Iterator[str]:
    """A step reads every parameter that it declares (observed).

    Fix: remove the parameter from the step.
    """
    for step in session.pipeline.steps:
        for name in sorted(set(step.parameters) - session.completed.steps[step.name].parameters):
            yield f"step '{step.name}' does not read its parameter '{name}'"


@check(after=RAN)
def steps_use_no_network(session: ContractSession) -> Iterator[str]:
    """A step connects to no other machine (observed).

    Fix: fetch what is needed as a data set, with a checksum.
    """
    yield from _each(session, lambda step: [f"connects to {address}" for address in step.connections])


@check(after=RAN)
def steps_leave_no_process_behind(session: ContractSession) -> Iterator[str]:
    """When a step has ended, all processes that it started have ended too.

    Fix: wait for subprocesses and close pools.
    """
    yield from _each(
        session, lambda step: ["left processes behind (they were killed)"] if step.has_left_processes else []
    )


@check(after=RAN)
def progress_stays_within_its_total(session: ContractSession) -> Iterator[str]:
    """The reported progress of a step is between 0 and its total.

    Fix: call context.progress(label, done, total) with 0 <= done <= total.
    """
    for step in session.completed.steps.values():
        for event in step.progress:
            if not 0 <= event["done"] <= event["total"]:
                yield f"step '{step.name}' reports {event['label']} {event['done']} of {event['total']}"
                break


@check(after=RAN)
def outputs_have_portable_names(session: ContractSession) -> Iterator[str]:
    """Files in outputs have names that are valid on every file system and object store, and differ by more than case.

    Fix: use letters, digits, "-", "_" and "."; do not let names differ by case alone.
    """
    for reference, files in session.completed.trees().items():
        folded: dict[str, str] = {}
        for name in files:
            if (
                len(name) > _PORTABLE_LIMIT
                or _RESERVED & set(name)
                or any(part[-1] in " ." for part in name.split("/"))
            ):
                yield f"{reference}: {name!r} is not portable"
            if folded.setdefault(name.casefold(), name) != name:
                yield f"{reference}: {name!r} and {folded[name.casefold()]!r} differ by case alone"


@check(after=RAN)
def outputs_name_no_place_of_this_machine(session: ContractSession) -> Iterator[str]:
    """No output contains a path of the machine on which it was made.

    Fix: write paths relative to the input or output.
    """
    needle = str(session.folder).encode()
    for reference, folder in _outputs(session):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size <= _SCANNED_BYTES and needle in path.read_bytes():
                yield f"{reference}: {path.relative_to(folder)} contains a path below {session.folder}"


@check(after=(*RAN, *DECLARED))
def steps_survive_read_only_inputs(session: ContractSession) -> Iterator[str]:
    """A step works when only its outputs and context.scratch are writable.

    Fix: open inputs for reading only, and write temporary files to context.scratch.
    """
    if session.varied.failed is None:
        if not all(step.is_confined for step in session.varied.steps.values()):
            raise NotApplicableError("this system lets root write everywhere; check as another user")
        return
    failed = session.execute(Surrounding.READ_ONLY_INPUTS).failed
    if failed is not None:
        yield f"step '{failed.name}': {failed.error}"


def _each(session: ContractSession, faults: Callable[[ObservedStep], Sequence[str]]) -> Iterator[str]:
    for step in session.completed.steps.values():
        found = faults(step)
        if found:
            yield f"step '{step.name}' {shown(found)}"


def _outputs(session: ContractSession) -> Iterator[tuple[str, Path]]:
    for step in session.completed.steps.values():
        yield from ((f"{step.name}.{name}", folder) for name, folder in step.outputs.items())
