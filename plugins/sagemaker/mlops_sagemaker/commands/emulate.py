"""``mlops sagemaker emulate``."""

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
    help="Number of steps of one execution to run in parallel (default: one per core).",
)
@click.option(
    "--time-scale",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Factor for the waits of deployments and the periods of alarms; with 0.01, a minute takes 0.6 s.",
)
@click.pass_obj
def emulate_command(context: dict[str, str | None], *, port: int, jobs: int | None, time_scale: float) -> int:
    """Emulate SageMaker, S3, IAM, EventBridge and more on 127.0.0.1 until Ctrl-C.

    Set the variables that it prints to use it with boto3 and the SageMaker SDK. Requests must be signed with the
    printed access key, which is new at each start. Pipelines are checked when they are created, and executed in
    processes on this machine when they are started. When the emulator stops, only the logs are kept.
    """
    from mlops_core import workspace_path
    from mlops_core.runners import ExitCode
    from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

    folder = Path(workspace_path(context["workspace"])).absolute() / "sagemaker-local" / "endpoint"
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with SageMakerEndpoint(folder, port=port, max_parallel=jobs, time_scale=time_scale) as endpoint:
        click.echo(f"SageMaker endpoint: {endpoint.url}; executions: {folder}")
        for names in (("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")):
            variables = endpoint.environment()
            click.echo("export " + " ".join(f"{name}={variables[name]}" for name in names))
        click.echo("press Ctrl-C to stop")
        ended.wait()
        click.echo("stopping executions ...", err=True)
    return ExitCode.OK
