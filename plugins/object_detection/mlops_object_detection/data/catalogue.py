"""The catalogue of data sets."""

from __future__ import annotations

from mlops_core import Dataset, GeneratedSource

DATASETS: tuple[Dataset, ...] = (
    Dataset(
        name="SYMBOL_DETECTION_Dataset",
        title="20 generated piping drawings with eight symbols, 480x360 pixels",
        licence="Apache-2.0",
        description="Drawn by code from the run's seed, labels in Azure ML's format; not real drawings.",
        sources=(GeneratedSource(run="mlops_object_detection.data.synthetic_drawings:generate"),),
        required=("images/*.png", "labels/annotations.jsonl", "label_config_map.json"),
        accepts_other_layouts=True,
    ),
    Dataset(
        name="SYMBOL_DETECTION_Photographs",
        title="80 generated pictures of balls, bottles and crates, 300 to 480 pixels wide",
        licence="Apache-2.0",
        description="Rendered by code from the run's seed, with objects of very different size; not photographs.",
        sources=(GeneratedSource(run="mlops_object_detection.data.synthetic_photographs:generate"),),
        required=("images/*.jpg", "labels/annotations.jsonl"),
        accepts_other_layouts=True,
    ),
)
