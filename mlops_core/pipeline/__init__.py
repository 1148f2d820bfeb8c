"""A pipeline as data: `Step`, `Parameter`, `Resources` and `Pipeline`, frozen, validated, with a JSON round trip.

Nothing in a pipeline is a callable: a step names its code as ``"package.module:function"`` and its inputs and
outputs by name, so a pipeline can be planned, printed, hashed, sent to a container and compiled. The order of
the steps follows from inputs and outputs alone. The package knows neither how a step is executed
(`mlops_core.steps.execution`) nor where (`mlops_core.runners`).
"""

from mlops_core.pipeline.batches import BatchPrediction
from mlops_core.pipeline.graph import Pipeline
from mlops_core.pipeline.naming import (
    BATCH_CODE,
    BATCH_INPUTS,
    DATASET,
    EVALUATION_OUTPUT,
    FETCH,
    OBJECTIVE_OUTPUT,
    PREDICTIONS_OUTPUT,
    RESERVED_STEPS,
    TRIAL_MARK,
    TRIALS_OUTPUT,
    tuned_step,
)
from mlops_core.pipeline.parameters import Parameter, ParameterType, ParameterValue
from mlops_core.pipeline.resources import Resources
from mlops_core.pipeline.steps import Step, StepKind, batch_prediction_step

__all__ = [
    "BATCH_CODE",
    "BATCH_INPUTS",
    "DATASET",
    "EVALUATION_OUTPUT",
    "FETCH",
    "OBJECTIVE_OUTPUT",
    "PREDICTIONS_OUTPUT",
    "RESERVED_STEPS",
    "TRIALS_OUTPUT",
    "TRIAL_MARK",
    "BatchPrediction",
    "Parameter",
    "ParameterType",
    "ParameterValue",
    "Pipeline",
    "Resources",
    "Step",
    "StepKind",
    "batch_prediction_step",
    "tuned_step",
]
