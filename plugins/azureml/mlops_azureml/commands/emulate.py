"""``mlops azureml emulate``."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click


@click.command("emulate")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1 (default: any free port).")
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    help="Number of nodes of one job to run in parallel (default: one per core).",
)
@click.pass_obj
def emulate_command(context: dict[str, str | None], *, port: int, jobs: int | None) -> int:
    """Emulate a workspace of Azure ML on 127.0.0.1 until Ctrl-C.

    Set the variables that it prints to use it with this package, azure-ai-ml or azure-identity. The client secret and
    the certificate are new at each start. Jobs are checked when they are submitted, and executed in processes on this
    machine. When the emulator stops, blobs and logs are kept, and everything else is forgotten.
    """
    from mlops_azureml.emulator.server import AzureMlEndpoint
    from mlops_core import workspace_path
    from mlops_core.runners import ExitCode

    folder = Path(workspace_path(context["workspace"])).absolute() / "azureml-local" / "endpoint"
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with AzureMlEndpoint(folder, port=port, max_parallel=jobs) as endpoint:
        click.echo(f"Azure ML workspace: {endpoint.url}; blobs and jobs: {folder}")
        for name, value in endpoint.environment().items():
            click.echo(f"export {name}={value}")
        click.echo("press Ctrl-C to stop")
        ended.wait()
        click.echo("stopping jobs ...", err=True)
    return ExitCode.OK
