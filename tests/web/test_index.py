"""The index of runs: filters, sorting, and that it follows the workspace and may be lost."""

import json

import pytest

import mlops_core
from mlops_core.web.index.database import INDEX_FILE, RunIndex
from mlops_core.web.index.queries import ListedRun, RunFilter, RunOrder, SettingTest, filter_choices, list_runs
from mlops_core.workspace.store import Store


@pytest.fixture
def many(ran, workspace):
    """A workspace with 120 runs, made from one: bias 0 to 11.9, accuracy 0 to 0.99, every third failed."""
    folder = workspace / "runs" / ran.run_id
    record, evaluation = (json.loads((folder / name).read_text()) for name in ("run.json", "evaluation.json"))
    with Store(workspace) as store:
        store.runs.forget(ran.run_id)
        for number in range(120):
            run_id = f"20260101-{number:06d}-abcdef"
            new = store.runs.folder(run_id)
            (new / "logs").mkdir(parents=True)
            is_failed = number % 3 == 2
            data = {**record, "run_id": run_id, "status": "failed" if is_failed else "accepted", "duration_s": number}
            data["config"] = f"training:\n  bias: {number / 10}\n  kind: kind-{number % 4}\n"
            (new / "run.json").write_text(json.dumps(data))
            store.runs.list_again(run_id)
            if not is_failed:
                evaluation["classification_metrics"]["acc"]["value"] = number / 120
                (new / "evaluation.json").write_text(json.dumps(evaluation))
    return workspace


@pytest.fixture
def search(many):
    index = RunIndex(many)
    with Store(many) as store:
        index.attach(store)
        index.update(store)
        yield lambda **chosen: list_runs(store, RunFilter(**chosen))


def numbers(listing):
    return [int(run.run_id[9:15]) for run in listing.runs]


def test_runs_are_filtered_sorted_and_paged(search):
    everything = search()
    assert (everything.count, everything.total, len(everything.runs)) == (120, 120, 50)
    assert numbers(everything) == list(range(119, 69, -1))
    assert numbers(search(page=3)) == list(range(19, -1, -1))
    assert numbers(search(order=RunOrder.OLDEST))[:2] == [0, 1]
    assert numbers(search(order=RunOrder.LONGEST))[:2] == [119, 118]
    assert search(status="failed").count == 40
    assert search(use_case="toy").count == 120
    assert search(use_case="other").count == 0
    assert numbers(search(text="20260101-000005")) == [5]
    assert search(text="WORDS").count == 120
    assert numbers(search(metric="acc", low=0.5, high=0.51)) == [61, 60]
    assert numbers(search(order=RunOrder.METRIC_HIGH))[:3] == [118, 117, 115]
    assert numbers(search(order=RunOrder.METRIC_LOW))[:3] == [0, 1, 3]
    assert search(metric="acc", low=0.9, status="failed").count == 0


def test_settings_are_compared_as_numbers_or_as_texts(search):
    def count(test, value, key="training.bias"):
        return search(key=key, test=SettingTest(test), value=value).count

    assert count("=", "1") == count("=", "1.0") == 1
    assert count("!=", "1") == 119
    assert count(">=", "11") == 10
    assert count("<=", "0.5") == 6
    assert count("=", "kind-3", "training.kind") == 30
    assert count("contains", "ND-3", "training.kind") == 30
    assert count("=", "", "training.kind") == 120
    assert count("=", "0.5", "param.q_acc") == 120
    assert count("=", "x' OR 1=1 --") == 0
    assert search(key="nope").count == 0
    listed = search(key="training.bias", value="3").runs[0]
    assert isinstance(listed, ListedRun)
    assert (listed.setting, listed.metric, listed.value) == ("3.0", "acc", 30 / 120)


def test_the_index_follows_the_workspace(many, toy):
    index = RunIndex(many)
    with Store(many) as store:
        index.attach(store)
        assert index.count_stale(store) == 120
        assert index.update(store, limit=30) == 30
        assert numbers(list_runs(store, RunFilter(low=0.0)))[:2] == [118, 117]  # the newest come first
        assert index.update(store) == 90
        assert index.count_stale(store) == 0
        store.runs.forget("20260101-000000-abcdef")
        index.forget_removed(store)
        assert list_runs(store, RunFilter(order=RunOrder.METRIC_LOW)).total == 119
    record = mlops_core.run("TOY", workspace=many)
    with Store(many) as store:
        index.attach(store)
        assert index.count_stale(store) == 1
        index.update(store)
        assert list_runs(store, RunFilter(low=0.999)).runs[0].run_id == record.run_id
        choices = filter_choices(store)
    assert choices.use_cases == ("TOY",)
    assert choices.metrics == ("acc",)
    assert {"training.bias", "training.kind", "param.q_acc", "seed"} <= set(choices.keys)


def test_a_damaged_index_is_made_again_and_one_that_cannot_be_written_is_kept_elsewhere(many):
    (many / INDEX_FILE).write_bytes(b"no database" * 1000)
    index = RunIndex(many)
    assert index.path == many / INDEX_FILE
    with Store(many) as store:
        index.attach(store)
        assert index.update(store) == 120
    elsewhere = RunIndex(many / "mlops.db")  # a folder that cannot exist
    assert elsewhere.path.exists()
    assert not elsewhere.path.is_relative_to(many)
    elsewhere.close()
    assert not elsewhere.path.exists()
