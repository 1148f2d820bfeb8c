"""The server of the endpoint: opens a port on 127.0.0.1, installs the replaced operations, and stops executions."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

from mlops_core import UsageError
from mlops_core.runners import RunnerError
from mlops_sagemaker.emulator.endpoint.access.credentials import Credential
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_sagemaker.emulator.endpoint.executions import EndpointExecutions
    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.endpoint.surroundings import Account
    from mlops_sagemaker.emulator.jobs.containers import Containers

HOST = "127.0.0.1"


class SageMakerEndpoint:
    """A running endpoint, as a context manager. A process can have only one, because moto's state is global."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        max_parallel: int | None = None,
        containers: Containers | None = None,
        credential: Credential | None = None,
        time_scale: float = 1.0,
    ) -> None:
        """Prepare the endpoint.

        Args:
            folder: folder for the trees and logs of executions.
            port: port on 127.0.0.1; 0 for any free port.
            max_parallel: number of steps of an execution to run in parallel; None for one per core.
            containers: starts the commands of steps; None for processes on this machine.
            credential: access key that requests must be signed with; None for a random one.
            time_scale: factor for the waits and limits of deployments, the periods of alarms, and the time after which
                captured requests are written; 0.01 turns a minute into 0.6 s.

        Raises:
            UsageError: moto is not installed, the port is in use, or the time scale is not a number from 0 to 1.
        """
        if not 0 < time_scale <= 1:
            raise UsageError(f"time scale {time_scale:g}: expected a number above 0 and at most 1")
        try:
            from moto.moto_server.werkzeug_app import (
                DomainDispatcherApplication,
                MotoRequestHandler,
                create_backend_app,
            )
            from werkzeug.serving import make_server

            from mlops_sagemaker.emulator.endpoint.access.guard import AccessGuard
            from mlops_sagemaker.emulator.endpoint.application import SageMakerApplication
            from mlops_sagemaker.emulator.endpoint.calls import CompletedMoto, own_calls
            from mlops_sagemaker.emulator.endpoint.delivery import EventDelivery
            from mlops_sagemaker.emulator.endpoint.executions import EndpointExecutions
            from mlops_sagemaker.emulator.endpoint.inference.asynchronous import AsyncInvocations
            from mlops_sagemaker.emulator.endpoint.inference.capture import DataCapture
            from mlops_sagemaker.emulator.endpoint.inference.endpoints import HostedEndpoints
            from mlops_sagemaker.emulator.endpoint.inference.transforms import TransformJobs
            from mlops_sagemaker.emulator.endpoint.monitoring.metrics import MetricAlarms
        except ImportError as error:
            missing = (error.name or "moto").partition(".")[0]
            raise UsageError(f"the endpoint needs {missing}: pip install 'mlops-sagemaker[emulator]'") from error

        def create_app(service: Any) -> Any:
            app = create_backend_app(service)
            app.config["PROPAGATE_EXCEPTIONS"] = True  # answered as errors of AWS
            return app

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        listening = _listen(port)
        number = listening.getsockname()[1]
        self.url = f"http://{HOST}:{number}"
        self.credential = credential or Credential()
        application = SageMakerApplication(DomainDispatcherApplication(create_app))
        self._server = make_server(
            HOST,
            port,
            AccessGuard(application, secret_of=self._secret_of, port=number),
            threaded=True,
            request_handler=MotoRequestHandler,
            fd=listening.detach(),
        )
        containers = containers or ProcessContainers()
        self._executions: EndpointExecutions = EndpointExecutions(
            self._account, folder, max_parallel=max_parallel, containers=containers
        )
        self._transforms = TransformJobs(self._account, folder / "transform-jobs", containers=containers)
        alarms = MetricAlarms(time_scale=time_scale)
        self._endpoints = HostedEndpoints(
            self._account,
            folder / "endpoints",
            containers=containers,
            alarms=alarms,
            capture=DataCapture(lambda: self.client("s3"), time_scale=time_scale),
            time_scale=time_scale,
        )
        self._asynchronous = AsyncInvocations(self._endpoints, self._account)
        application.endpoints, application.asynchronous = self._endpoints, self._asynchronous
        application.calls = own_calls(
            self._executions, self._account, transforms=self._transforms, endpoints=self._endpoints
        )
        self._moto = CompletedMoto(alarms, self._endpoints.find_variant)
        self._events = EventDelivery(self._access)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="endpoint", daemon=True)

    def __enter__(self) -> Self:
        """Start the server.

        Raises:
            RunnerError: this process already has an endpoint.
        """
        if not self._moto.install():
            raise RunnerError("this process already has a SageMaker endpoint")
        self._events.install()
        self._thread.start()
        return self

    def environment(self, *, region: str = "us-east-1") -> dict[str, str]:
        """Return the environment variables with which the AWS SDKs use the endpoint."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": region, **self.credential.environment()}

    def client(self, service: str, *, region: str = "us-east-1") -> Any:
        """Return a boto3 client for a service of the endpoint."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=self.credential.access_key,
            aws_secret_access_key=self.credential.secret_key,
        )

    def __exit__(self, *_: object) -> None:
        """Stop all executions, jobs and endpoints, then the server; nothing of its state remains."""
        self._events.close()
        self._executions.close()
        self._transforms.close()
        self._asynchronous.close()
        self._endpoints.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._moto.remove()

    def _account(self, region: Region) -> Account:
        return self._access(region.account, region.name)

    def _access(self, account: str, region: str) -> Account:
        from mlops_sagemaker.emulator.endpoint.surroundings import Account

        return Account(self.url, account=account, region=region, credential=self.credential)

    def _secret_of(self, access_key: str) -> str | None:
        """Return the secret of an access key: that of the endpoint, or one that its IAM or STS has issued."""
        if access_key == self.credential.access_key:
            return self.credential.secret_key
        return self._moto.secret_of(access_key)


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
