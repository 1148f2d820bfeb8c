"""Executing one step with a chosen number of shards, on the inputs that the first execution left."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.steps.context import Shard
from mlops_core.testing.observation.execution import step_request
from mlops_core.testing.observation.trees import tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.pipeline import Step
    from mlops_core.steps.context import StepRequest
    from mlops_core.testing.use_cases.session import ContractSession


def execute_sharded(session: ContractSession, step: Step, count: int) -> tuple[dict[str, str], str]:
    """Return the merged files of all outputs of `step` executed with `count` shards, and why it failed, if it did."""
    if count == 1:  # so it was executed in the first place
        return _files(session.completed.steps[step.name].outputs), ""
    place = session.new_folder(f"{step.name} with {count} shards")
    step = replace(step, shards=count)
    inputs = session.inputs_of(step)
    whole = step_request(
        session.request,
        step,
        inputs=inputs,
        outputs=_folders(place / "whole", step.all_outputs),
        folder=place / "whole",
    )
    parts = [_folders(place / f"shard-{index}", step.outputs) for index in range(count)]
    for index, outputs in enumerate(parts):
        folder = place / f"shard-{index}"
        request = step_request(session.request, step, inputs=inputs, outputs=outputs, folder=folder)
        error = _execute(session, replace(request, shard=Shard(index=index, count=count)), folder)
        if error:
            return {}, f"shard {index}: {error}"
    whole = replace(whole, parts={output: tuple(part[output] for part in parts) for output in step.outputs})
    error = _execute(session, whole, place / "whole")
    return _files(whole.outputs), error


def _files(outputs: Mapping[str, Path]) -> dict[str, str]:
    return {f"{output}/{name}": digest for output, folder in outputs.items() for name, digest in tree(folder).items()}


def _folders(place: Path, outputs: tuple[str, ...]) -> Mapping[str, Path]:
    folders = {output: place / "outputs" / output for output in outputs}
    for folder in (place / "scratch", *folders.values()):
        folder.mkdir(parents=True)
    return folders


def _execute(session: ContractSession, request: StepRequest, folder: Path) -> str:
    path = folder / "request.json"
    path.write_text(json.dumps(request.to_json()), encoding="utf-8")
    answer = session.call(
        "steps:execute",
        {"request": str(path), "surroundings": [], "writable": []},
        packages=session.packages,
    )
    return answer.error or str(answer.result["error"])
