"""Configuration of PROBE. Every section but `witness` is declared by one step only."""

from typing import Literal

from mlops_core import Section, UseCaseConfig


class DatasetSection(Section):
    """The generated numbers."""

    name: str = "numbers"
    path: str | None = None


class WitnessSection(Section):
    """Where the kit listens, and for which scenario."""

    port: int = 1
    scenario: str = "none"


class Preparation(Section):
    """Read by `prepare`."""

    shards: int = 1
    scale: int = 1


class Training(Section):
    """Read by `train`, and by the pipeline for its resources."""

    level: int = 1
    retries: int = 0
    timeout_s: float = 300
    memory_limit_mb: int | None = None


class Evaluation(Section):
    """Read by `evaluate`: what is wrong with its metric."""

    fault: Literal["none", "missing", "nan"] = "none"


class Config(UseCaseConfig):
    """Configuration of PROBE."""

    dataset: DatasetSection = DatasetSection()
    witness: WitnessSection = WitnessSection()
    preparation: Preparation = Preparation()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
