"""The contract kit on the toy use case, as an author runs it."""

from pathlib import Path

import pytest

from mlops_core.testing import UseCaseContract


@pytest.fixture(autouse=True)
def _installed(toy):
    """TOY is installed for each test."""


class TestToy(UseCaseContract):
    use_case = "TOY"
    parameters = {"q_acc": "0.9"}  # its default accepts a constant predictor, which the kit would rightly name
    sharded_steps = ("preprocess",)
    has_bad_files = False  # its predictor reads the name of a file only
    expected_failures = {
        "distribution_requires_core": "its metadata are written by hand and name no requirement",
    }

    @staticmethod
    def sample_file(sample, *, dataset, folder):
        """The predictor looks at the name's length only, so the word itself is the file."""
        line = (dataset / "words.csv").read_text().split()[int(Path(sample).stem)]
        return Path(line.partition(",")[0])
