"""The comparison of several runs judges only what may be compared."""

import pytest

from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.evaluation.metrics import Direction, Metric, MetricReport, MetricValue, Unit
from mlops_core.report.facts import RunFacts
from mlops_core.web.pages.runs import compare
from mlops_core.workspace.records import RunRecord, RunStatus

ACC = Metric(name="acc", section="s", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)


@pytest.fixture
def run(tmp_path):
    def make(number, *, acc, test_set="same", use_case="TOY"):
        record = RunRecord(
            run_id=f"r{number}",
            use_case=use_case,
            plugin="p 1",
            runner="local",
            status=RunStatus.ACCEPTED,
            created="",
            seed=number,
            parameters={},
            config="",
            pipeline={},
        )
        report = MetricReport(
            values={"acc": MetricValue(value=acc, low=acc, high=acc, method="wilson")}, notes={TEST_SET_NOTE: test_set}
        )
        facts = RunFacts(record=record, metrics=(ACC,), evaluation=report, folder=tmp_path)
        return compare.ComparedRun(
            name=f"{number}: r{number}",
            number=number,
            facts=facts,
            settings={"seed": str(number)},
            metrics={"acc": acc},
        )

    return make


def test_the_best_run_is_marked_where_all_may_be_compared(run):
    runs = [run(1, acc=0.5), run(2, acc=0.7)]
    assert "The run with the best acc, 2: r2, is in front." in compare._parallel(runs, ["acc"], ["seed"]).html
    assert "not comparable" not in compare._values(runs, ["acc"], ["seed"]).html


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"test_set": "other"}, "one was evaluated on another test set than the other"),
        ({"test_set": ""}, "it is not known on which test set they were evaluated"),
        ({"use_case": "OTHER"}, "they belong to different use cases, TOY and OTHER"),
    ],
)
def test_no_run_is_the_best_where_two_may_not_be_compared(run, other, reason):
    runs = [run(1, acc=0.5), run(2, acc=0.6), run(3, acc=0.7, **other)]
    assert "best" not in compare._parallel(runs, ["acc"], ["seed"]).html
    assert f"acc: not comparable between all runs: {reason}." in compare._values(runs, ["acc"], ["seed"]).html
