"""What a deployment checks, writes down and refuses; rolling back, deleting, and what served when."""

import contextlib
import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from mlops_core.deployments.driver import Deployer
from mlops_core.deployments.local.target import LocalTarget
from mlops_core.deployments.plan import DeploymentPlan, ModelReference, Stage
from mlops_core.deployments.settings import DeploymentSettings
from mlops_core.deployments.states import DeploymentState, EndpointPhase
from mlops_core.errors import DeploymentError, MlopsError, RunnerError, UsageError
from mlops_core.workspace.maintenance.chain import verify_chain
from mlops_core.workspace.model_versions import ApprovalStatus


def test_a_version_goes_through_staging_approval_and_production_and_back(world, recorded_words, run):
    """The walk-through, as commands; every answer as JSON."""
    for limit in (6, 7):
        world.register(limit=limit, recorded=recorded_words("abc", "abcdefghij", limit=limit))
    (world.home / "workspace.yaml").write_text("require_staging_test: true\n")
    quick = ["--set", "staging.traffic.bake_s=0", "--set", "production.traffic.shift=all-at-once"]
    quick += ["--set", "production.traffic.bake_s=0", "--json"]

    def command(*arguments, code=0):
        done = run(world, *arguments)
        assert done.exit_code == code, done.problem
        return json.loads(done.output) if "--json" in arguments else done

    def deploy(stage, version):
        return command("deploy", "-u", "words", "--to", stage, "--model", version, *quick)

    refused = json.loads(world.mlops("deploy", "-u", "words", "--to", "production", "--json").stdout)["error"]
    assert refused["code"] == 2
    assert refused["message"].startswith("no version of model 'words' is approved; approve one with: mlops models")
    untested = run(world, "models", "approve", "-u", "WORDS", "1", "--why", "good").problem
    assert "version 1 was not tested in staging (require_staging_test in workspace.yaml)" in untested
    staged = deploy("staging", 1)
    assert (staged["state"], staged["test"]["has_passed"], staged["test"]["requests"]) == ("in service", True, 2)
    assert staged["monthly_cost"] == {"usd": 0.0, "max_usd": None, "basis": "this machine"}
    command("models", "approve", "-u", "WORDS", "1", "--why", "good")
    first = deploy("production", 1)
    moment = dt.datetime.now(dt.UTC)
    time.sleep(0.01)
    assert deploy("production", 1) == first | {"was_there": True, "status": first["status"]}  # nothing to do
    deploy("staging", 2)
    command("models", "approve", "-u", "WORDS", "2", "--why", "better")
    second = deploy("production", 2)
    assert second["replaces"] == first["configuration"]
    back = command("deployments", "rollback", "-u", "WORDS", "--to", "production", "--why", "it was not", "--json")
    assert (back["version"], back["state"], back["configuration"]) == (1, "in service", first["configuration"])
    past = command("deployments", "show", "-u", "WORDS", "--at", moment.isoformat(), "--json")["served"]
    assert {(each["stage"], each["version"]) for each in past} == {("production", 1), ("staging", 1)}
    now = {(each["stage"], each["version"]) for each in command("deployments", "list", "--json")}
    assert now == {("production", 1), ("staging", 2)}
    shown = command("deployments", "show", "-u", "WORDS", "--json")
    assert shown["status"]["configuration"] == first["configuration"]
    assert [entry["value"] for entry in shown["ledger"]][-1] == "in service"
    command("deployments", "test", "-u", "WORDS", "--to", "production", "--json")
    command("deployments", "delete", "-u", "WORDS", "--to", "production", "--why", "over", "--json")
    with pytest.raises(OSError, match="refused"):
        world.answer()
    assert {each["stage"] for each in command("deployments", "list", "--json")} == {"staging"}
    assert not verify_chain(world.store).fault


def test_a_model_that_answers_otherwise_than_recorded_fails_its_staging_test(world, recorded_words):
    requests = recorded_words("abc", "abcdefghij", "abcd")
    stage = {"stage": Stage.STAGING, "is_tested": True}
    assert world.deploy(world.register(recorded=requests), **stage).test.largest_difference == 0
    for behaviour, faults in {
        "constant": "the endpoint gives one answer to 3 different requests",
        "failing": "sample abc: the answer is 500",
    }.items():
        version = world.register(behaviour, recorded=requests)
        with pytest.raises(DeploymentError, match=faults):
            world.deploy(version, **stage)
        assert world.ledger.staging_test("WORDS", version.version) == "failed"
    assert world.ledger.staging_test("WORDS", 1) == "passed"
    with pytest.raises(DeploymentError, match=r"p99 is \d+ ms; expected at most 100 ms"):
        world.deploy(world.register("slow", recorded=requests), replay={"max_p99_ms": 100}, **stage)
    outcome = world.deploy(world.register(limit=3), **stage)
    assert (outcome.test, outcome.untested) == (None, "the version has no recorded requests")
    with pytest.raises(DeploymentError, match="has no recorded requests, so nothing was tested"):
        world.deployer.test("WORDS", Stage.STAGING)


# --- Interruptions ----------------------------------------------------------------------------------------


def killed_deployment(world, version, delay_s):
    """Run ``mlops deploy`` and kill it after some time; return whether it had ended by itself."""
    arguments = ["deploy", "-u", "WORDS", "--to", "production", "--model", version.version, "--json"]
    for setting in ("shift=canary", "interval_s=0.3", "bake_s=0.2"):
        arguments += ["--set", f"production.traffic.{setting}"]
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(world.home)]
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    with process:
        process.communicate()
    return process.returncode == 0, arguments


@pytest.mark.parametrize(
    "rounds", [pytest.param(2, id="few"), pytest.param(50, id="many", marks=pytest.mark.slow_suite)]
)
@pytest.mark.timeout(3600)
def test_a_deployment_that_is_killed_at_any_moment_is_old_or_new_and_resumes(world, rounds):
    versions = [world.register(limit=limit, approved=True) for limit in (6, 7)]
    first = world.deploy(versions[0], shift="canary", interval_s=0.3, bake_s=0.2)
    names = {first.deployment.plan.name}
    for number in range(rounds):
        version = versions[(number + 1) % 2]
        # Spread over the deployment: the start of the command takes a while, as does that of the server.
        has_ended, arguments = killed_deployment(world, version, delay_s=0.3 + 5.7 * (number * 0.381966 % 1))
        if number % 3 == 1 and world.process():
            world.kill()  # the endpoint's process with its servers, too
        if not has_ended:
            assert world.ledger.deployments()[0].state in DeploymentState  # readable, whatever happened
        done = world.mlops(*arguments)
        assert done.returncode == 0, done.stderr
        resumed = json.loads(done.stdout)
        names.add(resumed["configuration"])
        assert len(names) <= 2
        assert (resumed["version"], resumed["state"]) == (version.version, "in service")
        assert world.status().serves(resumed["configuration"])
        assert world.answer()[2] == resumed["configuration"]
        in_service = [each for each in world.ledger.deployments() if each.state is DeploymentState.IN_SERVICE]
        assert [each.plan.name for each in in_service] == [resumed["configuration"]]
        assert not [each for each in world.ledger.deployments() if each.state.is_under_way]
    assert not verify_chain(world.store).fault


def test_an_endpoint_whose_process_is_killed_in_a_canary_serves_the_old_model_and_begins_again(world):
    old = world.deploy(world.register(approved=True)).deployment
    version = world.register(limit=7, approved=True)
    plan = DeploymentPlan(
        stage=Stage.PRODUCTION,
        model=ModelReference(use_case="WORDS", version=2, artifact=version.artifact, approval=ApprovalStatus.APPROVED),
        settings=DeploymentSettings.model_validate(
            {"traffic": {"shift": "canary", "percent": 50, "interval_s": 600, "bake_s": 0}}
        ),
    )
    port = world.status().address
    world.target.begin(plan)
    world.wait_for(lambda: world.status().phase is EndpointPhase.SHIFTING)
    world.kill()
    assert world.target.folder(plan.endpoint).read_state().current.name == old.plan.name
    world.wait_for(lambda: world.target.advance(plan).phase is EndpointPhase.SHIFTING)
    assert {world.answer()[2] for _ in range(6)} == {old.plan.name, plan.name}
    assert world.status().address == port
    world.target.cancel(plan, reason="enough")
    world.wait_for(lambda: world.target.advance(plan).serves(old.plan.name))
    assert world.status().reason == "enough"


# --- Refusals ---------------------------------------------------------------------------------------------


def test_two_deployments_at_once_are_refused(world):
    version = world.register(approved=True)
    with world.ledger.lock("words-production", runner="local"):
        other = world.again()
        with pytest.raises(UsageError, match=rf"process {os.getpid()} is changing the endpoint 'words-production'"):
            other.deploy(version)
        other.store.close()
    plan = DeploymentPlan(
        stage=Stage.PRODUCTION,
        model=ModelReference(use_case="WORDS", version=1, artifact=version.artifact),
        settings=DeploymentSettings(),
    )
    world.ledger.plan(plan, runner="local", why="one")
    with pytest.raises(UsageError, match="deployment 1: .* is planned; it must end before another one begins"):
        world.ledger.plan(replace(plan, settings=DeploymentSettings(instances=2)), runner="local", why="two")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--to production --model 7", "no version or alias '7' of model 'WORDS'"),
        ("--to production --model 2", "production takes approved versions only: mlops models approve -u WORDS 2"),
        ("--to staging --model 3", "version 3 was rejected; deploy another"),
        ("--to staging --model 4", "its files are gone; make them again with: mlops run --resume"),
        ("--to testing", "'testing' is not one of 'staging', 'production'"),
        ("--to production --set production.endpoint=" + "a" * 60, "has 60 characters; expected at most 50"),
        ("--to production --set production.endpoint=A_b", "is not a valid name; expected lower-case"),
        ("--to production --set production.alarms.names=[mine]", "has no alarm 'mine'"),
        ("--to production --set production.encryption_key=mine", "encryption_key: the runner 'local' encrypts nothing"),
        ("--to production --set production.traffic.percent=80", "production.traffic.percent"),
        ("--to production --set produktion.instances=2", "did you mean 'production'"),
        ("--to production --set production.timeout_s=10", "must exceed the waits"),
        ("--to production --set gate.condition=x", "is not a section of deployments.yaml"),
        ("--to production --runner nowhere", "no runner 'nowhere'"),
        ("--to staging --usecase NOPE", "no use case 'NOPE'; installed: "),
        ("--to staging --usecase MUTE", "does not implement the required hook mlops_load_predictor"),
    ],
)
def test_what_cannot_be_deployed_is_refused_in_one_line_before_anything_starts(stocked, run, arguments, message):
    outcome = run(stocked, "deploy", "-u", "WORDS", *arguments.split())
    assert message in outcome.problem
    assert outcome.exit_code == 2 or "MUTE" in arguments
    assert stocked.ledger.deployments() == ()
    assert not list((stocked.home / "deployments").glob("local/*"))


def test_a_port_that_is_in_use_is_refused_before_anything_is_written_down(stocked, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = run(stocked, "deploy", "-u", "WORDS", "--to", "production", "--port", port)
    assert f"port {port} of 127.0.0.1 cannot be used: Address already in use; choose another one" in outcome.problem
    assert outcome.exit_code == 2
    assert stocked.ledger.deployments() == ()


def test_a_deployment_that_the_engine_does_not_begin_has_failed_and_is_not_begun_later(world):
    version = world.register(approved=True)
    with contextlib.ExitStack() as others:

        class Overtaken(LocalTarget):
            def faults(self, plan):
                faults = super().faults(plan)
                others.enter_context(socket.create_server(("127.0.0.1", port)))  # by somebody else, after the check
                return faults

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        world.deployer = Deployer(world.store, Overtaken(world.store, port=port), note=print)
        with pytest.raises(RunnerError, match="the endpoint's process did not start: .*in use"):
            world.deploy(version)
    (failed,) = world.ledger.deployments()
    assert failed.state is DeploymentState.FAILED
    assert "in use" in failed.why
    assert world.status().phase is EndpointPhase.ABSENT
    assert world.status().pending == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rollback --to production --why x", "nothing of 'WORDS' was deployed to production with the runner 'local'"),
        ("test --to staging", "nothing of 'WORDS' was deployed to staging"),
        ("delete --to staging --why x", "nothing of 'WORDS' was deployed to staging"),
        ("show", "nothing of 'WORDS' was deployed; deploy it with: mlops deploy -u WORDS --to staging"),
        ("show 3", "no deployment 3 of 'WORDS'"),
        ("show --at yesterday", "expected a time in ISO 8601"),
    ],
)
def test_commands_about_what_was_never_deployed_say_what_to_do(stocked, run, arguments, message):
    name, *others = arguments.split()
    outcome = run(stocked, "deployments", name, "-u", "WORDS", *others)
    assert message in outcome.problem
    assert outcome.exit_code == 2


def test_rolling_back_without_an_earlier_deployment_or_to_a_rejected_one_is_refused(world):
    first = world.register(approved=True)
    world.deploy(first)
    with pytest.raises(UsageError, match="had no other deployment before; nothing to roll back to"):
        world.deployer.roll_back("WORDS", Stage.PRODUCTION, why="?")
    world.deploy(world.register(limit=7, approved=True))
    approved = world.registry.version("WORDS", first.version)
    world.registry.set_status(approved, ApprovalStatus.REJECTED, why="it leaks")
    with pytest.raises(UsageError, match="version 1 was rejected; deploy another version"):
        world.deployer.roll_back("WORDS", Stage.PRODUCTION, why="?")


def test_rejecting_a_deployed_version_names_where_it_goes_on_answering(world, run):
    world.deploy(world.register(approved=True))
    outcome = run(world, "models", "reject", "1", "-u", "WORDS", "--why", "it leaks")
    assert outcome.exit_code == 0
    assert "is in service and goes on answering" in outcome.problem
    assert "mlops deployments rollback -u WORDS --to production --endpoint words-production" in outcome.problem
    assert [each.number for each in world.ledger.of_version("WORDS", 1)] == [1]
    assert world.ledger.of_version("WORDS", 2) == ()


# --- Rolling back what another process prepares, and endpoints of other names ------------------------------


class Slow(LocalTarget):
    """The endpoints of this machine, with checks that last until they may end."""

    has_begun, may_end, fault = None, None, ""

    def faults(self, plan):
        self.has_begun.set()
        assert self.may_end.wait(60)
        return (self.fault,) if self.fault else super().faults(plan)


@contextlib.contextmanager
def preparing(world, version, *, fault=""):
    """Begin a deployment in a thread, which waits in its checks; give what ends them and what it raised."""
    has_begun, may_end, raised = threading.Event(), threading.Event(), []

    def deploy():
        other = world.again()
        target = Slow(other.store)
        target.has_begun, target.may_end, target.fault = has_begun, may_end, fault
        other.deployer = Deployer(other.store, target, note=print)
        try:
            other.deploy(version, bake_s=600)
        except MlopsError as error:
            raised.append(error)
        finally:
            other.store.close()

    thread = threading.Thread(target=deploy)
    thread.start()
    try:
        assert has_begun.wait(60)
        yield may_end, raised
    finally:
        may_end.set()
        thread.join(60)


def rolled_back_meanwhile(world, may_end):
    """Roll back while another process has the endpoint, which goes on once the rollback waits."""

    def note(text):
        world.notes.append(text)
        may_end.set()

    return Deployer(world.store, world.target, note=note).roll_back("WORDS", Stage.PRODUCTION, why="stop")


def test_a_deployment_that_is_still_being_prepared_is_ended_as_soon_as_it_has_begun(world):
    old = world.deploy(world.register(approved=True)).deployment
    with preparing(world, world.register(limit=7, approved=True)) as (may_end, raised):
        outcome = rolled_back_meanwhile(world, may_end)
    assert f"process {os.getpid()} is changing the endpoint 'words-production'; wait" in "".join(world.notes)
    assert (outcome.deployment.number, outcome.deployment.state) == (2, "rolled back")
    (error,) = raised
    assert isinstance(error, DeploymentError)  # exit code 3
    assert "was rolled back: stop" in str(error)
    assert world.status().serves(old.plan.name)


def test_a_rollback_leaves_what_is_in_service_where_the_deployment_under_way_does_not_begin(world):
    old = world.deploy(world.register(approved=True)).deployment
    with (
        preparing(world, world.register(limit=7, approved=True), fault="no room") as (may_end, raised),
        pytest.raises(UsageError, match="has ended, deployment 1: .* is in service; run the command again to go back"),
    ):
        rolled_back_meanwhile(world, may_end)
    assert "no room" in str(raised)
    assert world.ledger.deployments() == (old,)


def test_a_deleted_endpoint_is_not_started_again_by_a_rollback(world):
    for version in (1, 2):
        model = ModelReference(use_case="WORDS", version=version, artifact="ab" * 32)
        plan = DeploymentPlan(stage=Stage.PRODUCTION, model=model, settings=DeploymentSettings())
        planned = world.ledger.plan(plan, runner="local", why="a test")
        served = world.ledger.move(planned, DeploymentState.IN_SERVICE, why="it is")
    world.ledger.move(served, DeploymentState.DELETED, why="over")
    with pytest.raises(UsageError, match="'words-production' was deleted; deploy it with: mlops deploy -u WORDS .* 2$"):
        world.deployer.roll_back("WORDS", Stage.PRODUCTION, why="back")
    assert [each.state for each in world.ledger.deployments()] == ["deleted", "replaced"]


def test_one_of_several_endpoints_of_a_stage_is_named(world, run):
    ledger = world.ledger
    model = ModelReference(use_case="WORDS", version=1, artifact="ab" * 32)
    plans = [
        DeploymentPlan(stage=Stage.PRODUCTION, model=model, settings=DeploymentSettings(endpoint=name))
        for name in ("", "other")
    ]
    first, second = (ledger.plan(plan, runner="local", why="a test") for plan in plans)
    for command in ("rollback", "delete"):
        arguments = ("deployments", command, "-u", "WORDS", "--to", "production", "--why", "over")
        refused = run(world, *arguments)
        assert "'WORDS' has 2 endpoints in production; add --endpoint other or words-production" in refused.problem
        assert "at the endpoint 'more'" in run(world, *arguments, "--endpoint", "more").problem
    ledger.move(first, DeploymentState.IN_SERVICE, why="it is")
    ledger.move(second, DeploymentState.FAILED, why="it did not start")
    assert "has 2 endpoints" in run(world, *arguments).problem  # the failed one is the newest


def test_lists_say_what_to_do_and_a_number_finds_its_use_case(world, run):
    def command(*arguments):
        outcome = run(world, "deployments", *arguments)
        return outcome.problem or outcome.output

    assert command("list") == "nothing was deployed yet; deploy a version with: mlops deploy -u NAME --to staging\n"
    assert "nothing of 'WORDS' was deployed yet; deploy a version with: mlops deploy -u WORDS" in command(
        "list", "-u", "words"
    )
    assert command("show", "1").startswith("no deployment 1 of any use case; see: mlops deployments list --all")
    settings = DeploymentSettings()
    for name, count in (("WORDS", 2), ("OTHER", 1)):
        model = ModelReference(use_case=name, version=1, artifact="ab" * 32)
        plan = DeploymentPlan(stage=Stage.STAGING, model=model, settings=settings)
        for _ in range(count):
            planned = world.ledger.plan(plan, runner="elsewhere", why="a test")
            world.ledger.move(planned, DeploymentState.FAILED, why="it was a test")
    assert command("list") == "nothing is in service or under way\n3 more are over; show them with --all\n"
    assert "deployment 2: model WORDS version 1 to staging is failed" in command("show", "2")
    assert "numbers count per use case, and OTHER and WORDS each have a deployment 1; add -u NAME" in command(
        "show", "1"
    )
    assert "deployment 1: model OTHER version 1 to staging is failed" in command("show", "1", "-u", "other")
