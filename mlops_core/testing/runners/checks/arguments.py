"""Checks of what a step receives: all that it declares, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check
from mlops_core.testing.observation.trees import differences, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)
INPUTS = {
    "prepare": {"numbers"},
    "left": {"table"},
    "right": {"table"},
    "train": {"table", "left", "right"},
    "evaluate": {"table", "model"},
}
SECTIONS = {"prepare": {"preparation"}, "train": {"training"}, "evaluate": {"evaluation"}}
PARAMETERS = {"train": {"factor"}}
SAMPLES = 24


@check(after=RAN)
def parameters_reach_steps(session: RunnerSession) -> Iterator[str]:
    """A step receives the values of the parameters that it declares.

    Fix: pass RunRequest.parameters to the step's StepRequest.
    """
    factor = session.plain.of("train")[0].facts["parameters"].get("factor")
    if factor != 7:
        yield f"parameter 'factor' was set to 7; step 'train' received {factor!r}"


@check(after=RAN)
def the_seed_reaches_steps(session: RunnerSession) -> Iterator[str]:
    """Every step receives the seed of the run.

    Fix: pass RunRequest.seed to the step's StepRequest.
    """
    for visit in session.plain.visits:
        if visit.facts["seed"] != 3:
            yield f"the seed was 3; step '{visit.step}' received {visit.facts['seed']!r}"


@check(after=RAN)
def configuration_reaches_steps(session: RunnerSession) -> Iterator[str]:
    """A step receives the configuration sections that it declares, with all overrides.

    Fix: pass RunRequest.config.sections() to the step's StepRequest.
    """
    for step, section, key, value in (("prepare", "preparation", "scale", 5), ("train", "training", "level", 9)):
        received = session.plain.of(step)[0].facts["sections"].get(section, {}).get(key)
        if received != value:
            yield f"{section}.{key} was set to {value}; step '{step}' received {received!r}"


@check(after=RAN)
def undeclared_inputs_are_invisible(session: RunnerSession) -> Iterator[str]:
    """A step has the inputs that it declares, and no others.

    Fix: give each step's StepRequest its own inputs only.
    """
    for visit in session.plain.visits:
        if set(visit.facts["inputs"]) != INPUTS[visit.step]:
            yield f"step '{visit.step}' has the inputs {sorted(visit.facts['inputs'])}"


@check(after=RAN)
def undeclared_sections_are_invisible(session: RunnerSession) -> Iterator[str]:
    """A step has the configuration sections that it declares, and no others.

    Fix: give each step's StepRequest its own sections only.
    """
    for visit in session.plain.visits:
        if set(visit.facts["sections"]) - SECTIONS.get(visit.step, set()):
            yield f"step '{visit.step}' has the sections {sorted(visit.facts['sections'])}"


@check(after=RAN)
def undeclared_parameters_are_invisible(session: RunnerSession) -> Iterator[str]:
    """A step has the parameters that it declares, and no others.

    Fix: give each step's StepRequest its own parameters only.
    """
    for visit in session.plain.visits:
        if set(visit.facts["parameters"]) - PARAMETERS.get(visit.step, set()):
            yield f"step '{visit.step}' has the parameters {sorted(visit.facts['parameters'])}"


@check(after=RAN)
def the_data_set_is_complete(session: RunnerSession) -> Iterator[str]:
    """The step that reads the data set sees every file of it.

    Fix: start the first step when the data set is complete; provide_dataset and fetch_source see to that.
    """
    files = session.plain.of("prepare")[0].facts["inputs"].get("numbers", {})
    count = sum(name.startswith("number-") for name in files)
    if count != SAMPLES:
        yield f"the data set has {SAMPLES} files; step 'prepare' saw {count}"


@check(after=(*RAN, "steps_run_after_what_they_read"))
def inputs_hold_what_was_written(session: RunnerSession) -> Iterator[str]:
    """The files of an input are, byte by byte, those that the other step wrote.

    Fix: move outputs as bytes; neither convert, rename nor filter files.
    """
    drive = session.plain
    for step, name, writer, output in (
        ("train", "left", "left", "mark"),
        ("train", "right", "right", "mark"),
        ("evaluate", "model", "train", "model"),
    ):
        written = drive.of(writer)[0].outputs.get(output, {})
        differing = differences(written, drive.of(step)[0].facts["inputs"].get(name, {}))
        if differing:
            yield f"input '{name}' of step '{step}': {shown(differing)}"
