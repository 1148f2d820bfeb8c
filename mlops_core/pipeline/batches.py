"""How a step predicts files in batches: `BatchPrediction`."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_core.errors import PipelineError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPrediction:
    """How a batch-prediction step sends files to a model, and what it makes of the answers.

    The limits are those that engines have in common.

    Attributes:
        content_type: of the requests; one that the plugin lists (`mlops_get_content_types`).
        accept: the format of the answers: ``application/json``, ``application/jsonlines`` or ``text/csv``.
        split: ``"none"`` for one request per file, ``"line"`` to make requests of the lines of a file.
        strategy: ``"single"`` for one line per request, ``"multi"`` for as many as `max_payload_mb` allows; n lines
            must then give n lines.
        assemble: ``"line"`` to end the answer to each request with a line break, ``"none"`` to join them unchanged.
        max_payload_mb: size of a request at most, in MiB.
        max_concurrent: number of requests at once; times `max_payload_mb` at most 100.
        timeout_s: seconds that a request may take.
        retries: number of further attempts after a request that failed, unless the request itself is at fault.

    Example:
        >>> BatchPrediction(content_type="text/csv", accept="text/csv", split="line", strategy="multi").assemble
        'none'
    """

    content_type: str
    accept: str = "application/json"
    split: str = "none"
    strategy: str = "single"
    assemble: str = "none"
    max_payload_mb: int = 6
    max_concurrent: int = 1
    timeout_s: int = 600
    retries: int = 0

    def __post_init__(self) -> None:
        """Refuse what no engine could carry out.

        Raises:
            PipelineError: names the value.
        """
        for name, legal in (
            ("split", ("none", "line")),
            ("strategy", ("single", "multi")),
            ("assemble", ("none", "line")),
        ):
            if getattr(self, name) not in legal:
                raise PipelineError(
                    f"batch prediction: {name}={getattr(self, name)!r} is not one of {', '.join(legal)}"
                )
        if self.strategy == "multi" and self.split == "none":
            raise PipelineError("batch prediction: strategy='multi' needs split='line'")
        ranges = {"max_payload_mb": (1, 100), "max_concurrent": (1, 100), "timeout_s": (1, 3600), "retries": (0, 3)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise PipelineError(f"batch prediction: {name}={value!r} is not a whole number from {low} to {high}")
        if self.max_payload_mb * self.max_concurrent > 100:
            raise PipelineError(
                f"batch prediction: max_payload_mb={self.max_payload_mb} times max_concurrent={self.max_concurrent} is "
                "more than 100"
            )
