"""Deploying: what is checked, asked of the engine and written down, in which order; the same for every engine.

A deployment is planned in the ledger, begun at the engine, and followed until the engine has decided. It has succeeded
if the endpoint is in service *and* answers with our configuration: one that was rolled back is in service, too. Each
step can be repeated, so `deploy` resumes where a process was killed.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_core.config_files.workspace_settings import read_workspace_settings
from mlops_core.deployments.ledger import PASSED, Deployment, DeploymentLedger, EndpointBusyError
from mlops_core.deployments.plan import DeploymentPlan, ModelReference, Stage, check_names
from mlops_core.deployments.recorded import recorded_requests
from mlops_core.deployments.replay import ReplayReport, replay
from mlops_core.deployments.states import DeploymentState, EndpointPhase, EndpointStatus
from mlops_core.errors import DeploymentError, MlopsError, RunnerError, UsageError
from mlops_core.use_cases.discovery import find_use_case
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.deployments.settings import DeploymentSettings
    from mlops_core.deployments.target import DeploymentTarget, MonthlyCost
    from mlops_core.workspace.store import Store

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 1.0
_BEGIN_S = 300.0
"""How long a rollback waits until the process that is changing the endpoint has begun, so that it can be ended."""
_ROLLBACK_S = 1800.0
"""How long an engine may take to bring the old configuration back."""
_STATES = {
    EndpointPhase.STARTING: DeploymentState.STARTING,
    EndpointPhase.SHIFTING: DeploymentState.SHIFTING,
    EndpointPhase.BAKING: DeploymentState.BAKING,
    EndpointPhase.ROLLING_BACK: DeploymentState.ROLLING_BACK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRequest:
    """What is to be deployed.

    Attributes:
        use_case: name of the use case.
        version: number or alias of the version, or its address at the engine; None for the newest that may go there.
        stage: where.
        settings: how.
        why: the reason, for later readers.
        max_cost: in US dollars a month; a deployment whose estimate is higher is refused.
        is_tested: replay the recorded requests against staging.
    """

    use_case: str
    version: str | None = None
    stage: Stage
    settings: DeploymentSettings
    why: str
    max_cost: float | None = None
    is_tested: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentOutcome:
    """What a command did.

    Attributes:
        deployment: as the ledger has it.
        status: of the endpoint.
        was_there: the endpoint was in service with this configuration before.
        cost: what it costs.
        test: the deployment test; None if there was none.
        untested: why there was no test; empty if there was one, or none was due.
    """

    deployment: Deployment
    status: EndpointStatus
    was_there: bool = False
    cost: MonthlyCost | None = None
    test: ReplayReport | None = None
    untested: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON types only."""
        cost = self.cost
        return {
            **self.deployment.to_json(),
            "status": self.status.to_json(),
            "was_there": self.was_there,
            "monthly_cost": None if cost is None else {"usd": cost.usd, "max_usd": cost.max_usd, "basis": cost.basis},
            "test": self.test.to_json() if self.test else None,
            "untested": self.untested,
        }


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
        self._note = note
        self.ledger = DeploymentLedger(store)

    # --- Commands -----------------------------------------------------------------------------------------

    def deploy(self, request: DeploymentRequest) -> DeploymentOutcome:
        """Deploy a version, or resume its deployment; do nothing where it is in service.

        Raises:
            UsageError: the version does not exist or may not go to this stage, the settings do not fit, another
                deployment is under way, or the cost is too high.
            DeploymentError: the deployment was rolled back, or its test in staging failed.
            RunnerError: the engine failed.
        """
        plan = self._plan(request)
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
                f"{current} is {current.state}, and the endpoint '{status.endpoint}' is {_shown(status)}; deploy it "
                f"with: {_command(current.plan)}"
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
                return self._rolled_back(self._newest_beside(newest), why=why)
        except EndpointBusyError as error:
            busy = error
        return self._ended_elsewhere(newest, why=why, busy=busy)

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
            waits, deadline = _Waits(), time.monotonic() + _ROLLBACK_S
            while (status := self._target.delete(endpoint)).phase is not EndpointPhase.ABSENT:
                if time.monotonic() > deadline:
                    raise RunnerError(f"the endpoint '{endpoint}' is still {_shown(status)}; run the command again")
                waits.wait()
            moved = [self.ledger.move(each, DeploymentState.DELETED, why=why) for each in lasting]
        return DeploymentOutcome(deployment=moved[0] if moved else newest, status=status)

    # --- Before -------------------------------------------------------------------------------------------

    def _plan(self, request: DeploymentRequest) -> DeploymentPlan:
        model = self._model(request)
        return DeploymentPlan(stage=request.stage, model=model, settings=request.settings)

    def _model(self, request: DeploymentRequest) -> ModelReference:
        """Return the version that is wanted: as the engine's registry has it, else as the workspace does."""
        found = self._target.find_model(request.use_case, request.version)
        if found is not None:
            return found
        registry = Registry(self._store)
        if not registry.versions(request.use_case):
            find_use_case(request.use_case)  # a name that is not installed is the likelier mistake
        if request.version is None and request.stage is Stage.PRODUCTION:
            versions = registry.versions(request.use_case)
            approved = [each for each in versions if each.status is ApprovalStatus.APPROVED]
            if versions and not approved:
                raise UsageError(
                    f"no version of model '{request.use_case}' is approved; approve one with: mlops models approve -u "
                    f"{request.use_case} {versions[0].version} --why ..."
                )
            version = approved[0] if approved else registry.version(request.use_case)
        else:
            version = registry.servable_version(request.use_case, request.version)
        return ModelReference(
            use_case=version.use_case, version=version.version, artifact=version.artifact, approval=version.status
        )

    def _check_approval(self, plan: DeploymentPlan) -> None:
        """Read the approval again, in the workspace and at the engine; refuse what may not go to the stage.

        Raises:
            UsageError: the version is rejected, was deleted or, for production, is not approved or not tested.
        """
        model = plan.model
        readings = {"": self._workspace_approval(model)}
        remote = self._target.find_model(model.use_case, model.location or str(model.version))
        if remote is not None:
            readings[f" at {self._target.name}"] = remote.approval
        known = {where: approval for where, approval in readings.items() if approval is not None}
        if not known:
            raise UsageError(f"{model} was deleted; deploy another version")
        for where, approval in known.items():
            if approval is ApprovalStatus.REJECTED:
                raise UsageError(f"{model} was rejected{where}; deploy another version, or approve it first")
            if plan.stage is Stage.PRODUCTION and approval is not ApprovalStatus.APPROVED:
                raise UsageError(
                    f"{model} is {approval}{where}; production takes approved versions only: mlops models approve -u "
                    f"{model.use_case} {model.version} --why ..."
                )
        requires_test = read_workspace_settings(self._store.home).require_staging_test
        if plan.stage is Stage.PRODUCTION and requires_test:
            self._check_staging_test(model)

    def _check_staging_test(self, model: ModelReference) -> None:
        result = self.ledger.staging_test(model.use_case, model.version)
        if result != PASSED:
            what = "failed its test in staging" if result else "was not tested in staging"
            raise UsageError(
                f"{model} {what} (require_staging_test in workspace.yaml); deploy and test it with: mlops deploy -u "
                f"{model.use_case} --to staging --model {model.version}"
            )

    def _workspace_approval(self, model: ModelReference) -> ApprovalStatus | None:
        """Return the approval of a version in the workspace; None where it is not registered there."""
        try:
            version = Registry(self._store).version(model.use_case, model.version)
        except UsageError:
            return None
        return version.status if version.artifact == model.artifact else None

    def _refuse_faults(self, plan: DeploymentPlan) -> None:
        faults = self._target.faults(plan)
        if len(faults) == 1:
            raise UsageError(f"{plan}: {faults[0]}")
        if faults:
            raise UsageError(f"{plan} has {len(faults)} faults", problems=faults)

    def _checked_cost(self, plan: DeploymentPlan, limit: float | None) -> MonthlyCost:
        """Return what a plan costs.

        Raises:
            UsageError: it is more than a limit, or is not known where there is one.
        """
        cost = self._target.monthly_cost(plan)
        limits = [each for each in (limit, plan.settings.max_monthly_cost) if each is not None]
        if not limits:
            return cost
        if cost.usd is None:
            raise UsageError(f"{plan}: its cost is not known ({cost.basis}); leave the limit out, or give prices")
        highest = max(cost.usd, cost.max_usd or 0.0)
        if highest > min(limits):
            raise UsageError(
                f"{plan} would cost up to {highest:.2f} USD a month ({cost.basis}), more than the limit of "
                f"{min(limits):.2f} USD; use fewer or smaller machines, or raise the limit"
            )
        return cost

    # --- The deployment -----------------------------------------------------------------------------------

    def _deploy(self, plan: DeploymentPlan, request: DeploymentRequest) -> DeploymentOutcome:
        self._check_approval(plan)
        known = self.ledger.at_endpoint(plan.model.use_case, plan.endpoint, runner=self._target.name)
        deployment = self._resumed(known, plan)
        status = self._target.status(plan.endpoint)
        if status.serves(plan.name):
            deployment = deployment or self._adopted(plan, request, known)
            if deployment.state is not DeploymentState.IN_SERVICE:
                deployment = self.ledger.move(deployment, DeploymentState.IN_SERVICE, why=_in_service(status))
            return DeploymentOutcome(
                deployment=deployment, status=status, was_there=True, cost=self._target.monthly_cost(plan)
            )
        is_begun = status.pending == plan.name
        if not is_begun:
            self._refuse_faults(plan)
        cost = self._checked_cost(plan, request.max_cost)
        self._check_approval(plan)  # again: somebody may have rejected it while the checks were made
        if deployment is None:
            deployment = self.ledger.plan(
                plan, runner=self._target.name, why=request.why, replaces=status.configuration
            )
        if not is_begun:
            self._begin(deployment)
        deployment, status = self._followed(deployment)
        return DeploymentOutcome(deployment=deployment, status=status, cost=cost)

    def _begin(self, deployment: Deployment, *, at_once: bool = False) -> None:
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

    def _resumed(self, known: tuple[Deployment, ...], plan: DeploymentPlan) -> Deployment | None:
        """Return the deployment of this plan that is under way or in service; None to begin one.

        A deployment of another plan that was interrupted is ended first, if the engine has ended it.
        """
        for each in known:
            if each.state.is_under_way and each.plan.name != plan.name:
                status = self._target.status(each.plan.endpoint)
                if not status.is_settled:
                    raise UsageError(
                        f"{each} is {each.state}: resume it with {_command(each.plan)}, or end it with: mlops "
                        f"deployments rollback -u {each.plan.model.use_case} --to {each.plan.stage} --why ..."
                    )
                self._settle(each, status)
        lasting = (each for each in known if each.plan.name == plan.name and not each.state.is_final)
        return next(lasting, None)

    def _adopted(self, plan: DeploymentPlan, request: DeploymentRequest, known: tuple[Deployment, ...]) -> Deployment:
        """Write down a plan that is in service without the ledger's knowledge, such as from another workspace."""
        replaced = next((each.plan.name for each in known if each.state is DeploymentState.IN_SERVICE), "")
        return self.ledger.plan(plan, runner=self._target.name, why=request.why, replaces=replaced)

    def _followed(self, deployment: Deployment) -> tuple[Deployment, EndpointStatus]:
        """Follow a deployment that was begun until the engine has decided; write down each state.

        Raises:
            DeploymentError: it was rolled back.
            RunnerError: it failed.
        """
        plan, waits = deployment.plan, _Waits()
        deadline, is_late = time.monotonic() + plan.settings.timeout_s, False
        while True:
            status = self._target.advance(plan)
            deployment = self._noted(deployment, status)
            if status.is_settled:
                deployment = self._settle(deployment, status)
                break
            if time.monotonic() > deadline:
                if is_late:
                    raise RunnerError(f"{deployment} is still {_shown(status)}; resume it with: {_command(plan)}")
                reason = f"it took longer than timeout_s ({plan.settings.timeout_s:g} s)"
                self._target.cancel(plan, reason=reason)
                deadline, is_late = time.monotonic() + _ROLLBACK_S, True
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
            return self.ledger.move(deployment, state, why=status.reason or str(status.phase))
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
            return self.ledger.move(deployment, DeploymentState.IN_SERVICE, why=_in_service(status))
        why = status.reason or f"the endpoint is {_shown(status)}"
        is_back = status.phase is EndpointPhase.IN_SERVICE and deployment.state is not DeploymentState.IN_SERVICE
        return self.ledger.move(deployment, DeploymentState.ROLLED_BACK if is_back else DeploymentState.FAILED, why=why)

    # --- Back ---------------------------------------------------------------------------------------------

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

    def _newest_beside(self, deployment: Deployment) -> Deployment:
        """Return the newest deployment to the same endpoint, as it is now."""
        plan = deployment.plan
        return self.ledger.at_endpoint(plan.model.use_case, plan.endpoint, runner=self._target.name)[0]

    def _ended_elsewhere(self, known: Deployment, *, why: str, busy: EndpointBusyError) -> DeploymentOutcome:
        """End what another process does to an endpoint, as soon as it has begun.

        Raises:
            UsageError: the process ended otherwise, or did not begin in time.
        """
        waits, deadline = _Waits(), time.monotonic() + _BEGIN_S
        is_noted = False
        while True:
            newest = self._newest_beside(known)
            if newest.state.is_under_way and newest.state is not DeploymentState.PLANNED:
                return self._interrupted(newest, why=why)
            try:
                with self.ledger.lock(newest.plan.endpoint, runner=self._target.name):
                    newest = self._newest_beside(known)
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

    def _rolled_back(self, newest: Deployment, *, why: str) -> DeploymentOutcome:
        if newest.state.is_under_way:
            return self._cancelled(newest, why=why)
        use_case, stage = newest.plan.model.use_case, newest.plan.stage
        known = self.ledger.at_endpoint(use_case, newest.plan.endpoint, runner=self._target.name)
        current = next((each for each in known if each.state is DeploymentState.IN_SERVICE), None)
        if current is None:
            known = self._since_deletion(known)
        earlier = self._earlier(known, current, use_case=use_case, stage=stage)
        self._check_approval(earlier.plan)
        self._refuse_faults(earlier.plan)
        replaced = current.plan.name if current else ""
        deployment = self.ledger.plan(earlier.plan, runner=self._target.name, why=why, replaces=replaced)
        self._begin(deployment, at_once=True)
        deployment, status = self._followed(deployment)
        return DeploymentOutcome(deployment=deployment, status=status)

    def _interrupted(self, deployment: Deployment, *, why: str) -> DeploymentOutcome:
        """End a deployment that another process follows, which writes down how it ended."""
        self._target.cancel(deployment.plan, reason=why)
        waits, deadline = _Waits(), time.monotonic() + _ROLLBACK_S
        while deployment.state.is_under_way:
            if time.monotonic() > deadline:
                raise RunnerError(f"{deployment} is still {deployment.state}; see: mlops deployments show")
            waits.wait()
            deployment = self.ledger.deployment(deployment.plan.model.use_case, deployment.number)
        if deployment.state is DeploymentState.IN_SERVICE:
            raise UsageError(f"{deployment} was in service before it could be ended; run the command again to go back")
        return DeploymentOutcome(deployment=deployment, status=self._target.status(deployment.plan.endpoint))

    def _cancelled(self, deployment: Deployment, *, why: str) -> DeploymentOutcome:
        status = self._target.status(deployment.plan.endpoint)
        if not status.is_settled:
            self._target.cancel(deployment.plan, reason=why)
        try:
            ended, status = self._followed(deployment)
        except DeploymentError:  # this is what was asked for
            status = self._target.status(deployment.plan.endpoint)
            ended = self.ledger.deployment(deployment.plan.model.use_case, deployment.number)
        return DeploymentOutcome(deployment=ended, status=status)

    def _since_deletion(self, known: tuple[Deployment, ...]) -> tuple[Deployment, ...]:
        """Return the deployments to an endpoint since it was last deleted.

        Raises:
            UsageError: none of them was in service.
        """
        since = tuple(itertools.takewhile(lambda each: each.state is not DeploymentState.DELETED, known))
        if len(since) < len(known) and not any(each.state is DeploymentState.REPLACED for each in since):
            deleted = known[len(since)].plan
            raise UsageError(f"the endpoint '{deleted.endpoint}' was deleted; deploy it with: {_command(deleted)}")
        return since

    def _earlier(
        self, known: tuple[Deployment, ...], current: Deployment | None, *, use_case: str, stage: Stage
    ) -> Deployment:
        name = current.plan.name if current else ""
        for each in known:
            if each.state is DeploymentState.REPLACED and each.plan.name != name:
                return each
        raise UsageError(
            f"the endpoint of '{use_case}' in {stage} had no other deployment before; nothing to roll back to"
        )

    # --- The test -----------------------------------------------------------------------------------------

    def _tested(self, outcome: DeploymentOutcome) -> DeploymentOutcome:
        requests = recorded_requests(self._store, outcome.deployment.plan.model)
        if not requests:
            return replace(outcome, untested="the version has no recorded requests")
        return replace(outcome, test=self._replayed(outcome.deployment, requests))

    def _replayed(self, deployment: Deployment, requests: tuple[Any, ...]) -> ReplayReport:
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


class _Waits:
    """Waits that become longer."""

    def __init__(self) -> None:
        self._next_s = _FIRST_WAIT_S

    def wait(self) -> None:
        time.sleep(self._next_s)
        self._next_s = min(_LONGEST_WAIT_S, 1.3 * self._next_s)


def _order(state: DeploymentState) -> int:
    return list(DeploymentState).index(state)


def _in_service(status: EndpointStatus) -> str:
    where = f" at {status.address}" if status.address else ""
    return f"the endpoint answers with it{where}{f'; {status.note}' if status.note else ''}"


def _shown(status: EndpointStatus) -> str:
    configuration = f" with {status.configuration}" if status.configuration else ""
    return f"{status.phase}{configuration}{f' ({status.reason})' if status.reason else ''}"


def _command(plan: DeploymentPlan) -> str:
    return f"mlops deploy -u {plan.model.use_case} --to {plan.stage} --model {plan.model.version}"
