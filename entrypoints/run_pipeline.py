"""Create or update a SageMaker pipeline, start it and wait: ``run-pipeline`` without an installed console script."""

import sys

from mlops_sagemaker.scripts import run_pipeline

if __name__ == "__main__":
    sys.exit(run_pipeline())
