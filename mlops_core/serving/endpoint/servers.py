"""The servers of an endpoint as processes: started, asked whether they are ready, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from mlops_core.serving.endpoint.upstream import Upstream, UpstreamError
from mlops_core.serving.server import listening_socket
from mlops_core.settings import environment

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.deployments.plan import DeploymentPlan

_MODULE = "mlops_core.serving.endpoint.server"
_POLL_S = 0.05
_PING_S = 2.0
_GRACE_S = 30.0
_OK = 200


class ModelServer:
    """A server for a plan. Its socket outlives its process, so a restart refuses no connection."""

    def __init__(self, plan: DeploymentPlan, *, workspace: str, log: Path) -> None:
        """Prepare a server.

        Args:
            plan: names the model and the number of workers.
            workspace: folder with the model.
            log: file for what the process prints.
        """
        self.plan = plan
        self._workspace = workspace
        self._log = log
        self._socket = listening_socket("127.0.0.1", 0)
        self.upstream = Upstream(self._socket.getsockname()[1])
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process; it is not ready then."""
        descriptor = self._socket.fileno()
        model = self.plan.model
        order = {
            "descriptor": descriptor,
            "parent": os.getpid(),
            "use_case": model.use_case,
            "version": model.version,
            "artifact": model.artifact,
            "workspace": self._workspace,
            "workers": self.plan.settings.instances,
        }
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                _MODULE,
                json.dumps(order),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(descriptor,),
                env={**environment(), **self.plan.settings.environment},
            )

    @property
    def fault(self) -> str:
        """Why the process has ended; empty while it runs."""
        if self._process is None or self._process.returncode is None:
            return ""
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = [line for line in lines if line.startswith("mlops: error: ")]
        reason = said[-1].removeprefix("mlops: error: ") if said else lines[-1] if lines else ""
        return f"its server ended {how}{f': {reason}' if reason else ''}"

    async def is_ready(self) -> bool:
        """Return whether the model is loaded."""
        try:
            return (await self.upstream.call("GET", "/ping", timeout_s=_PING_S)).status == _OK
        except UpstreamError:
            return False

    async def wait_until_ready(self, timeout_s: float) -> str:
        """Wait until the model is loaded; return why it is not, empty where it is."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.fault:
                return self.fault
            if await self.is_ready():
                return ""
            await asyncio.sleep(_POLL_S)
        return f"its server was not ready within start_timeout_s ({timeout_s:g} s)"

    async def stop(self) -> None:
        """End the process, after the requests that have begun, and close the socket."""
        self._socket.close()
        await self.upstream.close()
        process = self._process
        if process is None:
            return
        for number, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience_s)
                return
