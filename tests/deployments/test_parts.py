"""The parts of a deployment by themselves: settings, names, states, alarms; and known faults of public templates."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_core.config_files.loading import load_config
from mlops_core.deployments.driver import Deployer, DeploymentRequest
from mlops_core.deployments.ledger import DeploymentLedger
from mlops_core.deployments.local.state import Action, EndpointFolder, EndpointOrder, EndpointState
from mlops_core.deployments.local.target import LocalTarget
from mlops_core.deployments.plan import DeploymentPlan, ModelReference, Stage, check_names, endpoint_name
from mlops_core.deployments.replay import replay
from mlops_core.deployments.settings import (
    AlarmSettings,
    DeploymentSettings,
    DeploymentsFile,
    ReplaySettings,
    Shift,
    TrafficSettings,
)
from mlops_core.deployments.states import TRANSITIONS, DeploymentState, EndpointPhase, EndpointStatus
from mlops_core.deployments.target import EndpointAnswer, MonthlyCost
from mlops_core.errors import ConfigError, RunnerError, StoreError, UsageError
from mlops_core.serving.endpoint.alarms import AnswerWatch
from mlops_core.workspace.model_versions import ApprovalStatus

MODEL = ModelReference(use_case="WORDS", version=1, artifact="ab" * 32)
PLAN = DeploymentPlan(stage=Stage.PRODUCTION, model=MODEL, settings=DeploymentSettings())


def load(*overrides):
    return load_config(DeploymentsFile, default=None, path=None, overrides=overrides, environ={}).model


# --- Settings and names -----------------------------------------------------------------------------------


def test_another_value_of_productions_traffic_keeps_its_canary():
    assert load().production.traffic.shift is Shift.CANARY
    changed = load("production.traffic.interval_s=60").production.traffic
    assert (changed.shift, changed.interval_s) == (Shift.CANARY, 60)
    assert load("production.instances=2").production.traffic.shift is Shift.CANARY
    assert load("production.traffic.shift=linear").production.traffic.shift is Shift.LINEAR


@pytest.mark.parametrize(
    ("shift", "percent", "shares"),
    [
        (Shift.ALL_AT_ONCE, 10, (100,)),
        (Shift.CANARY, 10, (10, 100)),
        (Shift.LINEAR, 50, (50, 100)),
        (Shift.LINEAR, 30, (30, 60, 90, 100)),
    ],
)
def test_traffic_moves_in_steps_that_end_at_everything(shift, percent, shares):
    assert TrafficSettings(shift=shift, percent=percent).shares() == shares


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("production.instances=0", "production.instances"),
        ("production.traffic.shift=sideways", "production.traffic.shift"),
        (
            "production.autoscaling={max_instances: 1, min_instances: 2, requests_per_minute: 5}",
            "less than min_instances",
        ),
        ("production.tags=[a, b]", "production.tags"),
        ("production.tags={a: [1]}", "production.tags.a"),
        ("production.alarms.max_error_rate=2", "production.alarms.max_error_rate"),
        ("staging.replay.tolerance=.nan", "staging.replay.tolerance"),
        ("testing.instances=1", "did you mean 'staging'"),
    ],
)
def test_a_setting_that_is_wrong_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load(override)


@pytest.mark.parametrize(("text", "value"), [("false", False), ("False", False), ("true", True)])
def test_a_switch_that_is_false_is_false(text, value):
    assert load(f"production.network.is_isolated={text}").production.network.is_isolated is value


def test_the_name_of_a_configuration_follows_from_version_stage_and_settings():
    other_place = replace(MODEL, location="somewhere", approval=ApprovalStatus.APPROVED)
    assert replace(PLAN, model=other_place).name == PLAN.name
    different = {
        replace(PLAN, stage=Stage.STAGING).digest,
        replace(PLAN, model=replace(MODEL, version=2)).digest,
        replace(PLAN, model=replace(MODEL, artifact="cd" * 32)).digest,
        replace(PLAN, settings=DeploymentSettings(instances=2)).digest,
        PLAN.digest,
    }
    assert len(different) == 5
    assert DeploymentPlan.from_json(json.loads(json.dumps(PLAN.to_json()))) == PLAN
    assert endpoint_name("Road__Sign.v2", Stage.STAGING) == "road-sign-v2-staging"


def test_names_that_are_too_long_for_an_engine_are_refused_with_the_limit():
    check_names(PLAN, limit=32)
    with pytest.raises(UsageError, match="has 16 characters; expected at most 15, because .* add 13: set a shorter"):
        check_names(PLAN, limit=28)


def test_a_deployment_never_goes_back_to_an_earlier_state():
    order = list(DeploymentState)
    for state, following in TRANSITIONS.items():
        assert all(order.index(each) > order.index(state) for each in following)
        assert state.is_final is (not following)
    assert set(TRANSITIONS) == set(DeploymentState)


def test_an_endpoint_that_was_rolled_back_is_settled_but_does_not_serve_what_was_deployed():
    status = EndpointStatus(endpoint="e", phase=EndpointPhase.IN_SERVICE, configuration="e-old", reason="alarm")
    assert status.is_settled
    assert status.serves("e-old")
    assert not status.serves("e-new")
    assert not replace(status, pending="e-new").serves("e-old")


# --- Alarms -----------------------------------------------------------------------------------------------


def answers(watch, count, *, status=200, duration_s=0.01, answer=None):
    for number in range(count):
        body = str(number if answer is None else answer).encode()
        watch.add(status=status, duration_s=duration_s, request=str(number).encode(), answer=body)
    return watch


def test_alarms_wait_for_enough_requests_and_then_judge_errors_time_and_equality():
    few = AlarmSettings(min_requests=10, max_error_rate=0.2, max_p99_ms=100)
    assert answers(AnswerWatch(few), 9, status=500).alarm() == ""
    assert "9 requests, min_requests is 10" in answers(AnswerWatch(few), 9).note()
    assert answers(AnswerWatch(few), 10).alarm() == ""
    assert "10 of 10 requests failed" in answers(AnswerWatch(few), 10, status=503).alarm()
    assert answers(AnswerWatch(few), 10, status=422).alarm() == ""  # the caller's fault
    assert answers(answers(AnswerWatch(few), 2, status=500), 8).alarm() == ""  # a fifth, not more
    assert "p99 of 10 answers is 200 ms" in answers(AnswerWatch(few), 10, duration_s=0.2).alarm()
    assert "one answer to 10 different requests" in answers(AnswerWatch(few), 10, answer="same").alarm()
    repeated = AnswerWatch(few)
    for _ in range(30):
        repeated.add(status=200, duration_s=0.01, request=b"one request", answer=b"one answer")
    assert repeated.alarm() == ""
    off = AlarmSettings(min_requests=1, max_error_rate=None, refuses_constant_answers=False)
    assert answers(AnswerWatch(off), 10, status=500, answer="same").alarm() == ""


# --- The ledger and the files -----------------------------------------------------------------------------


def test_a_record_that_was_changed_is_not_believed(stocked):
    ledger = DeploymentLedger(stocked.store)
    planned = ledger.plan(PLAN, runner="elsewhere", why="a test")
    (path,) = (stocked.home / "deployments" / "records").glob("*.json")
    content = path.read_text()
    path.write_text(content.replace('"instances": 1', '"instances": 9'))
    with pytest.raises(StoreError, match=r"deployment 1 of WORDS: .*json: it was changed; restore the file"):
        ledger.deployments()
    path.write_text(content)
    with pytest.raises(StoreError, match="is planned and cannot become replaced"):
        ledger.move(planned, DeploymentState.REPLACED, why="no")
    ended = ledger.move(planned, DeploymentState.FAILED, why="it was a test")
    with pytest.raises(UsageError, match="is failed and no longer planned"):
        ledger.move(planned, DeploymentState.IN_SERVICE, why="another process saw it planned")
    assert ledger.deployment("words", 1) == ended


def test_files_of_an_endpoint_come_back_as_they_were_and_damage_is_named(tmp_path):
    folder = EndpointFolder(tmp_path / "endpoint")
    assert folder.read_state() == EndpointState()
    assert folder.read_order() is None
    order = EndpointOrder(action=Action.DEPLOY, plan=PLAN, at_once=True)
    folder.write_order(order)
    state = EndpointState(pid=7, port=8, phase=EndpointPhase.SHIFTING, current=PLAN, percent=10, handled=order.token)
    folder.write_state(state)
    assert (folder.read_order(), folder.read_state()) == (order, state)
    lock = folder.claim()
    assert folder.has_process()
    assert folder.claim() is None
    import os

    os.close(lock)
    assert not folder.has_process()
    (folder.path / "state.json").write_text('{"format": "mlops-endpoint/1", "pid": ')
    with pytest.raises(StoreError, match=r"state.json is damaged: .* remove the folder"):
        folder.read_state()


def test_models_are_not_moved_to_another_name_while_an_endpoint_serves_them(stocked):
    from mlops_core.workspace.model_moves import move_models

    ledger = DeploymentLedger(stocked.store)
    planned = ledger.plan(replace(PLAN, stage=Stage.STAGING), runner="elsewhere", why="a test")
    with pytest.raises(UsageError, match=f"deployment {planned.number} of model WORDS is planned; delete its endpoint"):
        move_models(stocked.store, "WORDS", "TERMS", why="renamed")
    ledger.move(planned, DeploymentState.FAILED, why="it was a test")
    move_models(stocked.store, "WORDS", "TERMS", why="renamed")
    assert ledger.deployments("TERMS") == ()
    move_models(stocked.store, "TERMS", "WORDS", why="and back")
    assert ledger.deployments("WORDS")[0].number == planned.number


# --- Faults of public templates, which these checks keep out ----------------------------------------------


def request(version=None, **others):
    return DeploymentRequest(
        use_case="WORDS",
        version=version,
        stage=Stage.PRODUCTION,
        settings=DeploymentSettings.model_validate({"traffic": {"bake_s": 0}}),
        why="a test",
        **others,
    )


class Elsewhere(LocalTarget):
    """An engine with prices and a registry of its own, whose endpoints are those of this machine."""

    usd, approval, on_check = 0.0, None, None

    def monthly_cost(self, plan):
        return MonthlyCost(usd=self.usd, basis="1 machine")

    def find_model(self, use_case, wanted):
        return None if self.approval is None else replace(MODEL, approval=self.approval)

    def faults(self, plan):
        if self.on_check:
            self.on_check()
        return super().faults(plan)


def test_production_takes_the_newest_approved_version_and_not_the_oldest_or_a_pending_one(world):
    for limit in (6, 7):
        world.register(limit=limit, approved=True)
    world.register(limit=8)
    assert world.deployer.plan(request()).model.version == 2  # not 1, and not 3


def test_the_version_that_is_named_is_deployed_whatever_else_is_approved(world):
    for limit in (6, 7):
        world.register(limit=limit, approved=True)
    assert [world.deployer.plan(request(wanted)).model.version for wanted in ("1", "2", None)] == [1, 2, 2]


def test_an_endpoint_that_was_not_called_or_is_not_in_service_has_not_passed_its_test(world):
    report = replay(world.target, "words-staging", (), settings=ReplaySettings(), configuration="words-staging-1")
    assert report.faults == ("the version has no recorded requests, so nothing was tested",)
    version = world.register(approved=True)
    model = replace(MODEL, version=version.version, artifact=version.artifact)
    world.ledger.plan(replace(PLAN, model=model, stage=Stage.STAGING), runner="local", why="begun, not in service")
    with pytest.raises(UsageError, match="is planned, and the endpoint 'words-staging' is absent; deploy it with"):
        world.deployer.test("WORDS", Stage.STAGING)


def test_errors_of_the_old_model_do_not_bring_it_back(world):
    world.deploy(world.register("failing", approved=True))
    good = world.register(approved=True)
    with world.callers() as callers:
        world.wait_for(lambda: any(status == 500 for status, _, _ in callers.answers))
        world.deploy(good, shift="canary", percent=50, interval_s=1.5, alarms={"min_requests": 5})
    assert world.answer()[0] == 200


def test_a_version_that_is_rejected_while_it_is_checked_is_not_deployed(stocked):
    version = stocked.register(limit=11, approved=True)
    target = Elsewhere(stocked.store)
    target.on_check = lambda: stocked.registry.set_status(
        stocked.registry.version("WORDS", version.version), ApprovalStatus.REJECTED, why="it leaks"
    )
    with pytest.raises(UsageError, match="was rejected; deploy another version, or approve it first"):
        Deployer(stocked.store, target, note=print).deploy(request(str(version.version)))
    assert not stocked.target.folder("words-production").path.exists()


def test_a_version_must_be_approved_at_the_engine_too_and_cost_no_more_than_allowed(stocked):
    target = Elsewhere(stocked.store)
    deployer = Deployer(stocked.store, target, note=print)
    target.usd = 120.5
    with pytest.raises(UsageError, match=r"would cost up to 120.50 USD a month \(1 machine\), more than .* 100.00 USD"):
        deployer.deploy(request("1", max_cost=100.0))
    target.usd = None
    with pytest.raises(UsageError, match="its cost is not known"):
        deployer.deploy(request("1", max_cost=100.0))
    target.approval = ApprovalStatus.PENDING
    with pytest.raises(UsageError, match="is PendingManualApproval at local; production takes approved versions only"):
        deployer.deploy(request("1"))
    assert not Path(stocked.home / "deployments" / "local").exists()


def test_an_answer_of_another_configuration_or_with_another_number_fails_the_test(stocked, recorded_words):
    (recorded,) = recorded_words("abc")
    exact = json.dumps(recorded.answer).encode()

    class Answering(LocalTarget):
        answer = EndpointAnswer(status=200, body=exact, configuration="a")

        def invoke(self, endpoint, request, *, timeout_s):
            return self.answer if request.body == b"abc" else replace(self.answer, status=422)

    def faults(**changes):
        target = Answering(stocked.store)
        target.answer = replace(target.answer, **changes)
        return replay(target, "e", [recorded], settings=ReplaySettings(tolerance=0.01), configuration="a").faults

    scores = recorded.answer["predictions"][0]["scores"]
    near = {"predictions": [{"scores": {name: value + 0.005 for name, value in scores.items()}}]}
    far = {"predictions": [{"scores": {name: value + 0.05 for name, value in scores.items()}}]}
    assert faults() == ()
    assert faults(body=json.dumps(near).encode()) == ()
    assert "predictions[0].scores.long is " in faults(body=json.dumps(far).encode())[0]
    assert "answered by b, not by a" in faults(configuration="b")[0]
    assert "the answer is not JSON" in faults(body=b"<html>")[0]
    assert "the answer is 503" in faults(status=503)[0]
    assert "predictions is []; recorded: [" in faults(body=b'{"predictions": []}')[0]
    assert "scores.long is null; recorded" in faults(body=exact.replace(str(scores["long"]).encode(), b"null"))[0]


def test_a_model_that_was_constant_when_it_was_registered_fails_its_test_unless_that_is_allowed(
    stocked, recorded_words
):
    requests = [replace(each, answer={"predictions": [0.5]}) for each in recorded_words("abc", "abcd", "abcde")]

    class Constant(LocalTarget):
        def invoke(self, endpoint, request, *, timeout_s):
            return EndpointAnswer(status=200, body=b'{"predictions": [0.5]}', configuration="a")

    def faults(requests, **options):
        target = Constant(stocked.store)
        return replay(target, "e", requests, settings=ReplaySettings(), configuration="a", **options).faults

    (fault,) = faults(requests)
    assert fault.startswith("the model gives one answer to 3 different requests, as it did when it was registered: {")
    assert faults(requests, refuses_constant_answers=False) == ()
    assert faults(requests[:2]) == ()  # two may be alike by chance
    assert faults([requests[0]] * 3) == ()  # one request


def test_an_endpoint_that_does_not_exist_is_named(stocked):
    from mlops_core.deployments.target import EndpointRequest

    with pytest.raises(RunnerError, match="the endpoint 'nowhere' does not answer at port 0"):
        stocked.target.invoke("nowhere", EndpointRequest(body=b"x", content_type="text/plain"), timeout_s=5)
    assert stocked.target.status("nowhere").phase is EndpointPhase.ABSENT
