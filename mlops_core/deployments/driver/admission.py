"""What may be deployed where: the version, its approval and its test, the engine's limits, and the cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.config_files.workspace_settings import read_workspace_settings
from mlops_core.deployments.ledger import PASSED
from mlops_core.deployments.plan import ModelReference, Stage
from mlops_core.errors import UsageError
from mlops_core.use_cases.discovery import find_use_case
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from mlops_core.deployments.driver.requests import DeploymentRequest
    from mlops_core.deployments.ledger import DeploymentLedger
    from mlops_core.deployments.plan import DeploymentPlan
    from mlops_core.deployments.target import DeploymentTarget, MonthlyCost
    from mlops_core.workspace.store import Store


class Admission:
    """Checks what is to be deployed to one engine, from one workspace."""

    def __init__(self, store: Store, target: DeploymentTarget, ledger: DeploymentLedger) -> None:
        """Check against the registry and the ledger of a workspace, and against what an engine says."""
        self._store = store
        self._target = target
        self._ledger = ledger

    def model(self, request: DeploymentRequest) -> ModelReference:
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

    def check_approval(self, plan: DeploymentPlan) -> None:
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

    def refuse_faults(self, plan: DeploymentPlan) -> None:
        """Refuse a plan that the engine cannot carry out.

        Raises:
            UsageError: its faults are named.
        """
        faults = self._target.faults(plan)
        if len(faults) == 1:
            raise UsageError(f"{plan}: {faults[0]}")
        if faults:
            raise UsageError(f"{plan} has {len(faults)} faults", problems=faults)

    def checked_cost(self, plan: DeploymentPlan, limit: float | None) -> MonthlyCost:
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

    def _check_staging_test(self, model: ModelReference) -> None:
        result = self._ledger.staging_test(model.use_case, model.version)
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
