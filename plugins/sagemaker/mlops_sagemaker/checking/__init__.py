"""Checks pipeline definitions from any source offline, against the service model and the rules of the graph.

`check_text` and `check_definition` return all faults at once, each with a JSON path and a fix; `examine_text` and
`examine_definition` return the warnings, too. The service model is that of botocore; without botocore, everything
except arguments and properties is checked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.checking.arguments import check_arguments
from mlops_sagemaker.checking.document import read_document
from mlops_sagemaker.checking.faults import Fault, Faults, Findings
from mlops_sagemaker.checking.graph import check_graph
from mlops_sagemaker.checking.model import ServiceModel, has_service_model
from mlops_sagemaker.checking.steps import check_steps
from mlops_sagemaker.checking.structure import check_parameters, check_top

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE_LIMIT = 1_048_576
"""Maximum number of characters of a definition, inline or in S3; a limit of the service."""


def check_text(text: str) -> tuple[Fault, ...]:
    """Return the faults of a definition in JSON, without its warnings."""
    return examine_text(text).faults


def check_definition(data: object) -> tuple[Fault, ...]:
    """Return the faults of a definition without its warnings, in the order of their paths."""
    return examine_definition(data).faults


def examine_text(text: str) -> Findings:
    """Return the faults and the warnings of a definition in JSON."""
    if len(text) > SIZE_LIMIT:
        fix = "split the pipeline, or move long lists from arguments to files"
        return _one_fault(f"the definition has {len(text):,} characters; the limit is {SIZE_LIMIT:,}", fix)
    try:
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
    except RecursionError:
        return _too_deep()
    except ValueError as error:
        return _one_fault(f"not JSON: {error}", "pass the output of `mlops compile` or of the SDK's definition()")
    try:
        return examine_definition(data)
    except RecursionError:
        return _too_deep()


def examine_definition(data: object) -> Findings:
    """Return the faults and the warnings of a definition, in the order of their paths."""
    faults = Faults()
    if not isinstance(data, dict):
        faults.add(
            "$", f"a definition must be an object, not {type(data).__name__}", "write {'Version': ..., 'Steps': ...}"
        )
        return faults.findings()
    check_top(data, faults)
    document = read_document(data, faults)
    check_parameters(document, faults)
    check_steps(document, faults)
    model = ServiceModel() if has_service_model() else None
    check_arguments(document, faults, model=model)
    check_graph(document, faults)
    return faults.findings()


def _too_deep() -> Findings:
    return _one_fault("the definition is nested too deeply", "flatten it: steps are items of one list")


def _one_fault(problem: str, fix: str) -> Findings:
    return Findings(faults=(Fault("$", problem, fix),))


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate key {duplicate!r} in an object")
    return members


__all__ = [
    "Fault",
    "Findings",
    "check_definition",
    "check_text",
    "examine_definition",
    "examine_text",
    "has_service_model",
]
