"""Serve the model of the container: the command of the serving image.

    python serve.py serve

The exit code is that of `mlops serve`.
"""

import sys

if __name__ == "__main__":
    from mlops_sagemaker.serving.container import main

    sys.exit(main(sys.argv[1:]))
