"""Loaded models: the `Predictor` that ``mlops_load_predictor`` returns, its answers, and further kinds of output.

An answer holds the scores of the classes, or the predicted number with an interval around it. A use case may add other
kinds of output to ``mlops predict``: it declares each as a `PredictionOutput`. How predictions are stored for the
metrics is the subject of `mlops_core.predictions`.
"""

from mlops_core.predictors.answers import Detection, Interval, SampleScores
from mlops_core.predictors.content_types import ContentType
from mlops_core.predictors.outputs import (
    OptionType,
    OptionValue,
    OutputEmitter,
    OutputOption,
    OutputRequest,
    PredictionInput,
    PredictionOutput,
)
from mlops_core.predictors.perturbations import Perturbation, PerturbingPredictor
from mlops_core.predictors.predictor import DescribingPredictor, Predictor

__all__ = [
    "ContentType",
    "DescribingPredictor",
    "Detection",
    "Interval",
    "OptionType",
    "OptionValue",
    "OutputEmitter",
    "OutputOption",
    "OutputRequest",
    "Perturbation",
    "PerturbingPredictor",
    "PredictionInput",
    "PredictionOutput",
    "Predictor",
    "SampleScores",
]
