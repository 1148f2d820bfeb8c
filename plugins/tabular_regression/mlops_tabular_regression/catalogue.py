"""The catalogue of data sets."""

from __future__ import annotations

from mlops_core import Dataset, GeneratedSource, Source

DATASETS = (
    Dataset(
        name="Abalone_Generated",
        title="4,000 generated rows in the columns of Abalone",
        licence="Apache-2.0",
        description="Made by code from the run's seed, with some heights of 0; not measurements.",
        sources=(GeneratedSource(run="mlops_tabular_regression.tables.synthetic:generate"),),
        required=("*.csv",),
        accepts_other_layouts=True,
    ),
    Dataset(
        name="Abalone",
        title="4,177 abalones: sex, sizes and weights, and the rings of the shell, from which the age follows",
        licence="CC-BY-4.0",
        homepage="https://archive.ics.uci.edu/dataset/1/abalone",
        description="W. Nash, T. Sellers, S. Talbot, A. Cawthorn, W. Ford: Abalone, UCI Machine Learning Repository, "
        "1994, doi:10.24432/C55C7W. The file has no header.",
        size_bytes=191_873,
        sources=(
            Source(
                url="https://archive.ics.uci.edu/ml/machine-learning-databases/abalone/abalone.data",
                sha256="de37cdcdcaaa50c309d514f248f7c2302a5f1f88c168905eba23fe2fbc78449f",
                size=191_873,
                unpack=False,
            ),
        ),
        required=("abalone.data",),
        accepts_other_layouts=True,
    ),
)
