"""The data sets that the plugin knows."""

from __future__ import annotations

from mlops_core.datasets import Dataset, GeneratedSource, Source

_ESC50 = Source(  # the archive of one commit, so that its content cannot change
    url="https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip",
    sha256="661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
    size=645_832_161,
    strip=1,
)
_ESC_FILES = ("meta/esc50.csv", "audio/*.wav")

DATASETS = (
    Dataset(
        name="AED_Dataset",
        title="400 generated clips of ten kinds of sound, 2 s each",
        licence="Apache-2.0",
        description="Made by code from the run's seed, in the layout of ESC-50; not recordings of the world.",
        sources=(GeneratedSource(run="mlops_aed.synthetic:generate"),),
        required=_ESC_FILES,
    ),
    Dataset(
        name="ESC-10",
        title="the ten-class subset of ESC-50: 400 recordings, 5 s each",
        licence="CC-BY-3.0",
        homepage="https://github.com/karolpiczak/ESC-50",
        description="Field recordings in five folds; clips of one source recording are in one fold.",
        size_bytes=645_832_161,
        sources=(_ESC50,),
        required=_ESC_FILES,
    ),
    Dataset(
        name="ESC-50",
        title="2,000 environmental recordings of 50 classes, 5 s each",
        licence="CC-BY-NC-3.0",
        homepage="https://github.com/karolpiczak/ESC-50",
        description="Field recordings in five folds; clips of one source recording are in one fold.",
        size_bytes=645_832_161,
        sources=(_ESC50,),
        required=_ESC_FILES,
    ),
)
