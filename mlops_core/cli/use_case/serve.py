"""``mlops serve``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_core.cli.options import HomePath, chosen_use_case, use_case_option

_MIB = 1 << 20


@click.command("serve")
@use_case_option
@click.option(
    "--model",
    metavar="MODEL",
    help="Version number, alias such as 'best', or folder of a model (default: the newest that is not rejected).",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 for one that is free."
)
@click.option("--workers", type=click.IntRange(min=1, max=256), help="Worker processes (default: one per core).")
@click.option(
    "--max-waiting",
    type=click.IntRange(min=0),
    help="Requests that may wait for a worker before others get 503 (default: 4 per worker).",
)
@click.option(
    "--max-body",
    type=click.FloatRange(min=0, min_open=True),
    default=25,
    show_default=True,
    metavar="MIB",
    help="Largest body of a request.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=55,
    show_default=True,
    metavar="SECONDS",
    help="Time that a request may take.",
)
@click.option(
    "--protocol", default="default", show_default=True, metavar="NAME", help="Protocol of an engine to add, if any."
)
@click.option("--capture", type=HomePath(file_okay=False), metavar="DIR", help="Write requests and answers here.")
@click.option(
    "--drift-false-alarms",
    metavar="RATE",
    help="How often a false drift alarm is acceptable, such as '1 in 30 days' (the default).",
)
@click.option(
    "--drift-requests-per-hour",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Samples per hour that are expected (default: 500).",
)
@click.option(
    "--state-dir",
    type=HomePath(file_okay=False),
    metavar="DIR",
    help="Keep the state of drift detection here (default: below the workspace).",
)
@click.option("--no-drift", is_flag=True, help="Do not watch for drift.")
@click.option(
    "--trusted-host",
    "trusted_hosts",
    multiple=True,
    metavar="NAME",
    help="Further name by which a proxy or a page may call a server that listens on 127.0.0.1. Repeatable.",
)
@click.option("--no-request-log", is_flag=True, help="Do not write a line of JSON per request to standard output.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    usecase: str | None,
    model: str | None,
    host: str,
    port: int,
    workers: int | None,
    max_waiting: int | None,
    max_body: float,
    timeout: float,
    protocol: str,
    capture: str | None,
    drift_false_alarms: str | None,
    drift_requests_per_hour: float | None,
    state_dir: str | None,
    no_drift: bool,
    trusted_hosts: tuple[str, ...],
    no_request_log: bool,
) -> int:
    """Serve a model over HTTP: POST a file to /invocations.

    GET /ping answers 200 once the model is loaded, GET /metrics the counters for Prometheus, GET / a page.

    Where the model has reference statistics, requests are watched for drift: an alarm is recorded, and may propose to
    retrain; see them with mlops drift alarms. Nothing is started or deployed.

    The server listens on this machine only, unless --host says otherwise, and has neither TLS nor a login: put it
    behind a proxy that has. It ends with exit code 0 on SIGTERM, after the requests that have begun.
    """
    from mlops_core.serving.models import find_model
    from mlops_core.serving.server import ServeOptions, serve
    from mlops_core.serving.watch.options import watch_options

    options = ServeOptions(
        host=host,
        port=port,
        workers=workers,
        max_waiting=max_waiting,
        max_body_bytes=int(max_body * _MIB),
        timeout_s=timeout,
        protocol=protocol,
        capture=Path(capture) if capture else None,
        logs_requests=not no_request_log,
        drift=None
        if no_drift
        else watch_options(
            drift_false_alarms, drift_requests_per_hour, folder=state_dir, workspace=ctx.obj["workspace"]
        ),
        trusted_hosts=trusted_hosts,
    )
    return int(serve(find_model(chosen_use_case(usecase), model, workspace=ctx.obj["workspace"]), options))
