"""A model of mlops as a model of MLflow: the file ``MLmodel`` with the flavor ``python_function``."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.observers import ExportedModel

_REQUIREMENTS = "requirements.txt"


def write_pyfunc_model(exported: ExportedModel) -> None:
    """Write ``MLmodel`` and ``requirements.txt`` beside the files of a model.

    Loading it needs mlops-mlflow and the plugin of the use case; ``requirements.txt`` pins both.
    """
    from importlib.metadata import version

    from mlflow.models import Model

    plugin, _, plugin_version = exported.version.plugin.rpartition(" ")
    requirements = (f"mlops-mlflow=={version('mlops-mlflow')}", f"{plugin}=={plugin_version}")
    (exported.folder / _REQUIREMENTS).write_text("\n".join(requirements) + "\n", encoding="utf-8")
    model = Model(run_id=None, metadata={"use_case": exported.version.use_case, "version": exported.version.version})
    model.add_flavor(
        "python_function",
        loader_module="mlops_mlflow.pyfunc",
        data=".",
        python_version=platform.python_version(),
        env={"virtualenv": "python_env.yaml"},
    )
    (exported.folder / "python_env.yaml").write_text(
        f"python: {platform.python_version()}\ndependencies:\n- -r {_REQUIREMENTS}\n", encoding="utf-8"
    )
    model.save(str(exported.folder / "MLmodel"))
