from typing import Annotated

from pydantic import Field

from mlops_core import Section, UseCaseConfig


class DatasetSection(Section):
    name: str = "words"
    path: str | None = None


class Features(Section):
    scale: Annotated[int, Field(ge=1, le=10)] = 2


class Training(Section):
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.5


class Config(UseCaseConfig):
    dataset: DatasetSection = DatasetSection()
    features: Features = Features()
    training: Training = Training()
