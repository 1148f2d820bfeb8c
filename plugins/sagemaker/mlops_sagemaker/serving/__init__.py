"""What SageMaker's hosting adds to `mlops serve`: its documents and headers, data capture, the word ``serve``.

* `protocol`: ``/execution-parameters``, the ``X-Amzn-SageMaker-*`` headers, the lines of data capture.
* `container`: the command of the serving image, which the service starts as ``docker run IMAGE serve``.
"""

from __future__ import annotations

from mlops_sagemaker.serving.protocol import SageMakerProtocol

PROTOCOL = SageMakerProtocol()

__all__ = ["PROTOCOL", "SageMakerProtocol"]
