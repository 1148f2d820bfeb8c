"""Writes a hyperparameter search as a Tuning step: a grid search over the *index* of the trial.

The only tuned hyperparameter is ``trial``; the container draws the values itself from (space, seed, index), so the
service tries the same trials as a local run, conditional sub-spaces work, and the service's own limits, parallelism and
pages remain. The image of a tuning job is started as ``docker run IMAGE train`` and takes no arguments, so they arrive
as hyperparameters: ``argument-000``, ``argument-001``, ...
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_core import ConfigError, Direction
from mlops_core.runners import OBJECTIVE_OUTPUT, PipelineError, objective_mark
from mlops_core.runners.container.request import Part
from mlops_sagemaker.compiler.arguments import ARGUMENT, HYPERPARAMETERS, TRIAL, TURN
from mlops_sagemaker.compiler.job_graph import Job, JobContext
from mlops_sagemaker.compiler.jobs import RETRY_POLICIES, is_cached, job_arguments, training_arguments
from mlops_sagemaker.layout import Layout

if TYPE_CHECKING:
    from mlops_core.runners import Search

_VALUES_LIMIT = 30
"""The most values of a categorical range; from the shape ParameterValues."""
_SHORTEST_S = 120
_DEFINITION = (
    "AlgorithmSpecification",
    "OutputDataConfig",
    "StoppingCondition",
    "ResourceConfig",
    "RoleArn",
    "InputDataConfig",
    "Environment",
    "EnableInterContainerTrafficEncryption",
    "EnableNetworkIsolation",
    "VpcConfig",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
)


def objective_name(metric: str) -> str:
    """Return the name of the objective metric of a tuning job."""
    return f"{OBJECTIVE_OUTPUT}:{metric}"


def search_step(search: Search, context: JobContext) -> dict[str, Any]:
    """Return the Tuning step of a search, with the arguments of CreateHyperParameterTuningJob.

    Raises:
        ConfigError: the search draws from the results of earlier trials, or the service has no grid of its size.
        PipelineError: the configuration of the step is too large for the hyperparameters.
    """
    tuning = search.tuning
    if not tuning.is_static:
        raise ConfigError(
            f"step '{search.name}': a search with the sampler {tuning.sampler} cannot be compiled, because its trials "
            "follow from each other; expected random, sobol or grid"
        )
    metric = next(each for each in context.pipeline.metrics if each.name == tuning.objective)
    job = search_job(search, context)
    limits: dict[str, Any] = {
        "MaxNumberOfTrainingJobs": tuning.trials,
        "MaxParallelTrainingJobs": min(tuning.concurrent, tuning.trials),
        "MaxRuntimeInSeconds": max(_SHORTEST_S, round(tuning.timeout_s)),
    }
    config = {
        "Strategy": "Grid",
        "HyperParameterTuningJobObjective": {
            "Type": "Maximize" if metric.direction is Direction.HIGHER else "Minimize",
            "MetricName": objective_name(metric.name),
        },
        "ResourceLimits": limits,
        "ParameterRanges": {"CategoricalParameterRanges": _ranges(search)},
        "TrainingJobEarlyStoppingType": "Off",
    }
    arguments: dict[str, Any] = {
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": _definition(job, context, metric=metric.name),
    }
    if tags := context.settings.account.tags:
        arguments["Tags"] = [{"Key": key, "Value": tags[key]} for key in sorted(tags)]
    step: dict[str, Any] = {"Name": search.name, "Type": "Tuning", "Arguments": arguments}
    if is_cached(job, context):
        step["CacheConfig"] = {"Enabled": True, "ExpireAfter": context.settings.account.cache_duration}
    step["RetryPolicies"] = [dict(policy) for policy in RETRY_POLICIES]
    return step


def search_job(search: Search, context: JobContext) -> Job:
    """Return the training job of which the trials are executions."""
    template = replace(search.trials[0], name=search.name, trial=None)
    sources = {name: context.source(reference) for name, reference in template.inputs.items()}
    outputs = (*template.outputs, OBJECTIVE_OUTPUT)
    return Job(
        name=search.name, step=template, part=Part.WHOLE, layout=Layout.TRAINING, sources=sources, outputs=outputs
    )


def trial_ranges(trials: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two lists of numbers whose sums are the indices of all trials, each once; the first list may be (0,).

    Raises:
        ValueError: there are no such lists of at most 30 numbers.
    """
    for size in range(min(trials, _VALUES_LIMIT), 0, -1):
        turns, rest = divmod(trials, size)
        if rest == 0 and turns <= _VALUES_LIMIT:
            return tuple(size * turn for turn in range(turns)), tuple(range(size))
    raise ValueError(trials)


def _ranges(search: Search) -> list[dict[str, Any]]:
    try:
        turns, trials = trial_ranges(search.tuning.trials)
    except ValueError:
        raise ConfigError(
            f"step '{search.name}': the service has no grid of {search.tuning.trials} trials; expected at most "
            f"{_VALUES_LIMIT}, or a product of two such numbers"
        ) from None
    ranges = [(TURN, turns)] if len(turns) > 1 else []
    ranges.append((TRIAL, trials))
    return [{"Name": name, "Values": [str(value) for value in values]} for name, values in ranges]


def _definition(job: Job, context: JobContext, *, metric: str) -> dict[str, Any]:
    arguments = training_arguments(job, context, command={})
    algorithm = arguments["AlgorithmSpecification"]
    pattern = f"{objective_mark(metric)}([-+0-9.eE]+)"
    algorithm["MetricDefinitions"] = [
        *algorithm.get("MetricDefinitions", ()),
        {"Name": objective_name(metric), "Regex": pattern},
    ]
    texts = job_arguments(job, context, limits=HYPERPARAMETERS)
    constant = {f"{ARGUMENT}{number:03}": text for number, text in enumerate(texts)}
    if not all(name in _DEFINITION for name in arguments if name != "Tags"):
        raise PipelineError(f"step '{job.name}': a tuning job has no {sorted(set(arguments) - set(_DEFINITION))}")
    definition = {name: arguments[name] for name in _DEFINITION if name in arguments}
    return {"StaticHyperParameters": constant, **definition}
