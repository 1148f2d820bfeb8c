"""One deployment: the new server starts beside the old one and takes the traffic in steps, while alarms are watched."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mlops_core.deployments.states import EndpointPhase
from mlops_core.serving.endpoint.alarms import AnswerWatch
from mlops_core.serving.endpoint.router import Backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.deployments.plan import DeploymentPlan
    from mlops_core.serving.endpoint.router import Router
    from mlops_core.serving.endpoint.servers import ModelServer

_POLL_S = 0.05


class Rollout:
    """Moves the traffic of a router to a new server.

    Attributes:
        plan: what is deployed.
        server: the new server.
        cancelled: why somebody ended the deployment; empty if nobody has.
        note: what could not be judged.
    """

    def __init__(
        self,
        plan: DeploymentPlan,
        server: ModelServer,
        router: Router,
        *,
        at_once: bool,
        report: Callable[[EndpointPhase, int], None],
    ) -> None:
        """Prepare a deployment.

        Args:
            plan: what is deployed.
            server: the new server, not started.
            router: with the old server, if there is one.
            at_once: move all traffic at once, and do not bake.
            report: receives phase and percentage of each step before its traffic moves.
        """
        self.plan = plan
        self.server = server
        self.cancelled = ""
        self.note = ""
        self._router = router
        self._at_once = at_once
        self._report = report

    async def run(self) -> str:
        """Carry the deployment out; return why it failed, empty if it did not. The traffic stays where it is then."""
        settings, traffic = self.plan.settings, self.plan.settings.traffic
        await self.server.start()
        starting = asyncio.create_task(self.server.wait_until_ready(settings.start_timeout_s))
        try:
            while not starting.done():
                if self.cancelled:
                    return self.cancelled
                await asyncio.wait((starting,), timeout=_POLL_S)
            if fault := starting.result():
                return fault
        finally:
            starting.cancel()
        watch = AnswerWatch(settings.alarms)
        self._router.new = Backend(self.plan.name, self.server.upstream, watch=watch)
        is_first = self._router.current is None  # there is nobody to share the traffic with
        for share in (100,) if self._at_once or is_first else traffic.shares():
            is_last = share == 100
            self._report(EndpointPhase.BAKING if is_last else EndpointPhase.SHIFTING, share)
            self._router.percent = share
            wait_s = 0.0 if self._at_once else traffic.bake_s if is_last else traffic.interval_s
            if fault := await self._watched(watch, wait_s):
                return fault
        self.note = "" if self._at_once else watch.note()
        return ""

    async def _watched(self, watch: AnswerWatch, wait_s: float) -> str:
        """Watch the new server for some time; return what ends the deployment, empty for nothing."""
        deadline = time.monotonic() + wait_s
        while True:
            if fault := self.cancelled or watch.alarm() or self.server.fault:
                return fault
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return ""
            await asyncio.sleep(min(_POLL_S, left_s))
