"""`Deployer`: the commands about the deployments of one workspace to one engine."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.deployments.driver.admission import Admission
from mlops_core.deployments.driver.following import DeploymentFollower
from mlops_core.deployments.driver.requests import DeploymentOutcome
from mlops_core.deployments.driver.rollback import Rollback
from mlops_core.deployments.driver.waits import ROLLBACK_S, Waits
from mlops_core.deployments.driver.wording import deploy_command, in_service_note, shown_status
from mlops_core.deployments.ledger import DeploymentLedger, EndpointBusyError
from mlops_core.deployments.plan import DeploymentPlan, Stage, check_names
from mlops_core.deployments.recorded import recorded_requests
from mlops_core.deployments.replay import replay
from mlops_core.deployments.states import DeploymentState, EndpointPhase
from mlops_core.errors import DeploymentError, RunnerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.deployments.driver.requests import DeploymentRequest
    from mlops_core.deployments.ledger import Deployment
    from mlops_core.deployments.recorded import RecordedRequest
    from mlops_core.deployments.replay import ReplayReport
    from mlops_core.deployments.states import EndpointStatus
    from mlops_core.deployments.target import DeploymentTarget
    from mlops_core.workspace.store import Store


class Deployer:
    """Deploys to one engine, from one workspace."""

    def __init__(self, store: Store, target: DeploymentTarget, *, note: Callable[[str], None]) -> None:
        """Deploy to a target.

        Args:
            store: the workspace with the ledger.
            target: the engine.
            note: receives what happens, one line at a time.
        """
        self._store = store
        self._target = target
        self.ledger = DeploymentLedger(store)
        self._admission = Admission(store, target, self.ledger)
        self._follower = DeploymentFollower(target, self.ledger, note=note)
        self._rollback = Rollback(target, self.ledger, admission=self._admission, follower=self._follower, note=note)

    def plan(self, request: DeploymentRequest) -> DeploymentPlan:
        """Return what a request deploys; nothing is checked yet.

        Raises:
            UsageError: the version does not exist.
        """
        model = self._admission.model(request)
        return DeploymentPlan(stage=request.stage, model=model, settings=request.settings)

    def deploy(self, request: DeploymentRequest) -> DeploymentOutcome:
        """Deploy a version, or resume its deployment; do nothing where it is in service.

        Raises:
            UsageError: the version does not exist or may not go to this stage, the settings do not fit, another
                deployment is under way, or the cost is too high.
            DeploymentError: the deployment was rolled back, or its test in staging failed.
            RunnerError: the engine failed.
        """
        plan = self.plan(request)
        check_names(plan)
        with self.ledger.lock(plan.endpoint, runner=self._target.name):
            outcome = self._deploy(plan, request)
        return self._tested(outcome) if plan.stage is Stage.STAGING and request.is_tested else outcome

    def test(self, use_case: str, stage: Stage, *, endpoint: str = "") -> DeploymentOutcome:
        """Replay the recorded requests against the endpoint of a stage, and write the result down.

        Args:
            use_case: name of the use case.
            stage: that is tested.
            endpoint: name of the endpoint; empty for the only one of the stage.

        Raises:
            UsageError: nothing is in service, or the stage has several endpoints.
            DeploymentError: the test failed.
            RunnerError: the endpoint cannot be reached.
        """
        newest = self._known(use_case, stage, endpoint)
        known = self.ledger.at_endpoint(use_case, newest.plan.endpoint, runner=self._target.name)
        current = next((each for each in known if each.state is DeploymentState.IN_SERVICE), newest)
        status = self._target.status(current.plan.endpoint)
        if current.state is not DeploymentState.IN_SERVICE or not status.serves(current.plan.name):
            raise UsageError(
                f"{current} is {current.state}, and the endpoint '{status.endpoint}' is {shown_status(status)}; deploy "
                f"it with: {deploy_command(current.plan)}"
            )
        report = self._replayed(current, recorded_requests(self._store, current.plan.model))
        return DeploymentOutcome(deployment=current, status=status, test=report)

    def status(self, deployment: Deployment) -> EndpointStatus | None:
        """Return what the engine says about a deployment's endpoint; None for a deployment on another engine."""
        return self._target.status(deployment.plan.endpoint) if deployment.runner == self._target.name else None

    def roll_back(self, use_case: str, stage: Stage, *, why: str, endpoint: str = "") -> DeploymentOutcome:
        """End the deployment under way, or bring the configuration before the present one back.

        A deployment that another process prepares is ended as soon as it has begun.

        Args:
            use_case: name of the use case.
            stage: that is rolled back.
            why: the reason, for later readers.
            endpoint: name of the endpoint; empty for the only one of the stage.

        Raises:
            UsageError: there is nothing to return to, the earlier version was rejected, the endpoint was deleted, or
                the stage has several.
            DeploymentError: the earlier configuration was rolled back itself.
            RunnerError: the engine failed.
        """
        newest = self._known(use_case, stage, endpoint)
        try:
            with self.ledger.lock(newest.plan.endpoint, runner=self._target.name):
                return self._rollback.roll_back(self._rollback.newest_beside(newest), why=why)
        except EndpointBusyError as error:
            busy = error
        return self._rollback.end_elsewhere(newest, why=why, busy=busy)

    def delete(self, use_case: str, stage: Stage, *, why: str, endpoint: str = "") -> DeploymentOutcome:
        """Delete the endpoint of a stage.

        Args:
            use_case: name of the use case.
            stage: whose endpoint is deleted.
            why: the reason, for later readers.
            endpoint: name of the endpoint; empty for the only one of the stage.

        Raises:
            UsageError: there is none, or there are several.
            RunnerError: the engine did not delete it in time.
        """
        newest = self._known(use_case, stage, endpoint)
        endpoint = newest.plan.endpoint
        with self.ledger.lock(endpoint, runner=self._target.name):
            known = self.ledger.at_endpoint(use_case, endpoint, runner=self._target.name)
            lasting = [each for each in known if not each.state.is_final]
            status = self._target.status(endpoint)
            if not lasting and status.phase is EndpointPhase.ABSENT:
                raise UsageError(f"the endpoint '{endpoint}' was deleted already; nothing to delete")
            waits, deadline = Waits(), time.monotonic() + ROLLBACK_S
            while (status := self._target.delete(endpoint)).phase is not EndpointPhase.ABSENT:
                if time.monotonic() > deadline:
                    raise RunnerError(
                        f"the endpoint '{endpoint}' is still {shown_status(status)}; run the command again"
                    )
                waits.wait()
            moved = [self.ledger.move(each, DeploymentState.DELETED, why=why) for each in lasting]
        return DeploymentOutcome(deployment=moved[0] if moved else newest, status=status)

    # --- The deployment -----------------------------------------------------------------------------------

    def _deploy(self, plan: DeploymentPlan, request: DeploymentRequest) -> DeploymentOutcome:
        self._admission.check_approval(plan)
        known = self.ledger.at_endpoint(plan.model.use_case, plan.endpoint, runner=self._target.name)
        deployment = self._follower.resumed(known, plan)
        status = self._target.status(plan.endpoint)
        if status.serves(plan.name):
            deployment = deployment or self._follower.adopted(plan, request, known)
            if deployment.state is not DeploymentState.IN_SERVICE:
                deployment = self.ledger.move(deployment, DeploymentState.IN_SERVICE, why=in_service_note(status))
            return DeploymentOutcome(
                deployment=deployment, status=status, was_there=True, cost=self._target.monthly_cost(plan)
            )
        is_begun = status.pending == plan.name
        if not is_begun:
            self._admission.refuse_faults(plan)
        cost = self._admission.checked_cost(plan, request.max_cost)
        self._admission.check_approval(plan)  # again: somebody may have rejected it while the checks were made
        if deployment is None:
            deployment = self.ledger.plan(
                plan, runner=self._target.name, why=request.why, replaces=status.configuration
            )
        if not is_begun:
            self._follower.begin(deployment)
        deployment, status = self._follower.follow(deployment)
        return DeploymentOutcome(deployment=deployment, status=status, cost=cost)

    # --- The endpoint ---------------------------------------------------------------------------------------

    def _known(self, use_case: str, stage: Stage, endpoint: str) -> Deployment:
        """Return the newest deployment to the endpoint that is meant.

        Raises:
            UsageError: nothing was deployed, or no endpoint is named and more than one may be meant.
        """
        ours = [each for each in self.ledger.deployments(use_case) if each.plan.stage is stage]
        known = [each for each in ours if each.runner == self._target.name]
        chosen = [each for each in known if endpoint in ("", each.plan.endpoint)]
        lasting = [each for each in known if not each.state.is_final]
        if not chosen:
            others = {each.runner for each in ours} - {self._target.name}
            hint = f"; there is one with --runner {' or '.join(sorted(others))}" if others else ""
            where = f" at the endpoint '{endpoint}'" if endpoint else ""
            raise UsageError(
                f"nothing of '{use_case}' was deployed to {stage}{where} with the runner '{self._target.name}'{hint}; "
                "see: mlops deployments list"
            )
        names = sorted({each.plan.endpoint for each in (chosen[0], *lasting)})
        if not endpoint and len(names) > 1:
            raise UsageError(f"'{use_case}' has {len(names)} endpoints in {stage}; add --endpoint {' or '.join(names)}")
        return chosen[0]

    # --- The test -----------------------------------------------------------------------------------------

    def _tested(self, outcome: DeploymentOutcome) -> DeploymentOutcome:
        requests = recorded_requests(self._store, outcome.deployment.plan.model)
        if not requests:
            return replace(outcome, untested="the version has no recorded requests")
        return replace(outcome, test=self._replayed(outcome.deployment, requests))

    def _replayed(self, deployment: Deployment, requests: tuple[RecordedRequest, ...]) -> ReplayReport:
        plan = deployment.plan
        report = replay(
            self._target,
            plan.endpoint,
            requests,
            settings=plan.settings.replay,
            configuration=plan.name,
            refuses_constant_answers=plan.settings.alarms.refuses_constant_answers,
        )
        self.ledger.record_test(deployment, report.to_json(), has_passed=report.has_passed, why=report.summary)
        if not report.has_passed:
            raise DeploymentError(f"{deployment}: {report.summary}", problems=report.faults[1:])
        return report
