"""Write the definition of a SageMaker pipeline: ``get-pipeline-definition`` without an installed console script."""

import sys

from mlops_sagemaker.scripts import get_pipeline_definition

if __name__ == "__main__":
    sys.exit(get_pipeline_definition())
