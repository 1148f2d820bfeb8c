from dataclasses import replace
from typing import Literal

from mlops_toy import plugin as toy
from pydantic import model_validator

from mlops_core import (
    Comparison,
    Dataset,
    DatasetFinding,
    Distribution,
    FactTable,
    Gate,
    GeneratedSource,
    Inspection,
    Operator,
    Parameter,
    ParameterType,
    Section,
    Severity,
    hookimpl,
)
from mlops_rude import EVIL, TEXT


class Rude(Section):
    mode: Literal["pass", "fail", "invalid", "broken"] = "pass"

    @model_validator(mode="after")
    def _check(self):
        if self.mode == "invalid":
            raise ValueError(f"wrong: {TEXT}")
        return self


class Config(toy.Config):
    rude: Rude = Rude()


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="mlops_rude.steps:generate")
    return [Dataset(name="words", title=EVIL, description=EVIL, licence=EVIL, homepage=EVIL, sources=(source,))]


@hookimpl
def mlops_inspect_dataset(dataset, config, context):
    finding = DatasetFinding(level=Severity.WARNING, check=EVIL, message=EVIL, samples=(EVIL,))
    return Inspection(
        facts=((EVIL, EVIL),),
        tables=(FactTable(title=EVIL, columns=(EVIL,), rows=((EVIL,),)),),
        distributions=(Distribution(name="words", title=EVIL, labels=(EVIL,), counts=(1,)),),
        findings=(finding,),
    )


@hookimpl
def mlops_get_parameters(config, context):
    return [
        *toy.mlops_get_parameters(config, context),
        Parameter(name="text", type=ParameterType.STRING, default=TEXT, description=TEXT),
    ]


@hookimpl
def mlops_get_steps(config, context):
    if config.rude.mode == "broken":
        raise ValueError(EVIL)
    return [
        replace(step, run="mlops_rude.steps:train", config=("training", "rude")) if step.name == "train" else step
        for step in toy.mlops_get_steps(config, context)
    ]


@hookimpl
def mlops_get_metrics(config, context):
    return [replace(metric, description=TEXT, title=TEXT) for metric in toy.mlops_get_metrics(config, context)]


@hookimpl
def mlops_compute_metrics(predictions, context):
    report = toy.mlops_compute_metrics(predictions, context)
    return replace(report, tables=(FactTable(title=TEXT, columns=(TEXT,), rows=((TEXT,),)),))


@hookimpl
def mlops_get_gate(config, context):
    return Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q_acc", message=TEXT))


class RudePredictor(toy.ToyPredictor):
    classes = (f"long {TEXT}", f"short {TEXT}")


@hookimpl
def mlops_load_predictor(model, context):
    return RudePredictor(model)
