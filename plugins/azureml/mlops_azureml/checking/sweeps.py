"""Checks sweeps: sampling and the distributions that it takes, search spaces, objective, limits, early termination."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_azureml.checking import tables
from mlops_azureml.checking.faults import below
from mlops_azureml.checking.graph import component_of, ports_of
from mlops_azureml.checking.values import one_of, require, shown

if TYPE_CHECKING:
    from mlops_azureml.checking.faults import Faults

_GOALS = ("minimize", "maximize")
_OBJECTIVE = ("primary_metric", "goal")
_TRIALS_LIMIT = 1000


def check_sweeps(faults: Faults, data: Mapping[str, Any]) -> None:
    """Check all sweep nodes."""
    jobs = data.get("jobs")
    for name, node in jobs.items() if isinstance(jobs, Mapping) else ():
        if isinstance(node, Mapping) and node.get("type") == "sweep":
            _check_sweep(faults, below("jobs", str(name)), node)


def _check_sweep(faults: Faults, path: str, node: Mapping[str, Any]) -> None:
    sampler = _sampler(faults, below(path, "sampling_algorithm"), node.get("sampling_algorithm"))
    space = node.get("search_space")
    trials = 1
    if isinstance(space, Mapping):
        if not space:
            faults.add(below(path, "search_space"), "is empty", "name at least one parameter")
        for name, distribution in space.items():
            where = below(below(path, "search_space"), str(name))
            _check_distribution(faults, where, distribution, sampler)
            trials *= _size(distribution)
            _check_parameter(faults, where, str(name), node)
    _check_objective(faults, below(path, "objective"), node.get("objective"))
    _check_limits(faults, below(path, "limits"), node.get("limits"), size=trials if sampler == "grid" else 0)
    _check_policy(faults, below(path, "early_termination"), node.get("early_termination"))
    trial = component_of(node)
    if trial is not None and trial.get("is_deterministic") is not False:
        faults.warn(
            below(below(path, "trial"), "is_deterministic"),
            "trials may be reused, and a reused trial has no metrics",
            "set it to false",
        )


def _sampler(faults: Faults, path: str, value: object) -> str:
    if value is None:
        return ""
    kind = value.get("type") if isinstance(value, Mapping) else value
    if not one_of(faults, path, "sampling algorithm", kind, tables.SAMPLERS):
        return ""
    if isinstance(value, Mapping):
        legal = ("type", "seed", "rule", "logbase") if kind == "random" else ("type",)
        for key in value:
            if key not in legal:
                faults.unknown(below(path, str(key)), f"key of {kind}", str(key), legal)
        if value.get("rule") is not None:
            one_of(faults, below(path, "rule"), "rule", value["rule"], ("random", "sobol"))
    return str(kind)


def _check_distribution(faults: Faults, path: str, value: object, sampler: str) -> None:
    if not isinstance(value, Mapping):
        faults.add(path, f"is {shown(value)}", "expected a mapping with type")
        return
    kind = value.get("type")
    if not one_of(faults, below(path, "type"), "distribution", kind, tuple(tables.SPACES)):
        return
    keys = tables.SPACES[str(kind)]
    require(faults, path, value, *keys)
    for key in value:
        if key not in ("type", *keys):
            faults.unknown(below(path, str(key)), f"key of {kind}", str(key), keys)
    if kind == "choice":
        _check_choice(faults, path, value)
    else:
        _check_numbers(faults, path, value, keys)
    if sampler == "grid" and kind != "choice":
        faults.add(below(path, "type"), f"grid does not take {kind}", "use choice, or sampling_algorithm: random")
    if sampler == "bayesian" and kind not in tables.BAYESIAN:
        faults.add(
            below(path, "type"),
            f"bayesian does not take {kind}",
            f"use {', '.join(tables.BAYESIAN)}, or random",
        )


def _check_choice(faults: Faults, path: str, value: Mapping[str, Any]) -> None:
    values = value.get("values")
    if values is not None and (not isinstance(values, list) or not values):
        faults.add(below(path, "values"), f"is {shown(values)}", "expected a list with at least one value")
    elif isinstance(values, list) and len({repr(each) for each in values}) < len(values):
        faults.warn(below(path, "values"), "a value occurs twice", "remove one of them")


def _check_numbers(faults: Faults, path: str, value: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    numbers: dict[str, float] = {}
    for key in keys:
        number = value.get(key)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int | float):
            faults.add(below(path, key), f"is {shown(number)}", "expected a number")
            continue
        numbers[key] = float(number)
        if key in ("q", "sigma", "upper") and number <= 0:
            faults.add(below(path, key), f"is {number}", "expected a number above 0")
    low, high = numbers.get("min_value"), numbers.get("max_value")
    if low is not None and high is not None and low >= high:
        faults.add(below(path, "max_value"), f"{high:g} is not above min_value {low:g}", "swap them")
    is_log = str(value.get("type")).endswith("loguniform")
    if is_log and low is not None and high is not None and 0 < low < high <= 1:
        # The bounds are exponents: 0.0001 and 0.01 mean values from 1.0001 to 1.01.
        faults.warn(
            path,
            f"the bounds of {value['type']} are exponents: values from {math.exp(low):.4g} to {math.exp(high):.4g}",
            f"for values from {low:g} to {high:g}, set {math.log(low):.4g} and {math.log(high):.4g}",
        )


def _check_parameter(faults: Faults, path: str, name: str, node: Mapping[str, Any]) -> None:
    component = component_of(node)
    if component is None:
        return
    declared = ports_of(node, "inputs")
    if name not in declared:
        faults.unknown(path, "input of the trial", name, declared)
    if isinstance(node.get("inputs"), Mapping) and name in node["inputs"]:
        faults.add(path, "is also set in inputs", "remove it there: the sweep sets it")


def _check_objective(faults: Faults, path: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        faults.add(path, f"is {shown(value)}", "expected primary_metric and goal")
        return
    require(faults, path, value, *_OBJECTIVE)
    for key in value:
        if key not in _OBJECTIVE:
            faults.unknown(below(path, str(key)), "key", str(key), _OBJECTIVE)
    if value.get("goal") is not None:
        one_of(faults, below(path, "goal"), "goal", value["goal"], _GOALS)


def _check_limits(faults: Faults, path: str, value: object, *, size: int) -> None:
    if not isinstance(value, Mapping):
        return
    total, concurrent = _count(value.get("max_total_trials")), _count(value.get("max_concurrent_trials"))
    if total and concurrent > total:
        faults.add(
            below(path, "max_concurrent_trials"),
            f"{concurrent} is more than max_total_trials {total}",
            f"set at most {total}",
        )
    if total > _TRIALS_LIMIT:
        faults.add(below(path, "max_total_trials"), f"is {total}", f"expected at most {_TRIALS_LIMIT}")
    if 0 < size < total:
        faults.warn(below(path, "max_total_trials"), f"is {total}, and the grid has {size} points", f"set it to {size}")
    timeout, trial = _count(value.get("timeout")), _count(value.get("trial_timeout"))
    if timeout and trial > timeout:
        faults.warn(below(path, "trial_timeout"), f"{trial} s is longer than timeout {timeout} s", "raise timeout")


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _check_policy(faults: Faults, path: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        faults.add(path, f"is {shown(value)}", "expected a mapping with type")
        return
    kind = value.get("type")
    if not one_of(faults, below(path, "type"), "early termination", kind, tuple(tables.POLICIES)):
        return
    own = tables.POLICIES[str(kind)]
    for key in value:
        if key not in (*tables.POLICY_KEYS, *own):
            faults.unknown(below(path, str(key)), f"key of {kind}", str(key), (*tables.POLICY_KEYS, *own))
    if kind == "bandit" and (value.get("slack_factor") is None) == (value.get("slack_amount") is None):
        faults.add(path, "needs slack_factor or slack_amount", "set exactly one of them")
    percentage = value.get("truncation_percentage")
    if kind == "truncation_selection" and not (isinstance(percentage, int) and 1 <= percentage <= 99):
        faults.add(below(path, "truncation_percentage"), f"is {shown(percentage)}", "expected 1 to 99")


def _size(distribution: object) -> int:
    values = distribution.get("values") if isinstance(distribution, Mapping) else None
    return len(values) if isinstance(values, list) and values else 1
