"""A server of an endpoint: `mlops serve` with a socket that listens already; it ends with the endpoint's process.

``python -m mlops_core.serving.endpoint.server ORDER``: the order is JSON with ``descriptor``, ``parent``, ``use_case``,
``version``, ``artifact``, ``workspace`` and ``workers``.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING

from mlops_core.errors import ExitCode, MlopsError, StoreError
from mlops_core.processes.confinement import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def main(text: str) -> int:
    """Serve until SIGTERM; return the exit code."""
    order = json.loads(text)
    end_with_parent()
    if os.getppid() != order["parent"]:  # it ended before this process could ask to end with it
        return ExitCode.INTERRUPTED
    try:
        return _serve(order)
    except MlopsError as error:
        sys.stderr.write(f"mlops: error: {error}\n")
        return error.exit_code


def _serve(order: Mapping[str, Any]) -> int:
    from mlops_core.serving.models import find_model
    from mlops_core.serving.server import ServeOptions, serve
    from mlops_core.serving.watch.options import watch_options

    model = find_model(order["use_case"], str(order["version"]), workspace=order["workspace"])
    if model.facts.get("artifact") != order["artifact"]:
        raise StoreError(f"{model} is not the model that is deployed: its artifact is {model.facts.get('artifact')}")
    options = ServeOptions(
        port=0,
        workers=order["workers"],
        logs_requests=False,
        drift=watch_options(workspace=order["workspace"]),
    )
    return serve(model, options, listener=socket.socket(fileno=order["descriptor"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
