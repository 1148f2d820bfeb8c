"""The pipeline for clips of several labels: the same split and features, one sigmoid a class, other metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.pipeline import DATASET, Parameter, ParameterType, Resources, Step, StepKind

if TYPE_CHECKING:
    from mlops_aed.config import AedConfig

_FEATURES = ("preprocessing", "feature_extraction")


def steps(config: AedConfig) -> tuple[Step, ...]:
    """Return split → preprocess → train → evaluate."""
    return (
        Step(
            name="split",
            run="mlops_aed.steps.split:split",
            inputs={"dataset": DATASET},
            outputs=("split",),
            config=("dataset",),
        ),
        Step(
            name="preprocess",
            run="mlops_aed.steps.preprocess:preprocess",
            merge="mlops_aed.steps.preprocess:merge",
            inputs={"dataset": DATASET, "split": "split.split"},
            outputs=("features",),
            config=("dataset", *_FEATURES),
            shards=config.dataset.shards,
            packages=("numpy", "soundfile", "soxr"),
            resources=Resources(instance_type="ml.m5.xlarge"),
        ),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_aed.steps.train_labels:train",
            inputs={"features": "preprocess.features"},
            outputs=("model",),
            config=("data_augmentation", "training", *_FEATURES),
            packages=("numpy", "keras", "tensorflow", "tensorflow-cpu", "h5py"),
            resources=Resources(instance_type="ml.m5.2xlarge"),
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_aed.steps.evaluate_labels:evaluate",
            inputs={"features": "preprocess.features", "model": "train.model"},
            outputs=("predictions",),
            packages=("numpy", "keras"),
        ),
    )


def parameter() -> Parameter:
    """Return the threshold of the gate."""
    from mlops_aed.multilabel import MAP_THRESHOLD

    return Parameter(
        name=MAP_THRESHOLD,
        type=ParameterType.FLOAT,
        default=0.3,
        minimum=0,
        maximum=1,
        description="The mean average precision that a model must reach.",
    )
