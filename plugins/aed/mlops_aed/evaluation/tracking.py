"""The metrics of an evaluation in MLflow, with the names of the model zoo: percent, two decimals.

Needs the extra ``mlops-aed[mlflow]``; used only if ``mlflow.uri`` is set.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlops_core import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SWITCHES = ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
"""Settings that allow a folder as store, as in the zoo's configurations, and switch off usage reports."""

_ONNX_WORDS = {"onnx": "float", "onnx_int8": "quant"}


def zoo_metrics(models: Mapping[str, tuple[float, float, float]], *, part: str = "test_set") -> dict[str, float]:
    """Return the metrics with the names of the zoo.

    Args:
        models: ``float``, ``quant``, ``onnx`` or ``onnx_int8`` -> patch and clip accuracy as fractions, and the loss.
        part: the scored part of the data.
    """
    metrics: dict[str, float] = {}
    for model, (patch, clip, loss) in models.items():
        if model in _ONNX_WORDS:  # the zoo orders the words differently for these models
            metrics |= {
                f"patch_{_ONNX_WORDS[model]}_acc_{part}": round(100 * patch, 2),
                f"clip_{_ONNX_WORDS[model]}_acc_{part}": round(100 * clip, 2),
            }
            continue
        metrics |= {
            f"{model}_patch_acc_{part}": round(100 * patch, 2),
            f"{model}_clip_acc_{part}": round(100 * clip, 2),
        }
        if model == "float":
            metrics[f"float_loss_{part}"] = round(loss, 6)
    return metrics


def log_to_mlflow(uri: str, *, experiment: str, metrics: Mapping[str, float], files: Path) -> str:
    """Record a run with `metrics` and the files of a folder; return its id.

    Args:
        uri: address of the tracking server (http, https, sqlite), or a folder.
        experiment: name of the experiment; created if it does not exist.
        metrics: name -> value.
        files: the folder whose files become artifacts.

    Raises:
        ConfigError: MLflow is not installed, or the server does not accept the run.
    """
    for name in _SWITCHES:
        os.environ.setdefault(name, "true")
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise ConfigError(f"mlflow.uri needs {error.name}: pip install 'mlops-aed[mlflow]'") from error
    try:
        client = MlflowClient(tracking_uri=uri)
        entry = client.get_experiment_by_name(experiment)
        run = client.create_run(entry.experiment_id if entry else client.create_experiment(experiment))
        for name, value in metrics.items():
            client.log_metric(run.info.run_id, name, value)
        client.log_artifacts(run.info.run_id, str(files))
        client.set_terminated(run.info.run_id)
    except (MlflowException, OSError) as error:
        raise ConfigError(f"mlflow.uri: {uri} does not accept a run: {' '.join(str(error).split())[:300]}") from error
    return str(run.info.run_id)
