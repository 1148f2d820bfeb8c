"""One deployment at its engine: begun, adopted or resumed, and followed until the engine has decided."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.deployments.driver.waits import ROLLBACK_S, Waits
from mlops_core.deployments.driver.wording import deploy_command, in_service_note, shown_status
from mlops_core.deployments.states import DeploymentState, EndpointPhase, EndpointStatus
from mlops_core.errors import DeploymentError, MlopsError, RunnerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.deployments.driver.requests import DeploymentRequest
    from mlops_core.deployments.ledger import Deployment, DeploymentLedger
    from mlops_core.deployments.plan import DeploymentPlan
    from mlops_core.deployments.target import DeploymentTarget

_STATES = {
    EndpointPhase.STARTING: DeploymentState.STARTING,
    EndpointPhase.SHIFTING: DeploymentState.SHIFTING,
    EndpointPhase.BAKING: DeploymentState.BAKING,
    EndpointPhase.ROLLING_BACK: DeploymentState.ROLLING_BACK,
}


class DeploymentFollower:
    """Carries deployments out at one engine and writes each of their states into the ledger."""

    def __init__(self, target: DeploymentTarget, ledger: DeploymentLedger, *, note: Callable[[str], None]) -> None:
        """Carry out deployments at an engine.

        Args:
            target: the engine.
            ledger: where the states are written.
            note: receives what happens, one line at a time.
        """
        self._target = target
        self._ledger = ledger
        self._note = note

    def begin(self, deployment: Deployment, *, at_once: bool = False) -> None:
        """Begin a deployment at the engine; write down that it is over where the engine did not begin it.

        Raises:
            RunnerError: the engine refuses or cannot be reached. What it may have begun is resumed by the next call.
        """
        plan = deployment.plan
        try:
            self._target.begin(plan, at_once=at_once)
        except MlopsError as error:
            with contextlib.suppress(MlopsError):  # the first error is the one that matters
                status = self._target.status(plan.endpoint)
                if status.is_settled and not status.pending and not status.serves(plan.name):
                    self._settle(deployment, replace(status, reason=str(error)))
            raise

    def resumed(self, known: tuple[Deployment, ...], plan: DeploymentPlan) -> Deployment | None:
        """Return the deployment of this plan that is under way or in service; None to begin one.

        A deployment of another plan that was interrupted is ended first, if the engine has ended it.
        """
        for each in known:
            if each.state.is_under_way and each.plan.name != plan.name:
                status = self._target.status(each.plan.endpoint)
                if not status.is_settled:
                    raise UsageError(
                        f"{each} is {each.state}: resume it with {deploy_command(each.plan)}, or end it with: mlops "
                        f"deployments rollback -u {each.plan.model.use_case} --to {each.plan.stage} --why ..."
                    )
                self._settle(each, status)
        lasting = (each for each in known if each.plan.name == plan.name and not each.state.is_final)
        return next(lasting, None)

    def adopted(self, plan: DeploymentPlan, request: DeploymentRequest, known: tuple[Deployment, ...]) -> Deployment:
        """Write down a plan that is in service without the ledger's knowledge, such as from another workspace."""
        replaced = next((each.plan.name for each in known if each.state is DeploymentState.IN_SERVICE), "")
        return self._ledger.plan(plan, runner=self._target.name, why=request.why, replaces=replaced)

    def follow(self, deployment: Deployment) -> tuple[Deployment, EndpointStatus]:
        """Follow a deployment that was begun until the engine has decided; write down each state.

        Raises:
            DeploymentError: it was rolled back.
            RunnerError: it failed.
        """
        plan, waits = deployment.plan, Waits()
        deadline, is_late = time.monotonic() + plan.settings.timeout_s, False
        while True:
            status = self._target.advance(plan)
            deployment = self._noted(deployment, status)
            if status.is_settled:
                deployment = self._settle(deployment, status)
                break
            if time.monotonic() > deadline:
                if is_late:
                    raise RunnerError(
                        f"{deployment} is still {shown_status(status)}; resume it with: {deploy_command(plan)}"
                    )
                reason = f"it took longer than timeout_s ({plan.settings.timeout_s:g} s)"
                self._target.cancel(plan, reason=reason)
                deadline, is_late = time.monotonic() + ROLLBACK_S, True
            waits.wait()
        if deployment.state is DeploymentState.ROLLED_BACK:
            raise DeploymentError(f"{deployment} was rolled back: {deployment.why}; the endpoint answers as before")
        if deployment.state is DeploymentState.FAILED:
            raise RunnerError(f"{deployment} failed: {deployment.why}")
        return deployment, status

    def _noted(self, deployment: Deployment, status: EndpointStatus) -> Deployment:
        """Write down a state between; say how far it is."""
        state = _STATES.get(status.phase)
        if state is None or state is deployment.state or not deployment.state.is_under_way:
            return deployment
        share = f", {status.pending_percent} % of the traffic" if status.phase is EndpointPhase.SHIFTING else ""
        self._note(f"{deployment.plan.name}: {status.phase}{share}{f': {status.reason}' if status.reason else ''}")
        if deployment.state is DeploymentState.ROLLING_BACK:
            return deployment
        try:
            return self._ledger.move(deployment, state, why=status.reason or str(status.phase))
        except MlopsError:
            if _order(state) < _order(deployment.state):  # an engine began again, such as after its own restart
                return deployment
            raise

    def _settle(self, deployment: Deployment, status: EndpointStatus) -> Deployment:
        """Write down how a deployment ended, as far as the engine's state says."""
        name = deployment.plan.name
        if status.serves(name):
            if deployment.state is DeploymentState.IN_SERVICE:
                return deployment
            self._note(f"{name}: in service")
            return self._ledger.move(deployment, DeploymentState.IN_SERVICE, why=in_service_note(status))
        why = status.reason or f"the endpoint is {shown_status(status)}"
        is_back = status.phase is EndpointPhase.IN_SERVICE and deployment.state is not DeploymentState.IN_SERVICE
        return self._ledger.move(
            deployment, DeploymentState.ROLLED_BACK if is_back else DeploymentState.FAILED, why=why
        )


def _order(state: DeploymentState) -> int:
    return list(DeploymentState).index(state)
