"""From what arrived to the data set of a run: unpack it, apply annotations, and compute the digest."""

from mlops_core.datasets.ingestion.annotations import Annotation, Conflict, read_annotations, resolve_annotations
from mlops_core.datasets.ingestion.ingest import Ingestion, ingest
from mlops_core.datasets.ingestion.labels import LabelTable

__all__ = [
    "Annotation",
    "Conflict",
    "Ingestion",
    "LabelTable",
    "ingest",
    "read_annotations",
    "resolve_annotations",
]
