"""Execute one step from a request file: what a container, or any other engine, starts.

    python run_step.py REQUEST.json

The exit code is that of the step; its outcome is in ``result.json`` beside the request.
"""

import sys
from pathlib import Path

from mlops_core.steps import run_request_file

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: run_step.py REQUEST.json")
    sys.exit(run_request_file(Path(sys.argv[1])))
