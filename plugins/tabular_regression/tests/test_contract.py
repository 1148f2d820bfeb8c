"""The contract of the use case."""

import csv

import pytest

from mlops_core.testing import UseCaseContract


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestAbalone(UseCaseContract):
    use_case = "ABALONE"
    config = "examples/tiny.yaml"
    untrained = ("training.rounds=1",)
    predictor_tolerance = 1e-6
    has_groups = False  # an abalone is measured once

    @staticmethod
    def exchange_samples(dataset, *, contents):
        """Exchange rows of the table."""
        (table,) = dataset.glob("*.csv")
        with table.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        moved = {name.split()[1]: rows[int(other.split()[1])] for name, other in contents.items()}
        rows = [moved.get(str(number), row) for number, row in enumerate(rows)]
        with table.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)

    @staticmethod
    def sample_file(sample, *, dataset, folder):
        """Write the row of a sample into a separate table, because the predictor predicts every row of a table."""
        (table,) = dataset.glob("*.csv")
        with table.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        path = folder / f"{sample.replace(' ', '_')}.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([rows[0], rows[int(sample.split()[1])]])
        return path
