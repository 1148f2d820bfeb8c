"""Going back: a deployment under way is ended, or the configuration before the present one is deployed again."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from mlops_core.deployments.driver.requests import DeploymentOutcome
from mlops_core.deployments.driver.waits import ROLLBACK_S, Waits
from mlops_core.deployments.driver.wording import deploy_command
from mlops_core.deployments.ledger import EndpointBusyError
from mlops_core.deployments.states import DeploymentState
from mlops_core.errors import DeploymentError, RunnerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.deployments.driver.admission import Admission
    from mlops_core.deployments.driver.following import DeploymentFollower
    from mlops_core.deployments.ledger import Deployment, DeploymentLedger
    from mlops_core.deployments.plan import Stage
    from mlops_core.deployments.target import DeploymentTarget

_BEGIN_S = 300.0
"""How long a rollback waits until the process that is changing the endpoint has begun, so that it can be ended."""


class Rollback:
    """Brings endpoints of one engine back to what they were."""

    def __init__(
        self,
        target: DeploymentTarget,
        ledger: DeploymentLedger,
        *,
        admission: Admission,
        follower: DeploymentFollower,
        note: Callable[[str], None],
    ) -> None:
        """Roll back at an engine.

        Args:
            target: the engine.
            ledger: of the deployments.
            admission: checks what is deployed again.
            follower: carries it out.
            note: receives what happens, one line at a time.
        """
        self._target = target
        self._ledger = ledger
        self._admission = admission
        self._follower = follower
        self._note = note

    def newest_beside(self, deployment: Deployment) -> Deployment:
        """Return the newest deployment to the same endpoint, as it is now."""
        plan = deployment.plan
        return self._ledger.at_endpoint(plan.model.use_case, plan.endpoint, runner=self._target.name)[0]

    def roll_back(self, newest: Deployment, *, why: str) -> DeploymentOutcome:
        """End the newest deployment to an endpoint, or bring the configuration before the present one back.

        The caller holds the lock of the endpoint.

        Raises:
            UsageError: there is nothing to return to, the earlier version was rejected, or the endpoint was deleted.
            DeploymentError: the earlier configuration was rolled back itself.
            RunnerError: the engine failed.
        """
        if newest.state.is_under_way:
            return self._cancelled(newest, why=why)
        use_case, stage = newest.plan.model.use_case, newest.plan.stage
        known = self._ledger.at_endpoint(use_case, newest.plan.endpoint, runner=self._target.name)
        current = next((each for each in known if each.state is DeploymentState.IN_SERVICE), None)
        if current is None:
            known = _since_deletion(known)
        earlier = _earlier(known, current, use_case=use_case, stage=stage)
        self._admission.check_approval(earlier.plan)
        self._admission.refuse_faults(earlier.plan)
        replaced = current.plan.name if current else ""
        deployment = self._ledger.plan(earlier.plan, runner=self._target.name, why=why, replaces=replaced)
        self._follower.begin(deployment, at_once=True)
        deployment, status = self._follower.follow(deployment)
        return DeploymentOutcome(deployment=deployment, status=status)

    def end_elsewhere(self, known: Deployment, *, why: str, busy: EndpointBusyError) -> DeploymentOutcome:
        """End what another process does to an endpoint, as soon as it has begun.

        Raises:
            UsageError: the process ended otherwise, or did not begin in time.
        """
        waits, deadline = Waits(), time.monotonic() + _BEGIN_S
        is_noted = False
        while True:
            newest = self.newest_beside(known)
            if newest.state.is_under_way and newest.state is not DeploymentState.PLANNED:
                return self._interrupted(newest, why=why)
            try:
                with self._ledger.lock(newest.plan.endpoint, runner=self._target.name):
                    newest = self.newest_beside(known)
                    if newest.state.is_under_way:  # its process was killed
                        return self._cancelled(newest, why=why)
            except EndpointBusyError:
                if time.monotonic() > deadline:
                    raise busy from None
                if not is_noted:
                    self._note(f"{busy}; what it begins will be rolled back")
                    is_noted = True
                waits.wait()
                continue
            has_ended = newest.state in (DeploymentState.ROLLED_BACK, DeploymentState.FAILED)
            if has_ended and (newest.number, newest.state) != (known.number, known.state):
                return DeploymentOutcome(deployment=newest, status=self._target.status(newest.plan.endpoint))
            raise UsageError(
                f"the process that was changing the endpoint has ended, {newest} is {newest.state}; run "
                "the command again to go back"
            )

    def _interrupted(self, deployment: Deployment, *, why: str) -> DeploymentOutcome:
        """End a deployment that another process follows, which writes down how it ended."""
        self._target.cancel(deployment.plan, reason=why)
        waits, deadline = Waits(), time.monotonic() + ROLLBACK_S
        while deployment.state.is_under_way:
            if time.monotonic() > deadline:
                raise RunnerError(f"{deployment} is still {deployment.state}; see: mlops deployments show")
            waits.wait()
            deployment = self._ledger.deployment(deployment.plan.model.use_case, deployment.number)
        if deployment.state is DeploymentState.IN_SERVICE:
            raise UsageError(f"{deployment} was in service before it could be ended; run the command again to go back")
        return DeploymentOutcome(deployment=deployment, status=self._target.status(deployment.plan.endpoint))

    def _cancelled(self, deployment: Deployment, *, why: str) -> DeploymentOutcome:
        status = self._target.status(deployment.plan.endpoint)
        if not status.is_settled:
            self._target.cancel(deployment.plan, reason=why)
        try:
            ended, status = self._follower.follow(deployment)
        except DeploymentError:  # this is what was asked for
            status = self._target.status(deployment.plan.endpoint)
            ended = self._ledger.deployment(deployment.plan.model.use_case, deployment.number)
        return DeploymentOutcome(deployment=ended, status=status)


def _since_deletion(known: tuple[Deployment, ...]) -> tuple[Deployment, ...]:
    """Return the deployments to an endpoint since it was last deleted.

    Raises:
        UsageError: none of them was in service.
    """
    since = tuple(itertools.takewhile(lambda each: each.state is not DeploymentState.DELETED, known))
    if len(since) < len(known) and not any(each.state is DeploymentState.REPLACED for each in since):
        deleted = known[len(since)].plan
        raise UsageError(f"the endpoint '{deleted.endpoint}' was deleted; deploy it with: {deploy_command(deleted)}")
    return since


def _earlier(known: tuple[Deployment, ...], current: Deployment | None, *, use_case: str, stage: Stage) -> Deployment:
    name = current.plan.name if current else ""
    for each in known:
        if each.state is DeploymentState.REPLACED and each.plan.name != name:
            return each
    raise UsageError(f"the endpoint of '{use_case}' in {stage} had no other deployment before; nothing to roll back to")
