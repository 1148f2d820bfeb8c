"""The Python API behind the command line: the same calls serve notebooks and tests."""

from mlops_core.api.exporting import export_model
from mlops_core.api.models import code_of_other_version, load_model, load_other_version, model_path
from mlops_core.api.reproduction import reproduce
from mlops_core.api.requests import prepare_resumption, prepare_run
from mlops_core.api.running import run
from mlops_core.api.runs import approval_of, open_run, run_folder, runs_frame
from mlops_core.api.workspaces import workspace_path

__all__ = [
    "approval_of",
    "code_of_other_version",
    "export_model",
    "load_model",
    "load_other_version",
    "model_path",
    "open_run",
    "prepare_resumption",
    "prepare_run",
    "reproduce",
    "run",
    "run_folder",
    "runs_frame",
    "workspace_path",
]
