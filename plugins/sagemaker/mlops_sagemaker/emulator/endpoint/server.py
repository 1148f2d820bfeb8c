"""The server's life: a port of 127.0.0.1, the replaced calls, and the end of everything that it started."""

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
    """A running endpoint; use as a context manager. One in a process, for moto's state is the process's."""

    def __init__(
        self, folder: Path, *, port: int = 0, max_parallel: int | None = None, containers: Containers | None = None
    ) -> None:
        """Prepare the endpoint.

        Args:
            folder: for the trees and logs of executions.
            port: of 127.0.0.1; 0 for any that is free.
            max_parallel: steps of one execution at once; None for one a core.
            containers: what starts a step's command; None for processes of this machine.

        Raises:
            UsageError: moto is not installed, or the port is taken.
        """
        try:
            from mlops_sagemaker.emulator.endpoint.calls import replaced_calls
            from mlops_sagemaker.emulator.endpoint.executions import EndpointExecutions
        except ImportError as error:
            missing = (error.name or "moto").partition(".")[0]
            raise UsageError(f"the endpoint needs {missing}: pip install 'mlops-usecases[test]'") from error
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
        """Begin to answer.

        Raises:
            RunnerError: this process has an endpoint already.
        """
        if not self._calls.install():
            raise RunnerError("this process has a SageMaker endpoint already")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every execution, then answer no more."""
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
            f"port {port} of {HOST} cannot be used: {error.strerror}; choose another, or 0 for any that is free"
        ) from error
    return listening
