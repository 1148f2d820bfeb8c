"""Registering models: a version per address, races, and the mark of the best version."""

import threading

import pytest
from mlops_azureml.registration import FolderModels, mark_best, register
from mlops_azureml.values.models import RegisteredModel, VersionExistsError

from mlops_core.runners import RunnerError

TAGS = {"best_model": "false", "test_set": "a"}


@pytest.fixture
def models(tmp_path):
    return FolderModels(tmp_path)


def add(models, accuracy, **tags):
    uri = f"azureml://datastores/x/paths/{len(models.versions('m'))}/"
    return register(models, name="m", uri=uri, tags={**TAGS, "acc": repr(accuracy), **tags}).version


def best(models, version, *, is_higher_better=True):
    return mark_best(models, name="m", version=version, compared_by="acc", is_higher_better=is_higher_better).version


def marked(models):
    return [each.version for each in models.versions("m") if each.is_marked_best]


def test_folder_that_is_registered_keeps_its_version(models):
    first = register(models, name="m", uri="azureml://datastores/x/paths/a", tags=TAGS)
    again = register(models, name="m", uri="azureml://datastores/x/paths/a/", tags={"other": "1"})
    assert (first.version, again) == ("1", first)
    with pytest.raises(VersionExistsError, match="model m has a version 1 of another content"):
        models.create(RegisteredModel(name="m", version="1", uri="azureml://datastores/x/paths/b"))


def test_two_processes_never_take_one_number(models):
    threads = [
        threading.Thread(target=register, args=(models,), kwargs={"name": "m", "uri": f"u{n}", "tags": TAGS})
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(int(each.version) for each in models.versions("m")) == list(range(1, 9))
    assert len({each.uri for each in models.versions("m")}) == 8


def test_new_version_is_best_only_if_it_is_strictly_better_on_the_same_test_set(models):
    assert best(models, add(models, 0.5)) == "1"
    assert best(models, add(models, 0.5)) == "1"  # a tie
    assert best(models, add(models, 0.9, test_set="b")) == "1"  # not comparable
    assert best(models, add(models, float("nan"))) == "1"
    assert best(models, add(models, 0.6)) == "5"
    assert marked(models) == ["5"]
    assert best(models, add(models, 0.4), is_higher_better=False) == "6"
    assert marked(models) == ["6"]


def test_marks_that_an_interrupted_call_left_are_put_right(models):
    for accuracy in (0.7, 0.5, 0.6):
        add(models, accuracy)
    for version in ("1", "2"):
        models.set_tags("m", version, {"best_model": "True"})
    assert best(models, "3") == "1"
    assert marked(models) == ["1"]


def test_mark_is_never_on_two_versions_and_the_second_call_repairs_a_failed_one(models):
    best(models, add(models, 0.5))
    new = add(models, 0.6)

    class Failing(FolderModels):
        def set_tags(self, name, version, tags):
            if tags["best_model"] == "true":
                raise RunnerError("the connection was lost")
            super().set_tags(name, version, tags)

    with pytest.raises(RunnerError, match="the connection was lost"):
        best(Failing(models._folder), new)
    assert marked(models) == []
    assert best(models, new) == new
    assert marked(models) == [new]


def test_version_that_was_not_registered_cannot_be_marked(models):
    with pytest.raises(RunnerError, match="model m has no version 7; register it first"):
        best(models, "7")
