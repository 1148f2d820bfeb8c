"""The versions of data assets that outputs become: digests of everything that decides the content of an output.

An asset of the service is an address with a version that never changes. The version is fixed when a job is compiled,
and the content is made later; but equal code, configuration, parameters, seed and data make equal content, so their
digest stands for it, and compiling the same again gives the version that exists.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from mlops_core import DATASET
from mlops_core.runners import is_selection

if TYPE_CHECKING:
    from mlops_azureml.compiler.job_graph import JobContext
    from mlops_core import Step
    from mlops_core.runners import RunRequest

_LENGTH = 12


def content_versions(request: RunRequest, context: JobContext) -> dict[str, str]:
    """Return step -> version of its outputs, of steps whose content is decided when the job is compiled.

    Steps that read a data set without a digest, and all behind them, are left out: the service then numbers their
    versions.
    """
    versions: dict[str, str] = {}
    for step in request.pipeline.ordered():
        if step.trial is not None or is_selection(step):
            continue
        data = context.dataset_digest if not context.mounts_data else ""
        read = {
            ref: data if ref == DATASET else versions.get(ref.rpartition(".")[0], "") for ref in step.inputs.values()
        }
        if all(read.values()):
            versions[step.name] = _digest(step, request, context, read)
    return versions


def _digest(step: Step, request: RunRequest, context: JobContext, read: dict[str, str]) -> str:
    decided = {
        "code": context.code[step.name],
        "step": {name: value for name, value in step.to_json().items() if name != "resources"},
        "config": {name: context.sections[name] for name in step.config},
        "parameters": {name: request.parameters[name] for name in step.parameters},
        "seed": request.seed,
        "inputs": read,
    }
    return hashlib.sha256(json.dumps(decided, sort_keys=True, default=str).encode()).hexdigest()[:_LENGTH]
