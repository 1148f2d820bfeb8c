"""Data that arrives is the data that is trained on: from an upload to the registered version, on the endpoint."""

import io
import json
import time
import zipfile

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto", reason="moto is not installed")
from botocore.exceptions import ClientError
from mlops_sagemaker.checking import check_definition
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint
from mlops_sagemaker.triggers.resources import account_arns, target_of
from mlops_sagemaker.triggers.rules import event_rules

from mlops_core.datasets.digests import digest_tree
from mlops_core.errors import PipelineError
from mlops_core.watching import ObjectRule, PrefixRule, ProposalRule

ROLE = "arn:aws:iam::123456789012:role/Role"
ACCOUNT, REGION = "123456789012", "us-east-1"
ARTIFACTS, UPLOADS = "artifacts", "uploads"
DEADLINE_S = 60
SETTINGS = (
    f"account.role={ROLE}",
    f"account.bucket={ARTIFACTS}",
    "account.image=image:1",
    "ingest.enabled=true",
    f"ingest.dataset_uri=s3://{UPLOADS}/train/intel.zip",
    f"ingest.annotations_uri=s3://{UPLOADS}/annotations/",
    "ingest.labels={file: words.csv, sample: '0', label: '1'}",
)


@pytest.fixture
def endpoint(tmp_path, toy):
    with SageMakerEndpoint(tmp_path / "endpoint", max_parallel=2) as endpoint:
        for bucket in (ARTIFACTS, UPLOADS, "trail"):
            endpoint.client("s3").create_bucket(Bucket=bucket)
        yield endpoint


def words(**changes):
    labels = {"x" * n: "long" if n > 6 else "short" for n in range(1, 61)} | changes
    return "".join(f"{word},{label}\n" for word, label in labels.items())


def digest_of(tmp_path, text):
    folder = tmp_path / "expected"
    folder.mkdir(exist_ok=True)
    (folder / "words.csv").write_text(text)
    return digest_tree(folder)


def archive(text, name="words.csv"):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, text)
    return content.getvalue()


def install(endpoint, *rules):
    """Create rules as `mlops sagemaker trigger generate` writes them, the trail and the notifications."""
    events = endpoint.client("events")
    for made in event_rules(rules, pipeline="TOY"):
        events.put_rule(Name=made.name, EventPattern=json.dumps(made.pattern))
        target = target_of(made, account_arns(ACCOUNT, REGION))
        events.put_targets(Rule=made.name, Targets=[target])
    on = {"EventBridgeConfiguration": {}}
    endpoint.client("s3").put_bucket_notification_configuration(Bucket=UPLOADS, NotificationConfiguration=on)
    trail = endpoint.client("cloudtrail")
    trail.create_trail(Name="writes", S3BucketName="trail")
    values = [f"arn:aws:s3:::{UPLOADS}/train/intel.zip"]
    selector = {"ReadWriteType": "WriteOnly", "DataResources": [{"Type": "AWS::S3::Object", "Values": values}]}
    trail.put_event_selectors(TrailName="writes", EventSelectors=[selector])
    trail.start_logging(Name="writes")


def create_pipeline(endpoint, compiled, settings=SETTINGS):
    definition = compiled(settings=settings)
    assert check_definition(definition.data) == ()
    endpoint.client("sagemaker").create_pipeline(
        PipelineName="TOY", PipelineDefinition=definition.to_compact_text(), RoleArn=ROLE, ClientRequestToken="t" * 32
    )


def executions(endpoint):
    listed = endpoint.client("sagemaker").list_pipeline_executions(PipelineName="TOY")["PipelineExecutionSummaries"]
    return sorted(listed, key=lambda each: each["StartTime"])


def ended(endpoint, count):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = executions(endpoint)
        if len(found) == count and all(each["PipelineExecutionStatus"] in ("Succeeded", "Failed") for each in found):
            return found
        assert len(found) <= count
        time.sleep(0.1)
    pytest.fail(f"no {count} executions ended within {DEADLINE_S} s: {executions(endpoint)}")


def packages(endpoint):
    client = endpoint.client("sagemaker")
    listed = client.list_model_packages(ModelPackageGroupName="TOY", SortBy="CreationTime", SortOrder="Ascending")
    arns = [each["ModelPackageArn"] for each in listed["ModelPackageSummaryList"]]
    return [client.describe_model_package(ModelPackageName=arn) for arn in arns]


IMAGES = ObjectRule(name="images", use_case="TOY", bucket=UPLOADS, key="train/intel.zip")
LABELS = PrefixRule(name="labels", use_case="TOY", bucket=UPLOADS, prefix="annotations/", dataset_key="train/intel.zip")


def test_an_upload_is_trained_on_and_a_corrected_annotation_trains_again(endpoint, compiled, tmp_path):
    s3 = endpoint.client("s3")
    s3.put_object(Bucket=UPLOADS, Key="annotations/README.txt", Body=b"one file per annotator")
    create_pipeline(endpoint, compiled)
    install(endpoint, IMAGES, LABELS)

    s3.put_object(Bucket=UPLOADS, Key="train/intel.zip.tmp", Body=b"not yet")  # its key begins like that of the rule
    s3.put_object(Bucket=UPLOADS, Key="train/intel.zip", Body=archive(words()))
    (first,) = ended(endpoint, 1)
    assert first["PipelineExecutionStatus"] == "Succeeded", failures(endpoint, first)
    (package,) = packages(endpoint)
    assert package["CustomerMetadataProperties"]["dataset_digest"] == digest_of(tmp_path, words())
    assert package["CustomerMetadataProperties"]["dataset_uri"] == f"s3://{UPLOADS}/train/intel.zip"

    row = f"{'x' * 3},long,2026-01-01T00:00:00Z\n{'x' * 3},short,2025-01-01T00:00:00Z\n"
    s3.put_object(Bucket=UPLOADS, Key="annotations/ann.csv", Body=f"sample,label,at\n{row}".encode())
    second = ended(endpoint, 2)[1]
    assert second["PipelineExecutionStatus"] == "Succeeded", failures(endpoint, second)
    package = packages(endpoint)[1]
    corrected = words(**{"x" * 3: "long"})
    assert package["CustomerMetadataProperties"]["dataset_digest"] == digest_of(tmp_path, corrected)
    made = ingestion(endpoint, second)
    assert (made["corrected"], made["conflict_count"]) == (["xxx"], 1)
    assert made["source_digest"] == digest_of(tmp_path, words())


def ingestion(endpoint, execution):
    """Return what the step ingest of an execution reports."""
    identity = execution["PipelineExecutionArn"].rpartition("/")[2]
    s3 = endpoint.client("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=ARTIFACTS)["Contents"]]
    (key,) = [key for key in keys if identity in key and key.endswith("/report/files/ingestion.json")]
    return json.loads(s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read())


def failures(endpoint, execution):
    client = endpoint.client("sagemaker")
    steps = client.list_pipeline_execution_steps(PipelineExecutionArn=execution["PipelineExecutionArn"])
    return [(each["StepName"], each.get("FailureReason")) for each in steps["PipelineExecutionSteps"]]


def test_a_zip_that_leaves_its_folder_fails_the_execution_in_one_line(endpoint, compiled):
    create_pipeline(endpoint, compiled, settings=[each for each in SETTINGS if "annotations" not in each])
    install(endpoint, IMAGES)
    s3 = endpoint.client("s3")
    s3.put_object(Bucket=UPLOADS, Key="train/intel.zip", Body=archive(words(), name="../words.csv"))
    (execution,) = ended(endpoint, 1)
    assert execution["PipelineExecutionStatus"] == "Failed"
    (name, reason) = failures(endpoint, execution)[0]
    assert name == "ingest"
    assert "../words.csv" in reason


# --- The bus of the endpoint ------------------------------------------------------------------------------


@pytest.fixture
def queue(endpoint):
    sqs = endpoint.client("sqs")
    url = sqs.create_queue(QueueName="seen")["QueueUrl"]
    return lambda: [json.loads(each["Body"]) for each in sqs.receive_message(QueueUrl=url).get("Messages", [])]


def seen(endpoint, name, pattern, **rule):
    endpoint.client("events").put_rule(Name=name, **({"EventPattern": json.dumps(pattern)} if pattern else {}), **rule)
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:seen"
    endpoint.client("events").put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])


def test_the_bus_matches_as_the_service_and_delivers_to_enabled_rules_only(endpoint, queue):
    events = endpoint.client("events")
    with pytest.raises(ClientError, match="Unrecognized match type prefixx"):
        events.put_rule(Name="wrong", EventPattern='{"a": [{"prefixx": "x"}]}')
    seen(endpoint, "disabled", {"source": ["own"]}, State="DISABLED")
    seen(endpoint, "weekly", None, ScheduleExpression="rate(7 days)")
    seen(endpoint, "same-element", {"source": ["own"], "detail": {"a": {"b": [1], "c": [2]}}})
    entry = {"Source": "own", "DetailType": "t"}
    events.put_events(Entries=[{**entry, "Detail": json.dumps({"a": [{"b": 1}, {"c": 2}]})}])
    assert queue() == []
    events.put_events(Entries=[{**entry, "Detail": json.dumps({"a": [{"b": 1, "c": 2}]})}])
    assert [each["detail"] for each in queue()] == [{"a": [{"b": 1, "c": 2}]}]
    answer = events.test_event_pattern(EventPattern='{"source": ["own"]}', Event=json.dumps({"source": "own"}))
    assert answer["Result"] is True


def test_events_of_the_store_have_the_documented_members(endpoint, queue):
    seen(endpoint, "all", {"source": ["aws.s3"]})
    install(endpoint)
    endpoint.client("s3").put_object(Bucket=UPLOADS, Key="in/a b.csv", Body=b"1")
    (event,) = queue()
    detail = event["detail"]
    assert (event["detail-type"], detail["reason"]) == ("Object Created", "PutObject")
    assert detail["object"]["key"] == "in/a b.csv"
    assert set(detail["object"]) >= {"key", "size", "etag", "sequencer"}


def test_a_target_that_cannot_be_started_goes_to_the_dead_letter_queue(endpoint):
    sqs = endpoint.client("sqs")
    url = sqs.create_queue(QueueName="mlops-trigger-dead-letters")["QueueUrl"]
    install(endpoint, IMAGES)
    endpoint.client("s3").put_object(Bucket=UPLOADS, Key="train/intel.zip", Body=b"x")
    deadline = time.monotonic() + DEADLINE_S
    while not (found := sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages")):
        assert time.monotonic() < deadline
    assert json.loads(found[0]["Body"])["detail"]["eventName"] == "PutObject"


def test_a_proposal_of_a_server_reaches_the_rule_once(endpoint, queue, tmp_path):
    from mlops_sagemaker.triggers.proposals import send_proposals

    from mlops_core.serving.drift.alarms import DriftAlarm, RetrainProposal
    from mlops_core.serving.watch.folders import DRIFT_FOLDER

    (made,) = event_rules([ProposalRule(name="retrain", use_case="TOY", on=("drift",))])
    seen(endpoint, made.name, dict(made.pattern))
    moment = "2026-01-01T00:00:00+00:00"
    proposal = RetrainProposal(model="TOY version 1", alarm="1", reason="mmd_20", proposed_at=moment, next_at=moment)
    alarm = DriftAlarm(
        id="1", raised_at=moment, model="TOY version 1", statistic="mmd_20", value=4.0, threshold=3.0, window=20,
        observed=100, seen=100, proposal=proposal,
    )  # fmt: skip
    folder = tmp_path / "ws" / DRIFT_FOLDER / "TOY" / "server"
    folder.mkdir(parents=True)
    (folder / "alarms.jsonl").write_text(alarm.to_json() + "\n")
    client = endpoint.client("events")
    assert [send_proposals(tmp_path / "ws", "TOY", client=client) for _ in range(2)] == [1, 0]
    (event,) = queue()
    assert event["detail"]["command"] == "mlops run -u TOY"
    assert queue() == []


# --- Compilation ------------------------------------------------------------------------------------------


def test_the_step_is_compiled_only_when_it_is_asked_for(compiled):
    plain = compiled(settings=SETTINGS[:3])
    assert "ingest" not in plain.to_text()
    made = compiled(settings=SETTINGS)
    names = [each["Name"] for each in made.data["Parameters"]]
    assert [name for name in names if name in ("DatasetUri", "DatasetVersion", "AnnotationsUri")] == [
        "DatasetUri", "DatasetVersion", "AnnotationsUri",
    ]  # fmt: skip
    assert "CacheConfig" not in made.data["Steps"][0]


def test_its_names_are_reserved(toy, monkeypatch, compiled):
    from mlops_sagemaker.compiler import definition

    monkeypatch.setattr(definition, "INGEST_STEP", "train")
    with pytest.raises(PipelineError, match="reserved for the step that ingests"):
        compiled(settings=SETTINGS)
