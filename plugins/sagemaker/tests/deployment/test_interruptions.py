"""A deployment whose process is killed at any moment: the endpoint is old or new, and the same command resumes it."""

import json
import random
import time

import pytest

from mlops_core.deployments import EndpointRequest

ROUNDS = 1
MANY = 50


def arguments(world, arn):
    """Return the arguments of a deployment with a canary that takes about two seconds."""
    return (
        *("deploy", "-u", "TOY", "--to", "production", "--runner", "sagemaker", "--model", arn, "--json"),
        *("--set-sagemaker", f"account.model_package_group={world.group}"),
        *("--set", f"production.endpoint={world.endpoint}"),
        *("--set", "production.traffic.interval_s=1", "--set", "production.traffic.bake_s=1"),
        *("--set", "production.traffic.percent=50", "--set", "production.traffic.shift=canary"),
    )


def deployed(world, arn):
    """Deploy by the command and return what it printed."""
    process = world.start(*arguments(world, arn))
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads(out)


def interrupt(world, arn, *, after_s, names):
    """Kill a deployment after some seconds; the endpoint answers all the same, as the old or as the new one."""
    process = world.start(*arguments(world, arn))
    try:
        time.sleep(after_s)
    finally:
        process.kill()
        process.communicate()
    for _ in range(4):
        answer = world.target.invoke(world.endpoint, EndpointRequest(body=b"1", content_type="text/csv"), timeout_s=60)
        assert (answer.status, answer.configuration in names) == (200, True)


def check_rounds(world, count):
    versions = [world.approved(has_requests=False) for _ in range(2)]
    world.deploy(versions[0], shift="canary", interval_s=1, bake_s=1)
    old = world.served()
    begun = time.monotonic()
    new = deployed(world, versions[1])["plan"]["name"]
    duration_s = time.monotonic() - begun
    assert world.served() == new
    chance = random.Random(7)
    for number in range(count):
        target, old, new = versions[number % 2], new, old
        interrupt(world, target, after_s=chance.uniform(0, duration_s), names=(old, new))
        world.until(
            lambda: world.hosting.describe(world.endpoint),
            lambda it: it["EndpointStatus"] == "InService",
            what="the service carries on alone",
        )
        assert world.served() in (old, new)
        if number:  # as the command does, without starting another process
            state = world.deploy(target, shift="canary", interval_s=1, bake_s=1).deployment.state
        else:
            state = deployed(world, target)["state"]
        assert (state, world.served()) == ("in service", new)
        assert world.target.status(world.endpoint).serves(new)


def test_a_killed_deployment_leaves_old_or_new_and_is_resumed(world):
    check_rounds(world, ROUNDS)


@pytest.mark.slow_suite
@pytest.mark.timeout(3600)
def test_deployments_killed_at_many_moments_leave_old_or_new_and_are_resumed(world):
    check_rounds(world, MANY)
