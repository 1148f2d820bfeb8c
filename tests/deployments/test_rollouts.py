"""New models beside old ones: who gets the traffic, and what brings the old one back."""

import contextlib
import http.client
import os
import signal
import threading
from pathlib import Path

import pytest

from mlops_core.deployments.plan import Stage
from mlops_core.deployments.states import DeploymentState, EndpointPhase
from mlops_core.errors import DeploymentError, ExitCode, RunnerError

ALARMS = {"min_requests": 8, "max_p99_ms": 250}


def in_service(world):
    """Return the deployment that is in service."""
    (current,) = [each for each in world.ledger.deployments() if each.state is DeploymentState.IN_SERVICE]
    return current


def test_a_new_model_takes_over_without_a_failed_request(served):
    old = in_service(served)
    version = served.register(limit=7, approved=True)
    with served.callers() as callers:
        outcome = served.deploy(version, shift="linear", percent=50, interval_s=0.5, bake_s=0.5)
    new = outcome.deployment
    assert (new.state, new.replaces, outcome.was_there) == (DeploymentState.IN_SERVICE, old.plan.name, False)
    assert callers.failures == []
    assert {status for status, _, _ in callers.answers} == {200}
    assert {name for _, _, name in callers.answers} <= {old.plan.name, new.plan.name}
    assert served.answer()[2] == new.plan.name
    assert served.status().serves(new.plan.name)
    assert served.states(old.number) == ["planned", "starting", "in service", "replaced"]
    assert (served.states(new.number)[0], served.states(new.number)[-1]) == ("planned", "in service")
    assert in_service(served) == new


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("failing", r"alarm: \d+ of \d+ requests failed"),
        ("slow", r"alarm: p99 of \d+ answers is \d+ ms, more than 250 ms"),
        ("constant", r"alarm: one answer to \d+ different requests"),
        ("unloadable", "the model is damaged; make it again"),
    ],
)
def test_a_model_that_fails_is_slow_or_constant_is_rolled_back(served, behaviour, reason):
    old = in_service(served)
    version = served.register(behaviour, approved=True)
    with served.callers() as callers, pytest.raises(DeploymentError, match=reason) as error:
        served.deploy(version, shift="canary", percent=50, interval_s=600, alarms=ALARMS)
    assert error.value.exit_code is ExitCode.REJECTED
    assert served.status().serves(old.plan.name)
    assert served.answer()[2] == old.plan.name
    newest = served.ledger.deployments()[0]
    assert newest.state is DeploymentState.ROLLED_BACK
    assert newest.plan.model.version == version.version
    assert in_service(served) == old
    assert callers.failures == []


def test_a_first_deployment_that_fails_leaves_nothing_behind(world):
    with pytest.raises(RunnerError, match=r"deployment 1: .* failed: its server ended with exit code 5: .*damaged"):
        world.deploy(world.register("unloadable", approved=True))
    assert world.states(1)[-1] == "failed"
    world.wait_for(lambda: not world.process())
    assert world.status().phase is EndpointPhase.FAILED
    assert world.status().configuration == ""


def children(pid):
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_server_that_is_killed_is_started_again_at_the_same_port(served):
    before, pid = served.answer(), served.process()
    served.wait_for(lambda: len(children(pid)) == 1)  # that of a deployment before ends a little later
    servers = children(pid)
    os.kill(servers[0], signal.SIGKILL)

    def is_back():
        try:
            return served.answer() == before
        except OSError:
            return False

    served.wait_for(is_back)
    assert served.process() == pid
    assert children(pid) != servers


def test_a_canary_answers_exactly_its_share_and_is_cancelled_by_hand(served):
    old = in_service(served)
    version = served.register(limit=8, approved=True)
    errors = []

    def deploy():
        second = served.again()
        try:
            second.deploy(version, shift="canary", percent=20, interval_s=600)
        except DeploymentError as error:
            errors.append(error)
        finally:
            second.store.close()

    thread = threading.Thread(target=deploy)
    thread.start()
    served.wait_for(lambda: served.status().phase is EndpointPhase.SHIFTING)
    names = [served.answer()[2] for _ in range(20)]
    assert names.count(old.plan.name) == 16
    outcome = served.deployer.roll_back("WORDS", Stage.PRODUCTION, why="the canary sings out of tune")
    thread.join(60)
    assert "the canary sings out of tune" in str(errors)
    assert served.status().serves(old.plan.name)
    assert (outcome.deployment.state, outcome.status.configuration) == ("rolled back", old.plan.name)
    assert outcome.deployment.plan.model.version == version.version


def test_an_endpoint_answers_programs_of_this_machine_only_and_no_endless_body(served):
    port = served.target.folder("words-production").read_state().port

    def status(body, **headers):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/invocations", body=body, headers={"Content-Type": "text/plain", **headers})
            return connection.getresponse().status

    assert status(b"word") == 200
    assert status(b"word", Host="attacker.example") == 403
    assert status(b"word", Origin="http://attacker.example") == 403
    assert status(b"word" * (7 << 20)) == 413
