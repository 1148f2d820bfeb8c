"""Write written_by_sdk_v2.json with the SageMaker SDK 2: Processing, Training, Condition, RegisterModel, Fail.

AWS_ENDPOINT_URL=http://127.0.0.1:... python write_with_sdk_2.py OUTPUT.json    (URL of mlops sagemaker emulate)
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

import boto3
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep

ROLE = "arn:aws:iam::123456789012:role/example"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/example:1"
BUCKET = "s3://example-bucket"
PLACE = "/opt/ml/processing"

boto3.client("s3").create_bucket(Bucket="example-bucket")
session = PipelineSession(default_bucket="example-bucket")
data = ParameterString("InputDataUrl", default_value=f"{BUCKET}/data/")
count = ParameterInteger("Instances", default_value=1)
approval = ParameterString("ModelApprovalStatus", default_value="PendingManualApproval")
limit = ParameterFloat("MeanLimit", default_value=10.0)
cache = CacheConfig(enable_caching=True, expire_after="30d")


def processor():
    return ScriptProcessor(
        role=ROLE,
        image_uri=IMAGE,
        command=["python3"],
        instance_count=count,
        instance_type="ml.m5.large",
        sagemaker_session=session,
        base_job_name="example",
    )


out = Join(on="/", values=[BUCKET, "out", ExecutionVariables.PIPELINE_EXECUTION_ID, "train"])
prepare = ProcessingStep(
    "Prepare",
    step_args=processor().run(
        code=f"{BUCKET}/code/prepare.py",
        inputs=[ProcessingInput(source=data, destination=f"{PLACE}/input/data")],
        outputs=[ProcessingOutput(output_name="train", source=f"{PLACE}/output/train", destination=out)],
    ),
    cache_config=cache,
)
Path("src").mkdir(exist_ok=True)
Path("src/train.py").write_text("", encoding="utf-8")
estimator = Estimator(
    image_uri=IMAGE,
    role=ROLE,
    instance_count=1,
    instance_type="ml.m5.large",
    output_path=f"{BUCKET}/models",
    sagemaker_session=session,
    hyperparameters={"factor": 2.0},
    entry_point="train.py",
    source_dir="src",
)
prepared = prepare.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri
train = TrainingStep("Train", step_args=estimator.fit({"train": TrainingInput(prepared)}), cache_config=cache)
report = PropertyFile(name="Report", output_name="evaluation", path="evaluation.json")
trained = train.properties.ModelArtifacts.S3ModelArtifacts
evaluate = ProcessingStep(
    "Evaluate",
    step_args=processor().run(
        code=f"{BUCKET}/code/evaluate.py",
        arguments=["--limit", limit.to_string()],
        inputs=[ProcessingInput(source=trained, destination=f"{PLACE}/model")],
        outputs=[
            ProcessingOutput(output_name="evaluation", source=f"{PLACE}/evaluation", destination=f"{BUCKET}/evaluation")
        ],
    ),
    property_files=[report],
)
statistics = MetricsSource(s3_uri=f"{BUCKET}/evaluation/evaluation.json", content_type="application/json")
register = ModelStep(
    "Register",
    step_args=Model(image_uri=IMAGE, model_data=trained, sagemaker_session=session, role=ROLE).register(
        content_types=["text/csv"],
        response_types=["text/csv"],
        inference_instances=["ml.m5.large"],
        transform_instances=["ml.m5.large"],
        model_package_group_name="Example",
        approval_status=approval,
        model_metrics=ModelMetrics(model_statistics=statistics),
    ),
)
value = JsonGet(step_name=evaluate.name, property_file=report, json_path="regression_metrics.mean.value")
judge = ConditionStep(
    "Judge",
    conditions=[ConditionLessThanOrEqualTo(left=value, right=limit)],
    if_steps=[register],
    else_steps=[FailStep("Reject", error_message=Join(on=" ", values=["mean above", limit]))],
)
pipeline = Pipeline(
    name="example",
    parameters=[data, count, approval, limit],
    steps=[prepare, train, evaluate, judge],
    sagemaker_session=session,
)
definition = json.loads(pipeline.definition())
Path(sys.argv[1]).write_text(json.dumps(definition, indent=1, sort_keys=True), encoding="utf-8")
