"""The process that indexes many runs: ``python -m mlops_core.web.index.build HOME INDEX``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlops_core.errors import MlopsError
from mlops_core.web.index.database import RunIndex
from mlops_core.workspace.store import Store

_NICE = 10


def main() -> int:
    """Index the runs that are missing or have changed."""
    os.nice(_NICE)
    home, path = map(Path, sys.argv[1:])
    try:
        with Store(home) as store:
            index = RunIndex(home, path=path)
            index.attach(store)
            index.forget_removed(store)
            index.update(store)
    except MlopsError as error:
        sys.stderr.write(f"mlops ui: the runs cannot be indexed: {error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
