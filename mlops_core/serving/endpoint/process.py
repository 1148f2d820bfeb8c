"""The process of an endpoint: ``python -m mlops_core.serving.endpoint.process FOLDER WORKSPACE PORT``.

It carries out the orders in the endpoint's folder, one after the other, and writes its state there. The change from one
configuration to the next is one write: whenever the process dies, the state names the old configuration or the new one,
and the next process serves that, then begins what was pending again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.deployments.local.state import Action, EndpointFolder
from mlops_core.deployments.states import EndpointPhase
from mlops_core.errors import ExitCode, MlopsError
from mlops_core.serving.endpoint.rollout import Rollout
from mlops_core.serving.endpoint.router import Backend, Router
from mlops_core.serving.endpoint.servers import ModelServer
from mlops_core.serving.front.access import LocalAccess
from mlops_core.serving.front.connections import front_server
from mlops_core.serving.server import listening_socket

if TYPE_CHECKING:
    from mlops_core.deployments.local.state import EndpointOrder
    from mlops_core.deployments.plan import DeploymentPlan

_POLL_S = 0.05
_DRAIN_S = 30.0
_FIRST_RESTART_S, _LONGEST_RESTART_S = 0.1, 10.0
_SOUND_S = 60.0
"""A server that lived so long is started again at once."""


def main(folder: str, workspace: str, port: str) -> int:
    """Serve the endpoint in a folder until it is deleted or has nothing to serve; return the exit code."""
    files = EndpointFolder(Path(folder))
    lock = files.claim()
    if lock is None:  # another process was faster
        return ExitCode.OK
    try:
        asyncio.run(EndpointProcess(files, workspace=workspace, port=int(port)).run())
    except MlopsError as error:
        sys.stderr.write(f"mlops: error: {error}\n")
        return error.exit_code
    finally:
        os.close(lock)
    return ExitCode.OK


class EndpointProcess:
    """One endpoint, from the start of its process to its end."""

    def __init__(self, folder: EndpointFolder, *, workspace: str, port: int) -> None:
        """Prepare a process.

        Args:
            folder: of the endpoint.
            workspace: folder with the models.
            port: at which a new endpoint answers; 0 for one that is free.
        """
        self._folder = folder
        self._workspace = workspace
        self._port = port
        self._state = folder.read_state()
        self._router = Router()
        self._current: ModelServer | None = None
        self._rollout: Rollout | None = None
        self._task: asyncio.Task[None] | None = None
        self._boot: asyncio.Task[None] | None = None
        self._is_over = asyncio.Event()
        self._restart_at, self._restart_s = 0.0, _FIRST_RESTART_S

    async def run(self) -> None:
        """Serve until the endpoint is deleted, has nothing to serve, or the process is asked to end.

        Raises:
            UsageError: the endpoint's port is in use.
            StoreError: a file of the endpoint is damaged or cannot be written.
        """
        state = self._state
        with listening_socket("127.0.0.1", state.port or self._port) as listener:
            is_busy = state.current is not None or state.pending is not None
            self._set(
                pid=os.getpid(),
                boot=secrets.token_hex(8),
                port=listener.getsockname()[1],
                phase=EndpointPhase.STARTING if is_busy else state.phase,
                percent=0,
            )
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._is_over.set)
            front = front_server(LocalAccess(self._router))
            serving = asyncio.create_task(front.serve(sockets=[listener]))
            try:
                await self._carry_out()
            finally:
                front.should_exit = True
                await self._end()
                await serving

    async def _carry_out(self) -> None:
        """Start what the state names, then carry out orders."""
        if self._state.current is not None:
            self._boot = asyncio.create_task(self._start_current(self._state.current))
        while not self._is_over.is_set():
            if self._task is not None and self._task.done():
                task, self._task, self._rollout = self._task, None, None
                task.result()
            if self._boot is not None and self._boot.done():
                boot, self._boot = self._boot, None
                boot.result()
            is_free = self._boot is None and self._task is None
            if is_free and self._state.pending is not None:
                self._begin(self._state.pending, at_once=self._state.at_once)
                is_free = False
            order = self._folder.read_order()
            if order is not None and order.token != self._state.handled:
                # The next deployment begins when the old server of the one before has ended, too.
                if order.action is not Action.DEPLOY or is_free:
                    await self._handle(order)
            elif is_free and self._current is None:
                return
            if self._boot is None:
                await self._supervise()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_over.wait(), _POLL_S)

    def _set(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        self._folder.write_state(self._state)

    def _server(self, plan: DeploymentPlan) -> ModelServer:
        return ModelServer(plan, workspace=self._workspace, log=self._folder.server_log(plan.name))

    # --- The configuration in service ---------------------------------------------------------------------

    async def _start_current(self, plan: DeploymentPlan) -> None:
        self._current = self._server(plan)
        self._router.current = Backend(plan.name, self._current.upstream)
        await self._current.start()
        fault = await self._current.wait_until_ready(plan.settings.start_timeout_s)
        if self._state.pending is None:
            self._set(
                **{"phase": EndpointPhase.FAILED, "reason": fault} if fault else {"phase": EndpointPhase.IN_SERVICE}
            )

    async def _supervise(self) -> None:
        """Start the server in service again where it has died; write down when it is ready."""
        server = self._current
        if server is None:
            return
        if server.fault:
            now = time.monotonic()
            if now < self._restart_at:
                return
            if now > self._restart_at + _SOUND_S:
                self._restart_s = _FIRST_RESTART_S
            sys.stderr.write(f"{server.plan.name}: {server.fault}; it is started again\n")
            sys.stderr.flush()
            self._restart_at, self._restart_s = now + self._restart_s, min(2 * self._restart_s, _LONGEST_RESTART_S)
            await server.start()
        elif self._state.phase is EndpointPhase.FAILED and self._task is None and await server.is_ready():
            self._set(phase=EndpointPhase.IN_SERVICE)

    # --- Orders -------------------------------------------------------------------------------------------

    async def _handle(self, order: EndpointOrder) -> None:
        if order.action is Action.DELETE:
            await self._end()
            self._set(
                phase=EndpointPhase.ABSENT,
                current=None,
                pending=None,
                port=0,
                percent=0,
                reason="",
                note="",
                handled=order.token,
            )
            self._is_over.set()
        elif order.action is Action.CANCEL:
            if self._rollout is not None and order.plan is not None and order.plan.name == self._rollout.plan.name:
                self._rollout.cancelled = order.reason
                self._set(handled=order.token, phase=EndpointPhase.ROLLING_BACK, reason=order.reason)
            else:  # nothing of it has begun
                pending = self._state.pending
                is_meant = pending is not None and order.plan is not None and pending.name == order.plan.name
                self._set(handled=order.token, pending=None if is_meant else pending, reason=order.reason)
        elif order.plan is not None:
            self._set(
                handled=order.token,
                pending=order.plan,
                at_once=order.at_once,
                phase=EndpointPhase.STARTING,
                percent=0,
                reason="",
                note="",
            )
            self._begin(order.plan, at_once=order.at_once)

    def _begin(self, plan: DeploymentPlan, *, at_once: bool) -> None:
        def report(phase: EndpointPhase, percent: int) -> None:
            if not rollout.cancelled:
                self._set(phase=phase, percent=percent)

        rollout = Rollout(plan, self._server(plan), self._router, at_once=at_once, report=report)
        self._rollout = rollout
        self._task = asyncio.create_task(self._roll_out(rollout))

    async def _roll_out(self, rollout: Rollout) -> None:
        fault = await rollout.run()
        if fault:
            await self._roll_back(rollout, fault)
            return
        old, old_backend = self._current, self._router.current
        self._set(
            current=rollout.plan, pending=None, percent=0, phase=EndpointPhase.IN_SERVICE, reason="", note=rollout.note
        )
        self._current = rollout.server
        self._router.current = Backend(rollout.plan.name, rollout.server.upstream)
        self._router.new, self._router.percent = None, 0
        if old is not None and old_backend is not None:
            await old_backend.drained(_DRAIN_S)
            await old.stop()

    async def _roll_back(self, rollout: Rollout, reason: str) -> None:
        new_backend = self._router.new
        self._router.new, self._router.percent = None, 0
        self._set(phase=EndpointPhase.ROLLING_BACK, percent=0, reason=reason)
        is_served = self._current is not None and await self._current.is_ready()
        if new_backend is not None:
            await new_backend.drained(_DRAIN_S)
        await rollout.server.stop()
        phase = EndpointPhase.IN_SERVICE if is_served else EndpointPhase.FAILED
        self._set(phase=phase, pending=None, percent=0, reason=reason)

    async def _end(self) -> None:
        """End all servers."""
        tasks = [task for task in (self._task, self._boot) if task is not None]
        self._task = self._boot = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in (self._rollout.server if self._rollout else None, self._current):
            if server is not None:
                await server.stop()
        self._rollout = self._current = None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
