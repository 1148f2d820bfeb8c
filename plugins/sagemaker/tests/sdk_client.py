"""A client that uses the SageMaker SDK (v3) against an endpoint: create, start, wait, list, describe, stop.

test_endpoint.py starts it in a separate process, because importing the SDK takes seconds and needs a region. The URL
of the endpoint comes from AWS_ENDPOINT_URL; the results are printed as JSON.
"""

import json
import sys
import time

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.processing import ProcessingOutput, Processor
from sagemaker.core.shapes import ProcessingS3Output
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import ProcessingStep

ROLE = "arn:aws:iam::123456789012:role/example"
CODE = "open('/opt/ml/processing/output/report/r.json', 'w').write('{\"m\": {\"value\": 0.75}}')"

TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}

boto3.client("s3").create_bucket(Bucket="sdk")
boto3.client("iam").create_role(
    RoleName="example", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
)
session = PipelineSession(default_bucket="sdk")
least = ParameterFloat("Least", default_value=0.5)
report = PropertyFile(name="Report", output_name="report", path="r.json")
processor = Processor(
    role=ROLE,
    image_uri="image:1",
    instance_count=1,
    instance_type="ml.m5.large",
    entrypoint=["python3", "-c", CODE],
    sagemaker_session=session,
)
place = ProcessingS3Output(
    s3_uri="s3://sdk/out", local_path="/opt/ml/processing/output/report", s3_upload_mode="EndOfJob"
)
measure = ProcessingStep(
    "Measure",
    step_args=processor.run(inputs=[], outputs=[ProcessingOutput(output_name="report", s3_output=place)]),
    property_files=[report],
)
value = JsonGet(step_name="Measure", property_file=report, json_path="m.value")
judge = ConditionStep(
    "Judge",
    conditions=[ConditionGreaterThanOrEqualTo(left=value, right=least)],
    if_steps=[],
    else_steps=[FailStep("Reject", error_message=Join(on=" ", values=["below", least]))],
)
pipeline = Pipeline(
    name="by-sdk", parameters=[least], steps=[measure, judge], sagemaker_session=Session(default_bucket="sdk")
)
pipeline.upsert(role_arn=ROLE)
results = []
for parameters in ({}, {"Least": 0.8}):
    execution = pipeline.start(parameters=parameters)
    try:
        execution.wait(delay=1, max_attempts=60)
    except Exception as error:  # noqa: BLE001  a failed execution is an expected result
        sys.stderr.write(f"waiting: {error}\n")
    steps = {step["StepName"]: step["StepStatus"] for step in execution.list_steps()}
    results.append({"status": execution.describe()["PipelineExecutionStatus"], "steps": steps})
slow = Processor(
    role=ROLE,
    image_uri="image:1",
    instance_count=1,
    instance_type="ml.m5.large",
    entrypoint=["python3", "-c", "import time; time.sleep(600)"],
    sagemaker_session=session,
)
waiting = Pipeline(
    name="stopped-by-sdk",
    steps=[ProcessingStep("Wait", step_args=slow.run(inputs=[], outputs=[]))],
    sagemaker_session=Session(default_bucket="sdk"),
)
waiting.upsert(role_arn=ROLE)
execution = waiting.start()
while not any(step["StepStatus"] == "Executing" for step in execution.list_steps()):
    time.sleep(0.2)
execution.stop()
while execution.describe()["PipelineExecutionStatus"] in ("Executing", "Stopping"):
    time.sleep(0.2)
steps = {step["StepName"]: step["StepStatus"] for step in execution.list_steps()}
results.append({"status": execution.describe()["PipelineExecutionStatus"], "steps": steps})
sys.stdout.write(json.dumps(results) + "\n")
