from dataclasses import replace

from mlops_toy import plugin as toy
from mlops_toy.plugin import (  # noqa: F401  the hooks of the toy are those of this plugin too
    mlops_compute_metrics,
    mlops_get_gate,
    mlops_get_metrics,
    mlops_get_parameters,
    mlops_load_predictor,
)
from pydantic import model_validator

from mlops_core import Dataset, GeneratedSource, Section, Source, Step, hookimpl


class Access(Section):
    user: str = "nobody"
    header: str = ""
    database: str = ""
    api_token: str = ""
    repository: str = ""
    presigned: str = ""
    several: list[str] = []
    limit: int = 3
    mode: str = "pass"
    greeting: str = ""

    @model_validator(mode="after")
    def _greet(self):
        if not self.greeting:
            object.__setattr__(self, "greeting", f"hello {self.header}")
        if self.mode == "invalid":
            raise ValueError(f"the header {self.header} is wrong")
        return self


class Config(toy.Config):
    access: Access = Access()


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    generated = GeneratedSource(run="mlops_toy.steps:generate")
    remote = Source(url=config.access.presigned or "https://example.org/words.csv")
    return [
        Dataset(name="words", title="words", licence="CC0-1.0", sources=(generated,), required=("words.csv",)),
        Dataset(name="remote", title="remote words", licence="CC0-1.0", sources=(remote,)),
    ]


@hookimpl
def mlops_get_steps(config, context):
    if config.access.mode == "broken":
        raise ValueError(f"no steps for {config.access.header}")
    steps: list[Step] = toy.mlops_get_steps(config, context)
    return [
        replace(step, run="mlops_leaky.steps:train", config=("training", "access")) if step.name == "train" else step
        for step in steps
    ]
