"""Logs the metrics and parameters of a trial where its engine reads them: the MLflow of the job.

The service compares the trials of a sweep by a metric that they log through MLflow. Two requests need no package; the
service sets their address, token and run in the environment. On this machine the address is a folder, in the layout of
MLflow's file store.
"""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping

URI, TOKEN, RUN_ID = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_RUN_ID"
_ATTEMPTS, _WAIT_S, _TIMEOUT_S = 5, 2.0, 30.0
_EXPERIMENT = "0"


def log_trial(*, metric: str, value: float, parameters: Mapping[str, object], environ: Mapping[str, str]) -> None:
    """Log the objective of a trial and its drawn values.

    Raises:
        RunnerError: the environment does not name a run, or MLflow cannot be reached.
    """
    missing = [name for name in (URI, RUN_ID) if not environ.get(name)]
    if missing:
        raise RunnerError(f"the trial's objective cannot be logged: {', '.join(missing)} is not set, as it is in a job")
    uri, run = environ[URI], environ[RUN_ID]
    if uri.startswith("file:"):
        folder = Path(urllib.parse.unquote(urllib.parse.urlsplit(uri).path)) / _EXPERIMENT / run
        _write(folder, metric=metric, value=value, parameters=parameters)
        return
    base = f"https://{uri.removeprefix('azureml://')}" if uri.startswith("azureml://") else uri.rstrip("/")
    stamp = int(time.time() * 1000)
    for name, drawn in parameters.items():
        body = {"run_id": run, "key": name, "value": str(drawn)}
        _post(f"{base}/api/2.0/mlflow/runs/log-parameter", body, token=environ.get(TOKEN, ""))
    body_of_metric = {"run_id": run, "key": metric, "value": value, "timestamp": stamp, "step": 0}
    _post(f"{base}/api/2.0/mlflow/runs/log-metric", body_of_metric, token=environ.get(TOKEN, ""))


def read_metric(folder: Path, run: str, metric: str) -> float | None:
    """Return the last value of a metric in a file store; None if it was not logged."""
    try:
        lines = (folder / _EXPERIMENT / run / "metrics" / metric).read_text(encoding="utf-8").split("\n")
        value = float([line for line in lines if line][-1].split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return value if math.isfinite(value) else None


def _write(folder: Path, *, metric: str, value: float, parameters: Mapping[str, object]) -> None:
    try:
        for kind in ("metrics", "params"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, drawn in parameters.items():
            (folder / "params" / name).write_text(str(drawn), encoding="utf-8")
        with (folder / "metrics" / metric).open("a", encoding="utf-8") as stream:
            stream.write(f"{int(time.time() * 1000)} {value!r} 0\n")
    except OSError as error:
        raise RunnerError(f"the trial's objective cannot be logged: {folder}: {error.strerror}") from error


def _post(url: str, body: Mapping[str, object], *, token: str) -> None:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers, method="POST")  # noqa: S310
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310  the address is the engine's own
                return
        except (OSError, urllib.error.URLError) as error:
            is_final = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if is_final or attempt == _ATTEMPTS:
                raise RunnerError(f"the trial's objective cannot be logged at {url}: {error}") from error
            time.sleep(_WAIT_S * attempt)
