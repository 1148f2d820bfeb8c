"""Write written_by_sdk_v3.json with the SageMaker SDK 3: Processing, Training, Condition, Fail, property files, cache.

AWS_ENDPOINT_URL=http://127.0.0.1:... python write_with_sdk_3.py OUTPUT.json    (URL of mlops sagemaker emulate)
"""

import contextlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the SDK cannot be imported without it

import boto3
from sagemaker.core.processing import ProcessingInput, ProcessingOutput, ProcessingS3Input, Processor
from sagemaker.core.shapes import ProcessingS3Output
from sagemaker.core.workflow.conditions import (
    ConditionEquals,
    ConditionIn,
    ConditionLessThanOrEqualTo,
    ConditionNot,
    ConditionOr,
)
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

ROLE = "arn:aws:iam::123456789012:role/example"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/example:1"
TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
PLACE = "/opt/ml/processing"

boto3.client("s3").create_bucket(Bucket="example-bucket")
iam = boto3.client("iam")
with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
    trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
    iam.create_role(RoleName="example", AssumeRolePolicyDocument=trust)
session = PipelineSession(default_bucket="example-bucket")
data = ParameterString("InputDataUrl", default_value="s3://example-bucket/data/")
limit = ParameterFloat("MeanLimit", default_value=10.0)


def processor(name):
    return Processor(
        role=ROLE,
        image_uri=IMAGE,
        instance_count=1,
        instance_type="ml.m5.large",
        entrypoint=["python3", f"{PLACE}/input/code/{name}.py"],
        sagemaker_session=session,
    )


def processing_input(name, uri, path):
    source = ProcessingS3Input(
        s3_uri=uri,
        local_path=path,
        s3_data_type="S3Prefix",
        s3_input_mode="File",
        s3_data_distribution_type="FullyReplicated",
    )
    return ProcessingInput(input_name=name, s3_input=source)


def output(name, uri, path):
    place = ProcessingS3Output(s3_uri=uri, local_path=path, s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name=name, s3_output=place)


prepare = ProcessingStep(
    "Prepare",
    step_args=processor("prepare").run(
        inputs=[
            processing_input("code", "s3://example-bucket/code/prepare.py", f"{PLACE}/input/code"),
            processing_input("data", data, f"{PLACE}/input/data"),
        ],
        outputs=[output("train", "s3://example-bucket/out/train", f"{PLACE}/output/train")],
    ),
    cache_config=CacheConfig(enable_caching=True, expire_after="30d"),
)
Path("src").mkdir(exist_ok=True)
Path("src/train.py").write_text("", encoding="utf-8")
trainer = ModelTrainer(
    training_image=IMAGE,
    role=ROLE,
    sagemaker_session=session,
    base_job_name="example",
    hyperparameters={"factor": 2.0},
    source_code=SourceCode(source_dir="src", entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    input_data_config=[
        InputData(
            channel_name="train",
            data_source=prepare.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri,
        )
    ],
)
train = TrainingStep("Train", step_args=trainer.train())
report = PropertyFile(name="Report", output_name="evaluation", path="evaluation.json")
evaluate = ProcessingStep(
    "Evaluate",
    step_args=processor("evaluate").run(
        arguments=["--limit", limit.to_string()],
        inputs=[
            processing_input("code", "s3://example-bucket/code/evaluate.py", f"{PLACE}/input/code"),
            processing_input("model", train.properties.ModelArtifacts.S3ModelArtifacts, f"{PLACE}/model"),
        ],
        outputs=[output("evaluation", "s3://example-bucket/evaluation", f"{PLACE}/evaluation")],
    ),
    property_files=[report],
)
value = JsonGet(step_name=evaluate.name, property_file=report, json_path="regression_metrics.mean.value")
judge = ConditionStep(
    "Judge",
    conditions=[
        ConditionLessThanOrEqualTo(left=value, right=limit),
        ConditionNot(
            ConditionOr([ConditionEquals(left=data, right="none"), ConditionIn(value=data, in_values=["a", "b"])])
        ),
    ],
    if_steps=[],
    else_steps=[FailStep("Reject", error_message=Join(on=" ", values=["mean above", limit]))],
)
pipeline = Pipeline(
    name="example", parameters=[data, limit], steps=[prepare, train, evaluate, judge], sagemaker_session=session
)
definition = json.loads(pipeline.definition())
Path(sys.argv[1]).write_text(json.dumps(definition, indent=1, sort_keys=True), encoding="utf-8")
