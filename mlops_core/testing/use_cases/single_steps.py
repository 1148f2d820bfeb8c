"""Executing one step again, on the inputs that the first execution left or on changed ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.testing.observation.execution import step_request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.pipeline import Step
    from mlops_core.testing.use_cases.session import ContractSession


def execute_step(
    session: ContractSession,
    step: Step,
    *,
    inputs: Mapping[str, Path] | None = None,
    seed: int | None = None,
    fault: Mapping[str, object] | None = None,
    result: dict[str, object] | None = None,
) -> tuple[Mapping[str, Path], str]:
    """Return the outputs of a step and why it failed; empty if it succeeded.

    Args:
        session: with the first execution.
        step: which one.
        inputs: other inputs than those of the first execution.
        seed: another seed.
        fault: file and line at which an error is raised.
        result: gets what was observed.
    """
    folder = session.new_folder(f"{step.name} again")
    outputs = {output: folder / "outputs" / output for output in step.all_outputs}
    for path in (folder / "scratch", *outputs.values()):
        path.mkdir(parents=True)
    step = replace(step, shards=1)
    found = inputs if inputs is not None else session.inputs_of(step)
    request = step_request(session.request, step, inputs=found, outputs=outputs, folder=folder)
    if seed is not None:
        request = replace(request, seed=seed)
    path = folder / "request.json"
    path.write_text(json.dumps(request.to_json()), encoding="utf-8")
    answer = session.call(
        "steps:execute",
        {"request": str(path), "surroundings": [], "writable": [], "fault": dict(fault) if fault else None},
        packages=session.packages,
    )
    if result is not None:
        result.update(answer.result or {})
    return outputs, answer.error or str(answer.result["error"])
