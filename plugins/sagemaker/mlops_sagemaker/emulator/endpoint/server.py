"""The server of the endpoint: opens a port on 127.0.0.1, installs the replaced operations, and stops executions."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING, Self

from mlops_core import UsageError
from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_sagemaker.emulator.endpoint.executions import EndpointExecutions
    from mlops_sagemaker.emulator.jobs.containers import Containers

HOST = "127.0.0.1"


class SageMakerEndpoint:
    """A running endpoint, as a context manager. A process can have only one, because moto's state is global."""

    def __init__(
        self, folder: Path, *, port: int = 0, max_parallel: int | None = None, containers: Containers | None = None
    ) -> None:
        """Prepare the endpoint.

        Args:
            folder: folder for the trees and logs of executions.
            port: port on 127.0.0.1; 0 for any free port.
            max_parallel: number of steps of an execution to run in parallel; None for one per core.
            containers: starts the commands of steps; None for processes on this machine.

        Raises:
            UsageError: moto is not installed, or the port is in use.
        """
        try:
            from mlops_sagemaker.emulator.endpoint.calls import replaced_calls
            from mlops_sagemaker.emulator.endpoint.executions import EndpointExecutions
        except ImportError as error:
            missing = (error.name or "moto").partition(".")[0]
            raise UsageError(f"the endpoint needs {missing}: pip install 'mlops-sagemaker[emulator]'") from error
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        listening = _listen(port)
        self.url = f"http://{HOST}:{listening.getsockname()[1]}"
        self._server = make_server(
            HOST,
            port,
            DomainDispatcherApplication(create_backend_app),
            threaded=True,
            request_handler=MotoRequestHandler,
            fd=listening.detach(),
        )
        self._executions: EndpointExecutions = EndpointExecutions(
            self.url, folder, max_parallel=max_parallel, containers=containers
        )
        self._calls = replaced_calls(self._executions)
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True)

    def __enter__(self) -> Self:
        """Start the server.

        Raises:
            RunnerError: this process already has an endpoint.
        """
        if not self._calls.install():
            raise RunnerError("this process already has a SageMaker endpoint")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all executions, then the server."""
        self._executions.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._calls.remove()


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot use port {port} on {HOST}: {error.strerror}; choose another port, or 0 for any free port"
        ) from error
    return listening
