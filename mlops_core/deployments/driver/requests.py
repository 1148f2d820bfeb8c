"""What a command of the driver is asked to deploy, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_core.deployments.ledger import Deployment
    from mlops_core.deployments.plan import Stage
    from mlops_core.deployments.replay import ReplayReport
    from mlops_core.deployments.settings import DeploymentSettings
    from mlops_core.deployments.states import EndpointStatus
    from mlops_core.deployments.target import MonthlyCost


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
