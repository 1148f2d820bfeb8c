"""What is deployed, where and how: `DeploymentPlan`, whose name follows from its content.

Two plans with the same model version and settings have the same name, so a repeated deployment finds that there is
nothing to do, and an engine can keep one configuration for each and re-use it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.deployments.settings import DeploymentSettings
from mlops_core.errors import UsageError
from mlops_core.workspace.model_versions import ApprovalStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME_LIMIT = 63
"""The longest name of an endpoint; an engine may allow less."""
_DIGITS = 12
_NAME = re.compile(r"[a-z0-9](-?[a-z0-9])*\Z")
_OTHER = re.compile(r"[^a-z0-9]+")


class Stage(StrEnum):
    """Where a model version answers."""

    STAGING = "staging"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """A model version that can be deployed.

    Attributes:
        use_case: name of the use case.
        version: its number.
        artifact: digest of the model's folder.
        approval: as it was read; it is read again before production changes.
        location: address of the version at the engine; empty for one of the workspace only.
    """

    use_case: str
    version: int
    artifact: str
    approval: ApprovalStatus = ApprovalStatus.PENDING
    location: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Return use case and version."""
        return f"model {self.use_case} version {self.version}"

    def to_json(self) -> dict[str, Any]:
        """Return the reference as JSON types only."""
        return {
            "use_case": self.use_case,
            "version": self.version,
            "artifact": self.artifact,
            "approval": str(self.approval),
            "location": self.location,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelReference:
        """Return what `to_json` wrote."""
        return cls(**{**data, "approval": ApprovalStatus(data["approval"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPlan:
    """A model version, a stage and settings.

    Attributes:
        stage: where it is deployed.
        model: the version.
        settings: how.
    """

    stage: Stage
    model: ModelReference
    settings: DeploymentSettings

    @property
    def endpoint(self) -> str:
        """Name of the endpoint: that of the settings, or use case and stage."""
        return self.settings.endpoint or endpoint_name(self.model.use_case, self.stage)

    @property
    def digest(self) -> str:
        """SHA-256 over model version, stage and settings."""
        content = {
            "use_case": self.model.use_case,
            "version": self.model.version,
            "artifact": self.model.artifact,
            "stage": str(self.stage),
            "settings": self.settings.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Name of this configuration of the endpoint: the endpoint's, and the beginning of the digest.

        Example:
            >>> from mlops_core.deployments.settings import DeploymentSettings
            >>> model = ModelReference(use_case="WORDS", version=3, artifact="ab" * 32)
            >>> DeploymentPlan(stage=Stage.STAGING, model=model, settings=DeploymentSettings()).name[:14]
            'words-staging-'
        """
        return f"{self.endpoint}-{self.digest[:_DIGITS]}"

    def __str__(self) -> str:
        """Return what is deployed where."""
        return f"{self.model} to {self.stage}"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON types only."""
        return {
            "name": self.name,
            "endpoint": self.endpoint,
            "stage": str(self.stage),
            "model": self.model.to_json(),
            "settings": self.settings.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DeploymentPlan:
        """Return what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is damaged.
        """
        return cls(
            stage=Stage(data["stage"]),
            model=ModelReference.from_json(data["model"]),
            settings=DeploymentSettings.model_validate(data["settings"]),
        )


def endpoint_name(use_case: str, stage: Stage) -> str:
    """Return the name of the endpoint of a use case: lower-case letters, digits and single ``-`` between them.

    Example:
        >>> endpoint_name("TrafficSigns_v2", Stage.PRODUCTION)
        'trafficsigns-v2-production'
    """
    return f"{_OTHER.sub('-', use_case.lower()).strip('-')}-{stage}"


def check_names(plan: DeploymentPlan, *, limit: int = NAME_LIMIT) -> None:
    """Refuse names that an engine would not take.

    Args:
        plan: that is checked.
        limit: the most characters of the names of the endpoint and of its configuration.

    Raises:
        UsageError: names the one that does not fit.
    """
    if not _NAME.match(plan.endpoint):
        raise UsageError(
            f"endpoint {plan.endpoint!r} is not a valid name; expected lower-case letters, digits and single '-' "
            "between them: change 'endpoint' in deployments.yaml"
        )
    if len(plan.name) > limit:
        longest = limit - _DIGITS - 1
        raise UsageError(
            f"endpoint '{plan.endpoint}' has {len(plan.endpoint)} characters; expected at most {longest}, because the "
            f"names of its configurations add {_DIGITS + 1}: set a shorter 'endpoint' in deployments.yaml"
        )
