"""The states of a deployment and the changes between them, and what an engine says about an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class DeploymentState(StrEnum):
    """Where a deployment is; each change is an entry of the ledger."""

    PLANNED = "planned"
    """Checked and written down; nothing was asked of the engine."""
    STARTING = "starting"
    """The engine starts the new model beside the old one, which has all traffic."""
    SHIFTING = "shifting"
    """The new model has a part of the traffic."""
    BAKING = "baking"
    """The new model has all traffic; the old one is kept until it has proved itself."""
    IN_SERVICE = "in service"
    """The endpoint answers with this configuration and no other."""
    ROLLING_BACK = "rolling back"
    """An alarm, a failed start or a person ended it; traffic returns to the old model."""
    ROLLED_BACK = "rolled back"
    """The endpoint answers as before."""
    FAILED = "failed"
    """There was no old model to return to, or the engine could not return to it."""
    REPLACED = "replaced"
    """Another deployment to the same endpoint is in service."""
    DELETED = "deleted"
    """The endpoint was deleted."""

    @property
    def is_final(self) -> bool:
        """Whether the deployment is over; only a deployment in service can still be replaced or deleted."""
        return self in _FINAL

    @property
    def is_under_way(self) -> bool:
        """Whether a deployment in this state is to be resumed."""
        return self not in _FINAL and self is not DeploymentState.IN_SERVICE


_S = DeploymentState
_FINAL = frozenset({_S.ROLLED_BACK, _S.FAILED, _S.REPLACED, _S.DELETED})
_ENDS = frozenset({_S.IN_SERVICE, _S.ROLLING_BACK, _S.ROLLED_BACK, _S.FAILED, _S.DELETED})
TRANSITIONS: Mapping[DeploymentState, frozenset[DeploymentState]] = {
    _S.PLANNED: frozenset({_S.STARTING, _S.SHIFTING, _S.BAKING}) | _ENDS,
    _S.STARTING: frozenset({_S.SHIFTING, _S.BAKING}) | _ENDS,
    _S.SHIFTING: frozenset({_S.BAKING}) | _ENDS,
    _S.BAKING: _ENDS,
    _S.ROLLING_BACK: frozenset({_S.ROLLED_BACK, _S.FAILED, _S.DELETED}),
    _S.IN_SERVICE: frozenset({_S.REPLACED, _S.DELETED, _S.FAILED}),
    _S.ROLLED_BACK: frozenset(),
    _S.FAILED: frozenset(),
    _S.REPLACED: frozenset(),
    _S.DELETED: frozenset(),
}
"""State -> the states that may follow. A driver may miss states between, never go back."""


class EndpointPhase(StrEnum):
    """What an endpoint is doing, as the engine says."""

    ABSENT = "absent"
    STARTING = "starting"
    SHIFTING = "shifting"
    BAKING = "baking"
    ROLLING_BACK = "rolling back"
    IN_SERVICE = "in service"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus:
    """What an engine says about an endpoint.

    Attributes:
        endpoint: name of the endpoint.
        phase: what it is doing.
        configuration: name of the plan that answers, or that answered before the change under way; empty for none.
        pending: name of the plan that is being deployed; empty for none.
        pending_percent: share of the traffic that the pending plan has.
        reason: why the last change failed or was rolled back; empty if it was not.
        address: where requests are sent, for people.
        note: what a person should know, such as that alarms had too few requests to judge; empty for nothing.
    """

    endpoint: str
    phase: EndpointPhase
    configuration: str = ""
    pending: str = ""
    pending_percent: int = 0
    reason: str = ""
    address: str = ""
    note: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way. An endpoint that was rolled back is in service with the old configuration."""
        return self.phase in _SETTLED

    def serves(self, name: str) -> bool:
        """Return whether the endpoint answers with the plan of this name and no other: the success of a deployment."""
        return self.phase is EndpointPhase.IN_SERVICE and self.configuration == name and not self.pending

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON types only."""
        return {
            "endpoint": self.endpoint,
            "phase": str(self.phase),
            "configuration": self.configuration,
            "pending": self.pending,
            "pending_percent": self.pending_percent,
            "reason": self.reason,
            "address": self.address,
            "note": self.note,
        }


_SETTLED = frozenset({EndpointPhase.ABSENT, EndpointPhase.IN_SERVICE, EndpointPhase.FAILED})
