"""The server of a model: the command of the serving image as a process on this machine, on the loopback interface.

The server chooses its port and says so in its log. It has its own ``/opt/ml`` like every container, and ends with the
emulator.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.jobs.containers import ContainerOrder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.jobs.containers import Containers
    from mlops_sagemaker.emulator.jobs.tree import Tree

MODEL_FOLDER = "/opt/ml/model"
COMMAND = ("python3", "-m", "mlops_sagemaker.serving.container", "serve")
_HOST = "127.0.0.1"
_ADDRESS = re.compile(rb"^serving .* at http://127\.0\.0\.1:(\d+) after ", re.MULTILINE)
_ERROR = re.compile(r"^mlops: error: (.*)$", re.MULTILINE)
_POLL_S = 0.05
_PING_S = 2.0
_LONGEST_S = 365 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """The answer of a server.

    Attributes:
        status: HTTP status.
        headers: headers in lower case.
        body: the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ModelServer:
    """A server of a model; thread-safe once it is ready."""

    def __init__(
        self,
        containers: Containers,
        *,
        tree: Tree,
        log: Path,
        environment: Mapping[str, str],
        image: str,
        start_limit_s: float,
    ) -> None:
        """Prepare a server whose model is in the tree.

        Args:
            containers: starts the command.
            tree: files of the container.
            log: file for its output.
            environment: variables of the container.
            image: its image, for error messages.
            start_limit_s: time until ``/ping`` must answer 200.
        """
        self._containers = containers
        self._stopped = threading.Event()
        self._log = log
        self._start_limit_s = start_limit_s
        self._order = ContainerOrder(
            command=COMMAND,
            environment={
                **environment,
                "SAGEMAKER_BIND_TO_PORT": "0",
                "MLOPS_SERVE_HOST": _HOST,
                "MLOPS_SERVE_MODEL": MODEL_FOLDER,
            },
            tree=tree,
            log=log,
            timeout_s=_LONGEST_S,
            image=image,
            stopped=self._stopped,
        )
        self._outcome: int | StepFault | None = None
        self._thread = threading.Thread(target=self._run, name="model-server", daemon=True)
        self._port = 0

    def start(self, *, stopped: threading.Event | None = None) -> None:
        """Start the server and wait until ``/ping`` answers 200.

        Args:
            stopped: ends the wait.

        Raises:
            StepFault: the server ended, or was not ready in time.
            StepStopped: `stopped` was set.
        """
        self._thread.start()
        deadline = time.monotonic() + self._start_limit_s
        while not self._is_ready():
            if not self._thread.is_alive():
                raise self.failure()
            if stopped is not None and stopped.is_set():
                raise StepStopped
            if time.monotonic() >= deadline:
                raise StepFault(
                    FaultKind.CLIENT,
                    f"the model did not pass the ping health check within {self._start_limit_s:g} s; log: "
                    f"{self._log.name}",
                )
            time.sleep(_POLL_S)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._thread.is_alive()

    def failure(self) -> StepFault:
        """Return why the server has ended."""
        if isinstance(self._outcome, StepFault):
            return self._outcome
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        errors = _ERROR.findall(text)
        reason = errors[-1] if errors else f"see its log {self._log.name}"
        return StepFault(FaultKind.ALGORITHM, f"the model server ended: {reason}, exit code: {self._outcome}")

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str],
        timeout_s: float,
        is_chunked: bool = False,
    ) -> ModelAnswer:
        """Send a request and return the answer; with `is_chunked`, the body has no length in the headers.

        Raises:
            OSError: the server does not answer in time, or not at all.
            http.client.HTTPException: the answer is not HTTP.
        """
        with contextlib.closing(http.client.HTTPConnection(_HOST, self._port, timeout=timeout_s)) as connection:
            if is_chunked and body is not None:
                chunked = {**headers, "Transfer-Encoding": "chunked"}
                connection.request(method, path, body=iter([body]), headers=chunked, encode_chunked=True)
            else:
                connection.request(method, path, body=body, headers=dict(headers))
            with connection.getresponse() as response:  # closed also when reading it takes too long
                return ModelAnswer(
                    status=response.status,
                    headers={name.lower(): value for name, value in response.getheaders()},
                    body=response.read(),
                )

    def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _is_ready(self) -> bool:
        if not self._port:
            match = _ADDRESS.search(self._log.read_bytes()) if self._log.exists() else None
            self._port = int(match[1]) if match else 0
        if not self._port:
            return False
        try:
            return self.ask("GET", "/ping", headers={}, timeout_s=_PING_S).status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def _run(self) -> None:
        try:
            self._outcome = self._containers.run(self._order)
        except StepFault as fault:
            self._outcome = fault
        except StepStopped:
            self._outcome = 0


@contextlib.contextmanager
def serving(server: ModelServer, *, stopped: threading.Event) -> Iterator[ModelServer]:
    """Start a server and stop it at the end, or when `stopped` is set: requests then end with an error.

    Raises:
        StepFault: it does not become ready.
        StepStopped: `stopped` was set meanwhile.
    """
    ended = threading.Event()
    watch = threading.Thread(target=_stop_early, args=(server, stopped, ended), daemon=True)
    try:
        server.start(stopped=stopped)
        watch.start()
        yield server
    finally:
        ended.set()
        server.stop()


def _stop_early(server: ModelServer, stopped: threading.Event, ended: threading.Event) -> None:
    while not ended.wait(_POLL_S):
        if stopped.is_set():
            server.stop()
            return
