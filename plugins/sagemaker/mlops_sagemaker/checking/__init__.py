"""Checking a pipeline definition offline, whoever wrote it: against the service's model and the rules of its graph.

`check_text` and `check_definition` return every fault at once, each with a JSON path and a fix. The service model is
botocore's (the extra ``aws``); without it, everything but the arguments and properties is still checked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.checking.arguments import check_arguments
from mlops_sagemaker.checking.document import Document, read_document
from mlops_sagemaker.checking.faults import Fault, Faults
from mlops_sagemaker.checking.graph import check_graph
from mlops_sagemaker.checking.model import ServiceModel, has_service_model
from mlops_sagemaker.checking.steps import check_steps
from mlops_sagemaker.checking.structure import check_parameters, check_top

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE_LIMIT = 1_048_576
"""Characters of a definition, inline or in S3: the service's."""


def check_text(text: str) -> tuple[Fault, ...]:
    """Return the faults of a definition given as text."""
    if len(text) > SIZE_LIMIT:
        fix = "split the pipeline, or move long lists from arguments into files"
        return (Fault("$", f"the definition has {len(text):,} characters; the service takes {SIZE_LIMIT:,}", fix),)
    try:
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
    except RecursionError:
        return (Fault("$", "the definition is nested too deeply", "write it flat: steps stand in one list"),)
    except ValueError as error:
        return (Fault("$", f"not JSON: {error}", "give the text that `mlops compile` or the SDK's definition() wrote"),)
    return check_definition(data)


def check_definition(data: object) -> tuple[Fault, ...]:
    """Return the faults of a definition, in the order of their paths."""
    faults = Faults()
    if not isinstance(data, dict):
        faults.add("$", f"a definition is an object, not {type(data).__name__}", "write {'Version': ..., 'Steps': ...}")
        return faults.all()
    check_top(data, faults)
    document = read_document(data, faults)
    check_parameters(document, faults)
    check_steps(document, faults)
    model = ServiceModel() if has_service_model() else None
    check_arguments(document, faults, model=model)
    check_graph(document, faults)
    return faults.all()


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


__all__ = ["Document", "Fault", "check_definition", "check_text", "has_service_model"]
