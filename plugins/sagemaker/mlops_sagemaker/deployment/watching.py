"""Watches a model that has a part of the traffic for what the service cannot see: one answer to different requests.

The recorded requests of the version are sent to the endpoint. Our serving image says in its answer which configuration
it serves, so those of the old model are not counted.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from mlops_core.deployments import EndpointRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlops_core.deployments import DeploymentPlan, EndpointAnswer, RecordedRequest

    Invoke = Callable[[EndpointRequest], EndpointAnswer]

_OK = 200
_FEWEST = 2
_BUDGET_S = 5.0
"""Longest time in which requests are sent in one go."""


class AnswerWatch:
    """The answers of one configuration to the recorded requests of its version."""

    def __init__(self, plan: DeploymentPlan, requests: Sequence[RecordedRequest]) -> None:
        """Watch a plan.

        Args:
            plan: the plan.
            requests: those of the version.
        """
        self._plan = plan
        self._requests = requests
        self._answers: dict[str, str] = {}
        self._count = 0

    @property
    def can_judge(self) -> bool:
        """Whether the settings ask for it, and the recorded answers differ."""
        expected = {_comparable(json.dumps(request.answer).encode()) for request in self._requests}
        return self._plan.settings.alarms.refuses_constant_answers and len(expected) >= _FEWEST

    def ask(self, invoke: Invoke) -> str:
        """Send the requests once; return why the deployment must end, empty if it need not."""
        end = time.monotonic() + _BUDGET_S
        for request in self._requests:
            if time.monotonic() > end:
                break
            answer = invoke(EndpointRequest(body=request.body, content_type=request.content_type))
            if answer.status == _OK and answer.configuration == self._plan.name:
                self._answers[request.sample] = _comparable(answer.body)
                self._count += 1
        return self._fault()

    def _fault(self) -> str:
        """Return what is wrong with the answers so far; nothing until there are enough of them."""
        has_enough = self._count >= self._plan.settings.alarms.min_requests and len(self._answers) >= _FEWEST
        if not has_enough or len(set(self._answers.values())) > 1:
            return ""
        return f"the new model gives one answer to {len(self._answers)} different requests"


def _comparable(body: bytes) -> str:
    """Return an answer without what differs from request to request."""
    try:
        document = json.loads(body)
    except ValueError:
        return body.decode(errors="backslashreplace")
    predictions = document.get("predictions", document) if isinstance(document, dict) else document
    return json.dumps(predictions, sort_keys=True)
