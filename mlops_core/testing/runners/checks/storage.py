"""Checks of the workspace: artifacts, digests, logs, and nothing written elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.trees import differences, shown
from mlops_core.testing.runners.backdoors import artifact_folder, files_of, files_with, logs_of
from mlops_core.testing.runners.session import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)
OUTPUTS = {"left": "mark", "right": "mark", "train": "model"}


@check(after=(*RAN, "every_step_runs_once"), needs="keeps_outputs")
def outputs_are_stored_under_their_digests(session: RunnerSession) -> Iterator[str]:
    """The artifact of each recorded digest holds, byte by byte, what the step wrote.

    Fix: store outputs with store.artifacts.add and record the digest that it returns.
    """
    drive = session.done
    for step, output in OUTPUTS.items():
        digest = drive.step(step).get("outputs", {}).get(output, "")
        folder = artifact_folder(drive.workspace, digest)
        if not digest or not folder.is_dir():
            yield f"output '{output}' of step '{step}': no artifact {digest or '(no digest is recorded)'}"
            continue
        differing = differences(drive.of(step)[0].outputs.get(output, {}), files_of(folder))
        if differing:
            yield f"output '{output}' of step '{step}': {shown(differing)}"


@check(after=("outputs_are_stored_under_their_digests", "shards_are_merged"), needs="keeps_outputs")
def a_repetition_has_equal_digests(session: RunnerSession) -> Iterator[str]:
    """A step that is executed again with equal inputs has outputs of equal digests.

    Fix: keep times, ids and paths of the engine out of outputs.
    """
    for step, output in OUTPUTS.items():
        digests = [drive.step(step).get("outputs", {}).get(output) for drive in (session.done, session.narrow)]
        if digests[0] != digests[1]:
            yield f"output '{output}' of step '{step}': {digests[0]}, then {digests[1]}"


@check(after=("outputs_are_stored_under_their_digests",), needs="keeps_outputs")
def digests_are_those_of_the_local_runner(session: RunnerSession) -> Iterator[str]:
    """Every output has the digest that it has on the runner of this machine.

    Fix: look at what the engine adds to or takes from a step's outputs.
    """
    if session.declaration.runner == "local":
        raise NotApplicableError("it is the runner of this machine")
    for step in session.local.record["steps"]:
        for output, digest in step["outputs"].items():
            own = session.done.step(step["name"]).get("outputs", {}).get(output)
            if own != digest:
                yield f"output '{output}' of step '{step['name']}': {own}, local {digest}"


@check(after=RAN)
def the_data_set_is_recorded(session: RunnerSession) -> Iterator[str]:
    """The record names the data set with its digest, the number of its files and their size.

    Fix: fetch the data set with Run.fetch.
    """
    dataset = session.done.record["dataset"] or {}
    if dataset.get("files") != 24 or not dataset.get("digest") or not dataset.get("size_bytes"):
        yield f"recorded: {dataset}"


@check(after=RAN)
def logs_are_reachable(session: RunnerSession) -> Iterator[str]:
    """What each step prints and logs is in the run's folder of logs, under the step's name.

    Fix: write or fetch the log to StepExecution.log_path(step).
    """
    drive = session.done
    logs = logs_of(drive.workspace, drive.run_id)
    for step in ("prepare", "left", "right", "train", "evaluate"):
        text = "".join(log for name, log in logs.items() if name.partition(".")[0] == step)
        for line in (f"probe {step} began", f"probe {step} logs"):
            if line not in text:
                yield f"no line '{line}' in the log of step '{step}' (logs: {', '.join(logs) or 'none'})"


@check(after=RAN)
def the_evaluation_is_kept(session: RunnerSession) -> Iterator[str]:
    """``evaluation.json`` is in the run's folder.

    Fix: return a Result with the folder of the evaluation from the function that Run.carry_out calls.
    """
    if not (session.done.workspace / "runs" / session.done.run_id / "evaluation.json").is_file():
        yield "it is not"


@check(after=RAN)
def nothing_is_written_elsewhere(session: RunnerSession) -> Iterator[str]:
    """A run leaves no file in the working directory.

    Fix: write below the workspace only.
    """
    yield from (f"it left {name}" for name in files_of(session.done.cwd))


@check(after=RAN)
def the_process_is_left_as_it_was(session: RunnerSession) -> Iterator[str]:
    """A run changes neither environment variables nor the working directory of its process.

    Fix: pass environment and folder to the processes that are started.
    """
    yield from (f"it changed {name}" for name in session.done.changed)


@check(after=RAN)
def no_secret_is_stored(session: RunnerSession) -> Iterator[str]:
    """No file of the workspace holds the value of an environment variable such as a password.

    Fix: do not record the environment; pass credentials by name.
    """
    yield from (f"{name} holds it" for name in files_with(session.done.workspace, SECRET))


@check(after=RAN)
def no_other_machine_is_reached_offline(session: RunnerSession) -> Iterator[str]:
    """An offline run connects to this machine only.

    Fix: look at the connection that is named; importing or starting the runner needs no network.
    """
    for address in session.done.connections:
        if not address.startswith(("127.", "::1", "localhost", "unix:")):
            yield f"it connected to {address}"
