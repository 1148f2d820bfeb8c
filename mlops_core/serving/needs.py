"""Which modules a model needs: loads it in a process of its own, warms it up, and prints what was imported.

``python -m mlops_core.serving.needs USECASE FOLDER MODULE...`` prints a JSON list of top-level names. Each further
argument names a module that cannot be imported meanwhile, which shows that the model works without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError, PluginError
from mlops_core.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_core.serving.models import ServedModel

_TIMEOUT_S = 600


def imported_modules(model: ServedModel, *, without: Iterable[str] = ()) -> frozenset[str]:
    """Return the top-level modules that are imported while a model is loaded and warmed up.

    Args:
        model: the model.
        without: top-level modules that cannot be imported meanwhile.

    Raises:
        PluginError: the model cannot be loaded.
    """
    done = subprocess.run(  # noqa: S603  this Python, without a shell
        [sys.executable, "-P", "-m", __name__, model.use_case, str(model.folder), *without],
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        env={**environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise PluginError(f"{model} cannot be loaded for its image: {lines[-1] if lines else 'no reason given'}")
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


def main(use_case: str, folder: str, *without: str) -> int:
    """Load and warm up the model; print the modules."""
    from mlops_core.use_cases.manager import load_use_case

    for name in without:
        sys.modules[name] = None  # type: ignore[assignment]  # this is how an import is forbidden
    try:
        predictor = load_use_case(use_case).load_predictor(Path(folder))
    except MlopsError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    warm_up = getattr(predictor, "warm_up", None)
    if warm_up is not None:
        warm_up()
    names = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}  # type: ignore[redundant-expr]  # see above
    sys.stdout.write(f"{json.dumps(sorted(names))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
