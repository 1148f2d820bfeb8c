"""The endpoint: opens a port on 127.0.0.1, and stops its jobs when it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from mlops_azureml.emulator.application import Application, environment
from mlops_azureml.emulator.blobs import Blobs
from mlops_azureml.emulator.executions import Executions, Site
from mlops_azureml.emulator.history import LOGS, History
from mlops_azureml.emulator.identity import Identity
from mlops_azureml.emulator.inference import Inference
from mlops_azureml.emulator.jobs import JobOperations
from mlops_azureml.emulator.resources import Resources
from mlops_azureml.emulator.state import Names, WorkspaceState
from mlops_azureml.emulator.web.access import Access, Credential
from mlops_azureml.emulator.web.http import HttpsServer
from mlops_azureml.emulator.web.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_azureml.emulator.state import ExternalStorage
    from mlops_azureml.emulator.web.http import Request, Response


class AzureMlEndpoint:
    """A running endpoint, as a context manager.

    Attributes:
        url: its address, ``https://localhost:PORT``.
        access: issues and verifies tokens.
        state: what the workspace holds.
        names: names of the workspace and its parts.
        certificates: file with the certificates that clients must trust.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        max_parallel: int | None = None,
        credential: Credential | None = None,
        token_lifetime_s: int = 3600,
        storage: ExternalStorage | None = None,
    ) -> None:
        """Prepare the endpoint.

        Args:
            folder: folder for blobs, and the trees and logs of jobs.
            port: port on 127.0.0.1; 0 for any free port.
            max_parallel: number of nodes of a job to run in parallel; None for one per core.
            credential: service principal with which clients sign in; None for a random one.
            token_lifetime_s: lifetime of tokens, in seconds.
            storage: storage account of the datastore; None for a folder. Jobs can only be executed with a folder.

        Raises:
            UsageError: cryptography is not installed, or the port is in use.
        """
        self.names = Names()
        self.access = Access(credential or Credential(), lifetime_s=token_lifetime_s)
        self.state = WorkspaceState(self.names, storage=storage)
        context, self.certificates = server_context(folder, names=("localhost", f"{self.names.account}.blob.localhost"))
        self._application = Application(names=self.names, access=self.access, account=self.names.account)
        self._server = HttpsServer(self.answer, port=port, context=context)
        self.url = f"https://localhost:{self._server.port}"
        self.access.own_audience = self.url
        self.blobs = Blobs(folder / "blobs", account=self.names.account, access=self.access)
        for container in (self.names.container, LOGS):
            self.blobs.container_folder(container)
        self._executions = Executions(
            self.state,
            folder,
            site=Site(url=self.url, certificates=self.certificates, access=self.access),
            max_parallel=max_parallel,
        )
        self._inference = Inference(self.state, folder, url=self.url)
        self._application.serve(
            inference=self._inference,
            identity=Identity(self.url, access=self.access),
            resources=Resources(self.state, url=self.url, access=self.access),
            jobs=JobOperations(self.state, url=self.url, executor=self._executions),
            history=History(self.state, url=self.url, access=self.access),
            blobs=self.blobs,
        )

    def answer(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            CallError: it is refused.
        """
        return self._application(request)

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables with which clients use the endpoint."""
        return environment(self.url, certificates=str(self.certificates), access=self.access, names=self.names)

    def __enter__(self) -> Self:
        """Start the server."""
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all jobs, then the server; of its state, only files remain."""
        self._executions.close()
        self._inference.close()
        self._server.close()
