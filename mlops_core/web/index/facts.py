"""Reads what is indexed about a run from its folder, without checking more of the record than that."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.report.comparison import flatten_yaml
from mlops_core.report.facts import recorded_values
from mlops_core.use_cases.searches import SELECTION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PARAMETER_PREFIX = "param."
"""Before the name of a pipeline parameter, where it is searched like a key of the configuration."""
_LONGEST = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedFacts:
    """What is indexed about a run.

    Attributes:
        metrics: name -> finite value, the metric by which versions are compared first.
        units: name of a metric -> its unit.
        settings: dotted key of the configuration, ``param.NAME`` or ``seed`` -> value as text.
        dataset: digest of the data; empty before it was read.
        dataset_name: name of the data.
        dataset_facts: the entry of the data in the record, as JSON.
        has_search: the run searches for hyperparameters.
        problem: why nothing is known about it; empty if it can be read.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""
    dataset_name: str = ""
    dataset_facts: str = ""
    has_search: bool = False
    problem: str = ""


def read_indexed_facts(folder: Path) -> IndexedFacts:
    """Return the facts of the run in `folder`; a record that cannot be read has a problem and nothing else."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return _facts(record, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return IndexedFacts(problem=f"its record cannot be read: {error}"[:_LONGEST])


def _facts(record: Mapping[str, Any], folder: Path) -> IndexedFacts:
    pipeline, dataset = record["pipeline"], record.get("dataset") or {}
    declared = [metric for metric in pipeline.get("metrics", ()) if isinstance(metric, dict)]
    settings = {key: value[:_LONGEST] for key, value in flatten_yaml(record["config"]).items()}
    settings |= {f"{PARAMETER_PREFIX}{name}": _text(value) for name, value in record["parameters"].items()}
    settings["seed"] = str(record["seed"])
    return IndexedFacts(
        metrics=dict(recorded_values(folder, declared)),
        units={str(metric["name"]): str(metric.get("unit", "")) for metric in declared},
        settings=settings,
        dataset=str(dataset.get("digest", "")),
        dataset_name=str(dataset.get("name", "")),
        dataset_facts=json.dumps(dataset) if dataset else "",
        has_search=any(isinstance(step, dict) and step.get("run") == SELECTION for step in pipeline.get("steps", ())),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
