"""Rules as data: reading, lint, generation and simulation."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlops_sagemaker.commands import command
from mlops_sagemaker.triggers.arrivals import WRITES, arrival_of, created_event, event_time, trail_event
from mlops_sagemaker.triggers.lint import PipelineOutputs, lint_rules, output_prefixes
from mlops_sagemaker.triggers.pattern_lint import lint_pattern
from mlops_sagemaker.triggers.patterns import EventPattern
from mlops_sagemaker.triggers.resources import account_arns, command_inputs, command_script, template
from mlops_sagemaker.triggers.rules import DRIFT, DRIFT_SOURCE, EXECUTION_CHANGE, PACKAGE_CHANGE, event_rules
from mlops_sagemaker.triggers.simulation import simulate

from mlops_core import ConfigError
from mlops_core.watching import Arrival, read_rules
from mlops_core.watching.rules import ObjectRule, PrefixRule

FIVE_RULES = """
use_case: SCENE
rules:
  - {name: images, kind: object, bucket: uploads, key: train/intel.zip}
  - {name: labels, kind: prefix, bucket: uploads, prefix: annotations/, dataset_key: train/intel.zip}
  - {name: deploy, kind: approval, to: staging}
  - {name: retrain, kind: proposal, on: [pipeline-failed, drift]}
  - {name: weekly, kind: schedule, expression: 'cron(0 3 ? * MON *)', timezone: Europe/Berlin, parameters: {epochs: 3}}
"""
IDENTITY = {"account": "111122223333", "region": "eu-central-1"}


@pytest.fixture
def rules_file(tmp_path):
    path = tmp_path / "triggers.yaml"
    path.write_text(FIVE_RULES)
    return path


@pytest.fixture
def rules(rules_file):
    return event_rules(read_rules(rules_file))


def event(source, kind, detail, *, time="2026-11-02T10:00:00Z", resources=()):
    return {"version": "0", "id": "1", "source": source, "detail-type": kind, "time": time, "detail": detail,
            "resources": list(resources)}  # fmt: skip


def upload(key, at, version="e1", bucket="uploads", **more):
    return created_event(Arrival(bucket=bucket, key=key, version=version, at=at, **more), **IDENTITY)


def recorded(key, at, version="r1", *, name="PutObject", bucket="uploads", error=""):
    made = trail_event(Arrival(bucket=bucket, key=key, version=version, at=at), name=name, **IDENTITY)
    made["detail"]["requestID"] = version
    if error:
        made["detail"]["errorCode"] = error
    return made


# --- Reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "words"), [
    ("{name: a, kind: object, bucket: 'arn:aws:s3:::uploads', key: k}", "bare name of a bucket, 'uploads'"),
    ("{name: a, kind: object, bucket: 's3://uploads/', key: k}", "bare name of a bucket, 'uploads'"),
    ("{name: a, kind: objects, bucket: b, key: k}", "did you mean 'object'?"),
    ("{name: a, kind: prefix, bucket: b, prefix: p/, sufix: x}", "did you mean 'suffix'?"),
    ("{name: a, kind: object, bucket: b}", "has no key, which kind object needs"),
    ("{name: a, kind: object, bucket: b, key: ../k}", "'..'"),
    ("{name: a, kind: prefix, bucket: b, prefix: intel.zip}", "also takes 'intel.zip.tmp'"),
    ("{name: a, kind: prefix, bucket: b, prefix: ''}", "would take every object"),
    ("{name: a, kind: prefix, bucket: b, prefix: p/, quiet_s: soon}", "a number of seconds"),
    ("{name: a, kind: prefix, bucket: b, prefix: p/, quiet_s: 60, max_wait_s: 5}", "less than quiet_s"),
    ("{name: a, kind: approval, to: prod}", "expected staging or production"),
    ("{name: a, kind: proposal, on: [drifts]}", "did you mean 'drift'?"),
    ("{name: a, kind: schedule, expression: rate(1 hours)}", "write rate(1 hour)"),
    ("{name: a, kind: schedule, expression: rate(5 minute)}", "write rate(5 minutes)"),
    ("{name: a, kind: schedule, expression: '0 3 * * 1'}", "is not a schedule"),
    ("{name: a, kind: schedule, expression: 'cron(0 3 * * 1)'}", "has 5 fields; expected six"),
    ("{name: a, kind: schedule, expression: 'cron(0 3 * * MON *)'}", "? in exactly one"),
    ("{name: a, kind: schedule, expression: 'cron(0 25 ? * MON *)'}", "for hours"),
    ("{name: a, kind: schedule, expression: rate(1 day), timezone: Berlin}", "is not a time zone"),
    ("{name: ../a, kind: approval}", "is not a portable name"),
    ("{name: a, kind: approval, quiet_s: 0300}", "0300 is 192 in YAML 1.1 and 300 in YAML 1.2"),
    ("{name: a, kind: approval, quiet_s: 1:30}", "expected a number of seconds"),
    ("{name: a, kind: approval, parameters: {q_acc: 010}}", "parameters.q_acc: 010 is 8 in YAML 1.1"),
    ("{name: a, kind: approval, parameters: {day: 2026-01-02}}", "is the date 2026-01-02 in YAML 1.1"),
    ("just a text", "is not a rule"),
])  # fmt: skip
def test_a_wrong_rule_is_refused_with_its_line_and_what_to_write(tmp_path, rule, words):
    path = tmp_path / "triggers.yaml"
    path.write_text(f"use_case: SCENE\nrules:\n  - {rule}\n")
    with pytest.raises(ConfigError) as caught:
        read_rules(path)
    assert words in str(caught.value)
    assert "triggers.yaml (line 3)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_of_parameters_are_the_texts_of_the_file(tmp_path):
    path = tmp_path / "triggers.yaml"
    path.write_text("use_case: S\nrules:\n- {name: a, kind: approval, parameters: {a: 1.10, b: 1e3, c: True, d: x}}\n")
    assert read_rules(path)[0].parameters == {"a": "1.10", "b": "1e3", "c": "true", "d": "x"}


def test_all_faults_of_a_file_are_reported_together(tmp_path):
    path = tmp_path / "triggers.yaml"
    path.write_text("rulez: 1\nrules:\n- {name: a, kind: x}\n- {name: b, kind: approval, to: y}\n")
    with pytest.raises(ConfigError) as caught:
        read_rules(path)
    assert len(caught.value.problems) == 3


def test_a_bucket_that_the_store_cannot_have_is_refused(rules_file):
    rules_file.write_text("use_case: S\nrules:\n- {name: a, kind: object, bucket: My_Bucket, key: k}\n")
    with pytest.raises(ConfigError, match="is not a valid bucket name"):
        event_rules(read_rules(rules_file))


# --- Patterns ---------------------------------------------------------------------------------------------


def test_each_rule_takes_its_events_and_no_others(rules):
    patterns = {rule.name: EventPattern.of(rule.pattern) for rule in rules if rule.pattern}
    status = {"pipelineArn": "arn:aws:sagemaker:eu-central-1:111122223333:pipeline/scene",
              "currentPipelineExecutionStatus": "Failed"}  # fmt: skip
    package = {"ModelPackageGroupName": "SCENE", "ModelApprovalStatus": "Approved"}
    cases = [
        (recorded("train/intel.zip", 0), "images"),
        (recorded("train/intel.zip", 0, name="CopyObject"), "images"),
        (recorded("train/intel.zip", 0, name="CompleteMultipartUpload"), "images"),
        (recorded("train/intel.zip", 0, name="GetObject"), ""),
        (recorded("train/intel.zip", 0, error="AccessDenied"), ""),
        (recorded("train/intel.zip.tmp", 0), ""),
        (recorded("train/intel.zip", 0, bucket="other"), ""),
        (upload("annotations/a.csv", 0), "labels"),
        (upload("annotations/a.csv", 0, is_restored=True), "labels"),
        (upload("train/intel.zip", 0), ""),
        (event("aws.sagemaker", PACKAGE_CHANGE, package), "deploy"),
        (event("aws.sagemaker", PACKAGE_CHANGE, {**package, "ModelApprovalStatus": "Rejected"}), ""),
        (event("aws.sagemaker", PACKAGE_CHANGE, {**package, "ModelPackageGroupName": "OTHER"}), ""),
        (event("aws.sagemaker", EXECUTION_CHANGE, status), "retrain-pipeline-failed"),
        (event("aws.sagemaker", EXECUTION_CHANGE, {**status, "pipelineArn": status["pipelineArn"] + "-two"}), ""),
        (event("aws.sagemaker", EXECUTION_CHANGE, {**status, "currentPipelineExecutionStatus": "Succeeded"}), ""),
        (event(DRIFT_SOURCE, DRIFT, {"use_case": "SCENE", "reason": "mmd"}), "retrain-drift"),
    ]
    for each, expected in cases:
        assert [name for name, pattern in patterns.items() if pattern.matches(each)] == ([expected] if expected else [])


def test_a_rule_accepts_an_arrival_exactly_when_its_pattern_matches_the_event(tmp_path):
    """A folder that is watched and a bucket follow the same rules."""
    draw = random.Random(3)
    keys = ["train/intel.zip", "train/a*b.zip", "in/a.csv", "in/a.csv.tmp", "in/b/c.csv", "inner/a.csv", "in\\x/a.csv"]
    rules = [
        ObjectRule(name="a", use_case="S", bucket="uploads", key="train/intel.zip"),
        ObjectRule(name="b", use_case="S", bucket="uploads", key="train/a*b.zip"),
        PrefixRule(name="c", use_case="S", bucket="uploads", prefix="in/"),
        PrefixRule(name="d", use_case="S", bucket="uploads", prefix="in", suffix=".csv"),
        PrefixRule(name="e", use_case="S", bucket="uploads", prefix="train/a*", suffix=".zip"),
        PrefixRule(name="f", use_case="S", bucket="uploads", prefix="in\\x/", suffix="a.csv"),
    ]
    made = event_rules(rules)
    accepted = 0
    for _ in range(300):
        arrival = Arrival(bucket=draw.choice(["uploads", "other"]), key=draw.choice(keys), version="v", at=5.0)
        for each in made:
            build = trail_event if each.rule.kind == "object" else created_event
            sent = build(arrival, **IDENTITY)
            assert EventPattern.of(each.pattern).matches(sent) is each.rule.accepts(arrival)
            back = arrival_of(sent)
            assert (back.bucket, back.key) == (arrival.bucket, arrival.key)
            accepted += each.rule.accepts(arrival)
    assert accepted > 100


# --- Lint -------------------------------------------------------------------------------------------------


TRAIL_PATTERN = {
    "source": ["aws.s3"],
    "detail-type": ["AWS API Call via CloudTrail"],
    "detail": {
        "eventName": list(WRITES),
        "errorCode": [{"exists": False}],
        "requestParameters": {"bucketName": ["uploads"], "key": ["train/intel.zip"]},
    },
}


def changed(pattern, **detail):
    return {**pattern, "detail": {k: v for k, v in {**pattern["detail"], **detail}.items() if v is not None}}


@pytest.mark.parametrize(("pattern", "check"), [
    (changed(TRAIL_PATTERN, requestParameters={"bucketName": ["arn:aws:s3:::uploads"]}), "bucket-arn"),
    (changed(TRAIL_PATTERN, requestParameters={"bucketName": ["u"], "key": [{"prefix": "intel.zip"}]}), "open-prefix"),
    (changed(TRAIL_PATTERN, errorCode=None), "failed-calls"),
    (changed(TRAIL_PATTERN, eventName=["PutObject", "CompleteMultipartUpload"]), "event-names"),
    (changed(TRAIL_PATTERN, eventName=None), "event-names"),
    (changed(TRAIL_PATTERN, requestParameters={"key": ["k"]}), "no-bucket"),
    ({"source": ["aws.s3"], "detail-type": ["Object created"]}, "unknown-detail-type"),
    ({"detail-type": ["Object Created"]}, "no-source"),
    ({"source": ["aws.sagemaker"], "detail-type": ["SageMaker Endpoint State Change"],
      "detail": {"EndpointStatus": ["InService"]}}, "status-spelling"),
    ({"source": ["aws.sagemaker"], "detail-type": [EXECUTION_CHANGE],
      "detail": {"currentPipelineExecutionStatus": ["FAILED"], "pipelineArn": ["x"]}}, "status-spelling"),
    ({"source": ["aws.sagemaker"], "detail-type": [EXECUTION_CHANGE],
      "detail": {"currentPipelineExecutionStatus": ["Failed"]}}, "no-pipeline"),
    ({"source": ["aws.sagemaker"], "detail-type": [PACKAGE_CHANGE],
      "detail": {"ModelApprovalStatus": ["Approved"]}}, "no-group"),
    ({"source": ["aws.sagemaker"], "detail-type": [PACKAGE_CHANGE],
      "detail": {"ModelPackageGroupName": ["g"], "ModelApprovalStatus": ["Approved", "Rejected"]}},
     "not-only-approved"),
    ({"source": ["x"], "detail": {"a": [{"prefixx": "b"}]}}, "invalid-pattern"),
    ({"source": ["x"], "detail": {"a": ["y" * 40 + str(i) for i in range(60)]}}, "pattern-size"),
])  # fmt: skip
def test_each_defect_is_found(pattern, check):
    found = lint_pattern(json.dumps(pattern))
    assert [finding.check for finding in found] == [check]
    assert "\n" not in str(found[0])


def test_a_number_that_is_spelled_in_another_way_is_found():
    pattern = '{"source": ["a 1e3"], "detail": {"size": [3e2, 300.0, 300, 0.5]}}'
    assert [finding.check for finding in lint_pattern(pattern)] == ["number-spelling"] * 2


def test_the_rules_of_the_example_have_no_finding(rules_file):
    assert lint_rules(read_rules(rules_file), outputs=PipelineOutputs(bucket="artifacts")) == []
    assert lint_pattern(json.dumps(TRAIL_PATTERN)) == []


@pytest.mark.parametrize(("rule", "is_loop"), [
    (PrefixRule(name="a", use_case="SCENE", bucket="art", prefix="SCENE/"), True),
    (PrefixRule(name="a", use_case="SCENE", bucket="art", prefix="SCENE/executions/x/"), True),
    (PrefixRule(name="a", use_case="SCENE", bucket="art", prefix="datacapture-staging/"), True),
    (PrefixRule(name="a", use_case="SCENE", bucket="art", prefix="train/"), True),
    (ObjectRule(name="a", use_case="SCENE", bucket="art", key="evaluation/build/x.json"), True),
    (PrefixRule(name="a", use_case="SCENE", bucket="art", prefix="uploads/"), False),
    (PrefixRule(name="a", use_case="SCENE", bucket="other", prefix="SCENE/"), False),
])  # fmt: skip
def test_a_rule_that_its_own_runs_would_start_is_found(rule, is_loop):
    found = lint_rules([rule], outputs=PipelineOutputs(bucket="art", prefixes=output_prefixes("SCENE")))
    assert bool([each for each in found if each.check == "output-loop" and each.severity == "error"]) is is_loop


def test_models_that_are_registered_as_approved_make_a_loop_with_an_approval_rule(rules_file):
    outputs = PipelineOutputs(bucket="artifacts", approval_status="Approved")
    assert "approved-when-registered" in [each.check for each in lint_rules(read_rules(rules_file), outputs=outputs)]


def test_a_target_without_a_dead_letter_queue_is_found(tmp_path):
    path = tmp_path / "exported.json"
    rule = {"Name": "r", "EventPattern": json.dumps(TRAIL_PATTERN), "Targets": [{"Id": "t", "Arn": "a"}]}
    path.write_text(json.dumps({"Rules": [rule]}))
    result = CliRunner().invoke(command, ["trigger", "lint", str(path)], standalone_mode=False)
    assert result.return_value == 0
    assert "no-dead-letter-queue" in result.output


# --- Generation -------------------------------------------------------------------------------------------


def _cfn_lint(data):
    """Return the errors and warnings of cfn-lint, as its command prints them."""
    from cfnlint.api import lint

    return [str(match) for match in lint(json.dumps(data))]


def _parameters(target):
    return target["SageMakerPipelineParameters"]["PipelineParameterList"]


def test_the_template_passes_the_linter_of_the_service(rules):
    assert _cfn_lint(template(rules)) == []
    wrong = template(rules)
    wrong["Resources"]["RuleImages"]["Properties"]["Pattern"] = {}
    assert _cfn_lint(wrong)


@pytest.mark.slow_suite
def test_a_template_of_each_kind_alone_passes_the_linter(rules):
    for made in rules:
        assert _cfn_lint(template([made])) == [], made.name


def test_targets_start_the_pipeline_with_what_arrived_and_have_a_dead_letter_queue(rules):
    files = command_inputs(rules, account_arns("111122223333", "eu-central-1"))
    target = files["events-put-targets-images.json"]["Targets"][0]
    parameters = {
        each["Name"]: each["Value"] for each in target["SageMakerPipelineParameters"]["PipelineParameterList"]
    }
    assert parameters["DatasetUri"] == "s3://uploads/train/intel.zip"
    assert target["Arn"].endswith(":pipeline/scene")
    schedule = files["scheduler-create-schedule-weekly.json"]
    assert schedule["Target"]["SageMakerPipelineParameters"]["PipelineParameterList"] == [
        {"Name": "epochs", "Value": "3"}
    ]
    for name, content in files.items():
        for each in [*content.get("Targets", []), *([content["Target"]] if "Target" in content else [])]:
            assert each["DeadLetterConfig"]["Arn"].startswith("arn:aws:sqs:"), name
    policy = json.loads(files["sqs-create-queue.json"]["Attributes"]["Policy"])
    sources = policy["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert "arn:aws:events:eu-central-1:111122223333:rule/images" in sources


def test_inputs_of_the_command_line_have_the_shapes_of_its_service_model(rules):
    """botocore validates what `aws SERVICE CALL --cli-input-json` sends."""
    import botocore.session
    from botocore import xform_name
    from botocore.validate import ParamValidator

    files = command_inputs(rules, account_arns("111122223333", "eu-central-1"))
    session = botocore.session.get_session()
    for name, content in files.items():
        service, _, rest = name.partition("-")
        model = session.get_service_model(service)
        calls = {xform_name(each, "-"): each for each in model.operation_names}
        call = max((each for each in calls if rest.startswith(each)), key=len)
        report = ParamValidator().validate(content, model.operation_model(calls[call]).input_shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"


def test_the_script_of_the_command_line_is_valid_bash(rules, tmp_path):
    script = tmp_path / "apply.sh"
    script.write_text(command_script(command_inputs(rules, account_arns("111122223333", "eu-central-1"))))
    assert subprocess.run(["bash", "-n", script], check=False, capture_output=True).returncode == 0
    program = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    if Path(program).exists():
        assert subprocess.run([program, script], check=False, capture_output=True, text=True).stdout == ""


# --- Simulation -------------------------------------------------------------------------------------------


def test_thirty_recorded_events_start_exactly_what_they_should(rules):
    zip_at, label_at = 1000.0, 5000.0
    status = {"pipelineArn": "arn:aws:sagemaker:r:1:pipeline/scene", "currentPipelineExecutionStatus": "Failed"}
    package = {"ModelPackageGroupName": "SCENE", "ModelApprovalStatus": "Approved", "ModelPackageVersion": 4}
    events = [
        recorded("train/intel.zip", zip_at, "r1", error="AccessDenied"),
        recorded("train/intel.zip.tmp", zip_at),
        recorded("train/intel.zip", zip_at + 1, "r2", name="CompleteMultipartUpload"),
        recorded("train/intel.zip", zip_at + 1, "r2", name="CompleteMultipartUpload"),  # delivered twice
        *[upload(f"annotations/{n}.csv", label_at + n, f"v{n}", sequencer=f"{n:04X}") for n in range(20)],
        upload("annotations/3.csv", label_at + 30, "v3-new", sequencer="0100"),
        upload("annotations/3.csv", label_at + 25, "v3-old", sequencer="0050"),  # late
        event("aws.sagemaker", PACKAGE_CHANGE, package, time="1970-01-01T05:00:00Z"),
        event("aws.sagemaker", PACKAGE_CHANGE, package, time="1970-01-01T05:00:01Z"),  # several events per change
        event("aws.sagemaker", PACKAGE_CHANGE, {**package, "ModelApprovalStatus": "Rejected"}),
        event("aws.sagemaker", EXECUTION_CHANGE, status, time="1970-01-01T06:00:00Z"),
    ]
    assert len(events) == 30
    result = simulate(rules, events, explains=True)
    assert [(start.rule, len(start.keys)) for start in result.starts] == [
        ("images", 1), ("labels", 20), ("deploy", 0), ("retrain-pipeline-failed", 0),
    ]  # fmt: skip
    assert result.starts[0].at == zip_at + 1 + 60
    assert result.starts[1].at == label_at + 30 + 60
    assert result.deliveries["labels"] == 22
    first = [each for each in result.outcomes if each.number == 1 and each.rule == "images"]
    assert first[0].reason == 'detail.errorCode is "AccessDenied"'
    assert [each.result for each in result.outcomes if each.number == 26 and each.rule == "labels"] == ["superseded"]


def test_what_arrives_during_a_run_waits_and_starts_one_run_after_it(rules):
    events = [upload(f"annotations/{n}.csv", 100.0 * n, f"v{n}") for n in range(1, 13)]
    result = simulate(rules, events, run_s=500)
    assert [round(start.at) for start in result.starts] == [160, 660, 1160, 1660 if len(result.starts) > 3 else 0][
        : len(result.starts)
    ]
    assert sum(len(start.keys) for start in result.starts) == 12


def test_uploads_without_a_pause_start_a_run_when_the_longest_wait_is_over(rules):
    events = [upload(f"annotations/{n}.csv", 30.0 * n, f"v{n}") for n in range(60)]
    result = simulate([replace(rule) for rule in rules], events, run_s=0)
    assert result.starts[0].at == 600
    assert sum(len(start.keys) for start in result.starts) == 60


# --- The command line -------------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(command, ["trigger", *map(str, arguments)], standalone_mode=False)


def test_match_exits_with_0_3_or_2(tmp_path):
    pattern = '{"detail": {"errorCode": [{"exists": false}]}}'
    (tmp_path / "event.json").write_text('{"detail": {"errorCode": "AccessDenied"}}')
    assert invoke("match", pattern, '{"detail": {"a": 1}}').return_value == 0
    refused = invoke("match", pattern, tmp_path / "event.json")
    assert refused.return_value == 3
    assert refused.output == 'no match: detail.errorCode is "AccessDenied"\n'
    assert invoke("match", '{"a": [{"prefixx": "x"}]}', "{}").exception.exit_code == 2
    answer = json.loads(invoke("match", pattern, tmp_path / "event.json", "--json").output)
    assert answer == {"matches": False, "mismatch": {"field": "detail.errorCode", "value": '"AccessDenied"'}}


def test_generate_writes_the_template_and_the_inputs_of_the_command_line(rules_file, tmp_path):
    result = invoke(
        "generate", rules_file, "--to", tmp_path / "out", "--account", "111122223333", "--region", "eu-west-1"
    )
    assert result.exception is None, result.output
    made = json.loads((tmp_path / "out" / "triggers.template.json").read_text())
    assert {each["Type"] for each in made["Resources"].values()} >= {
        "AWS::Events::Rule", "AWS::Scheduler::Schedule", "AWS::SQS::Queue", "AWS::IAM::Role", "AWS::CloudTrail::Trail",
    }  # fmt: skip
    assert (tmp_path / "out" / "cli" / "apply.sh").exists()
    assert "put-bucket-notification-configuration --bucket uploads" in result.output


def test_simulate_prints_what_starts(rules_file, tmp_path):
    events = tmp_path / "events.jsonl"
    events.write_text("\n".join(json.dumps(upload(f"annotations/{n}.csv", 10.0 + n, f"v{n}")) for n in range(3)) + "\n")
    result = invoke("simulate", events, "--rules", rules_file)
    assert "labels: starts, with 3 objects" in result.output
    assert "the bus alone would call: labels 3" in result.output
    assert json.loads(invoke("simulate", events, "--rules", rules_file, "--json").output)["events"] == 3
    events.write_text('{"time": "2026-11-02T10:00:00Z"}\n')
    assert "1 event; 0 starts;" in invoke("simulate", events, "--rules", rules_file).output
    events.write_text('{"time": "2026-11-02T10:00:00Z"}\n[]\n')
    assert "line 2" in str(invoke("simulate", events, "--rules", rules_file).exception)


def _without(path, made):
    node = made
    *parents, last = path.split(".")
    for name in parents:
        node = node[name]
    del node[last]
    return made


@pytest.mark.parametrize(("made", "words"), [
    (_without("detail.requestID", _without("detail.eventID", recorded("train/intel.zip", 0.0))),
     "no detail.responseElements.x-amz-version-id or detail.requestID or detail.eventID"),
    (_without("detail.requestParameters.key", recorded("train/intel.zip", 0.0)), "no detail.requestParameters.key"),
    (_without("detail.bucket", upload("annotations/a.csv", 0.0)), "no detail.bucket.name"),
    (_without("detail.object.etag", upload("annotations/a.csv", 0.0)), "no detail.object.etag"),
    (_without("time", upload("annotations/a.csv", 0.0)), "no time"),
    (upload("annotations/a.csv", 0.0) | {"time": "yesterday"}, "time is 'yesterday'; expected for example"),
])  # fmt: skip
def test_an_event_without_what_the_quiet_period_needs_is_refused_with_its_line(rules_file, tmp_path, made, words):
    events = tmp_path / "events.jsonl"
    events.write_text(f"{json.dumps(upload('annotations/b.csv', 0.0))}\n\n{json.dumps(made)}\n")
    error = invoke("simulate", events, "--rules", rules_file).exception
    assert f"event {events} (line 3): " in str(error)
    assert words in str(error)
    assert error.exit_code == 2


def test_the_offset_of_a_time_counts():
    assert event_time({"time": "2026-11-02T12:00:00+02:00"}) == event_time({"time": "2026-11-02T10:00:00Z"})


# --- Names ------------------------------------------------------------------------------------------------


def test_an_unknown_use_case_is_a_finding_of_lint_and_refused_where_files_are_written(rules_file, tmp_path):
    rules_file.write_text(FIVE_RULES.replace("SCENE", "SCEN"))
    linted = invoke("lint", rules_file, "--bucket", "artifacts")
    assert linted.return_value == 0
    assert "use case 'SCEN' is not installed here; did you mean 'SCENE'?" in linted.output
    assert linted.output.count("unknown-use-case") == 1
    error = invoke("generate", rules_file, "--to", tmp_path / "out").exception
    assert "rule 'images': no use case 'SCEN'; did you mean 'SCENE'? installed: " in str(error)
    assert not (tmp_path / "out").exists()
    refused = CliRunner().invoke(command, ["infrastructure", "-u", "NOPE"], standalone_mode=False).exception
    assert "no use case 'NOPE'; installed: " in str(refused)


@pytest.mark.parametrize("arguments", [
    ("trigger", "lint", "triggers.yaml"), ("trigger", "generate", "triggers.yaml", "--to", "out"),
    ("trigger", "simulate", "events.jsonl"), ("infrastructure", "--rules", "triggers.yaml"),
])  # fmt: skip
def test_a_use_case_that_contradicts_the_rules_is_refused(rules_file, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    Path("events.jsonl").write_text("")
    refused = CliRunner().invoke(command, [*arguments, "-u", "AED"], standalone_mode=False).exception
    assert "rule 'images' is for the use case SCENE, not for AED" in str(refused)


@pytest.mark.parametrize(("arguments", "words"), [
    (("lint", "--bucket", "arn:aws:s3:::uploads"), "name; expected the bare name, 'uploads'"),
    (("lint", "--bucket", "My_Bucket"), "--bucket: 'My_Bucket' is not a valid bucket name"),
    (("generate", "--to", "out", "--region", "mars"), "--region: 'mars' is not the name of a region"),
    (("generate", "--to", "out", "--account", "12"), "--account: '12' is not the id of an account"),
])  # fmt: skip
def test_names_of_an_account_are_checked_the_same_way_everywhere(rules_file, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    error = invoke(*arguments).exception
    assert words in str(error)
    assert error.exit_code == 2
    assert not Path("out").exists()
