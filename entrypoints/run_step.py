"""Execute one step: the command of the container.

    python run_step.py REQUEST.json            a request file; the outcome is in result.json beside it
    python run_step.py --request=... ...       the arguments of a compiled pipeline
    python run_step.py train                   a trial of a search, as engines start it

The exit code is that of the step.
"""

import sys
from pathlib import Path

USAGE = "usage: run_step.py REQUEST.json | run_step.py --request=PIECE ... | run_step.py train"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments == ["train"] or any(argument.startswith("--") for argument in arguments):
        from mlops_sagemaker.container import main

        sys.exit(main(arguments))
    if len(arguments) != 1:
        sys.exit(USAGE)

    from mlops_core.steps.execution import run_request_file

    sys.exit(run_request_file(Path(arguments[0])))
