"""Predictions are those of all test samples of the split, each once, or each missing one has a reason."""

import pytest

from mlops_core import DatasetError, Prediction, Predictions, SplitRow, row_digest, write_left_out, write_split
from mlops_core.evaluation.coverage import (
    ManifestFacts,
    check_coverage,
    check_no_repetition,
    digest_test_content,
    facts_of_note,
    facts_to_note,
    find_manifests,
    read_left_out,
    read_manifest_facts,
)


def manifest(folder, *rows, columns=("fold",)):
    """Write a split of rows given as (sample, part, fold)."""
    folder.mkdir(exist_ok=True)
    write_split(
        folder,
        [
            SplitRow(
                sample=sample,
                group=sample,
                label="x",
                part=part,
                digest=row_digest([sample]),
                columns={"fold": fold} if columns else {},
            )
            for sample, part, fold in rows
        ],
    )
    return folder


@pytest.fixture
def single(tmp_path):
    return {"split.split": manifest(tmp_path / "a", ("t", "train", ""), ("v", "validation", ""), *TESTED)}


TESTED = (("one", "test", ""), ("two", "test", ""))


def predicted(*names, part=0, model=""):
    rows = [Prediction(sample=name, group="g", label="x", scores=(1.0,), part=part, model=model) for name in names]
    return Predictions(classes=("x",), rows=tuple(rows))


def test_predictions_of_all_test_samples_are_accepted_in_any_order(single):
    check_coverage(predicted("two", "one"), single, left_out={})
    check_coverage(predicted("one", "one", "two"), single, left_out={})  # parts of a sample


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("one", "two", "t"),
            "predicted sample 't' is in the split as train; expected predictions of the test",
        ),
        (("one", "v", "two"), "predicted sample 'v' is in the split as validation"),
        (("one", "two", "three"), r"predicted sample 'three' is not in split\.split"),
        (("fold//one", "two"), r"predicted sample 'fold//one' is not in split\.split"),
        (("two",), r"test sample 'one' of split\.split has no prediction; .* mlops_core\.write_left_out"),
        ((), r"test sample 'one' \(and 1 more\) of split\.split has no prediction"),
    ],
)
def test_other_samples_and_missing_ones_are_refused(single, names, message):
    with pytest.raises(DatasetError, match=message):
        check_coverage(predicted(*names), single, left_out={})


def test_predictions_of_another_model_do_not_replace_those_of_the_evaluated_one(single):
    rows = (*predicted("one", "two", model="float").rows, *predicted("one").rows)
    with pytest.raises(DatasetError, match="test sample 'two'"):
        check_coverage(Predictions(classes=("x",), rows=rows), single, left_out={})


def test_a_sample_may_be_left_out_with_a_reason(single, tmp_path):
    write_left_out(tmp_path, {"two": "silence\nonly"})
    left_out = read_left_out(tmp_path)
    assert left_out == {"two": "silence only"}
    check_coverage(predicted("one"), single, left_out=left_out)
    with pytest.raises(DatasetError, match="test sample 'two' has a prediction, but left_out.csv says"):
        check_coverage(predicted("one", "two"), single, left_out=left_out)
    with pytest.raises(DatasetError, match="predicted sample 'three' is not in"):
        check_coverage(predicted("one", "two"), single, left_out={"three": "too loud"})


@pytest.mark.parametrize("text", ["sample;reason\n", "sample,reason\none,\n", "sample,reason\none\n", "one,why\n"])
def test_a_damaged_list_of_left_out_samples_is_refused(tmp_path, text):
    (tmp_path / "left_out.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"left_out\.csv \(row \d\): .*; expected sample and reason"):
        read_left_out(tmp_path)


def test_nothing_is_written_if_nothing_is_left_out(tmp_path):
    write_left_out(tmp_path, {})
    assert read_left_out(tmp_path) == {}
    assert not list(tmp_path.iterdir())


# --- Cross-validation -----------------------------------------------------------------------------------------


@pytest.fixture
def folds(tmp_path):
    return {
        "split.fold-1": manifest(tmp_path / "1", ("a", "test", "1"), ("b", "train", "2")),
        "split.fold-2": manifest(tmp_path / "2", ("a", "train", "1"), ("b", "test", "2")),
        "split.clips": manifest(tmp_path / "c", ("a", "", "1"), ("b", "", "2"), ("c", "", "3")),
    }


@pytest.mark.parametrize("names", [("a", "b"), ("fold-1//a", "fold-2//b")])
def test_each_sample_is_predicted_once_over_the_folds(folds, names):
    check_coverage(predicted(*names), folds, left_out={})
    with pytest.raises(DatasetError, match=r"test sample 'b' of split\.fold-2 has no prediction"):
        check_coverage(predicted(names[0]), folds, left_out={})


@pytest.mark.parametrize("name", ["fold-2//a", "fold-3//a", "fold-1//c"])
def test_a_sample_of_another_fold_is_refused(folds, name):
    with pytest.raises(DatasetError, match=f"predicted sample '{name}' is"):
        check_coverage(predicted("a", "b", name), folds, left_out={})


def test_a_sample_with_two_names_is_refused(folds):
    with pytest.raises(DatasetError, match="sample 'a' is predicted as 'a' and as 'fold-1//a'; expected it once"):
        check_coverage(predicted("a", "b", "fold-1//a"), folds, left_out={})


def test_a_sample_that_two_folds_test_is_refused(folds, tmp_path):
    folds["split.fold-2"] = manifest(tmp_path / "2", ("a", "test", "1"), ("b", "test", "2"))
    with pytest.raises(DatasetError, match=r"sample 'a' is tested in split\.fold-1 and in split\.fold-2"):
        check_coverage(predicted("a", "b"), folds, left_out={})


def test_all_samples_with_a_fold_are_tested_in_a_split_without_parts(tmp_path):
    one = {"split.folds": manifest(tmp_path / "a", ("a", "", "1"), ("b", "", "2"), ("never", "", ""))}
    check_coverage(predicted("a", "b"), one, left_out={})
    with pytest.raises(DatasetError, match="'never' is in the split as no part"):
        check_coverage(predicted("a", "b", "never"), one, left_out={})


def test_a_split_without_test_samples_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"split\.split: the split has no test sample"):
        check_coverage(predicted("a"), {"split.split": manifest(tmp_path / "a", ("a", "train", ""))}, left_out={})


# --- Repetitions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("a", "a", "b"), ("b", "a", "b"), ("a", "b", "c", "a")])
def test_a_sample_that_is_predicted_twice_is_refused(names):
    with pytest.raises(DatasetError, match=f"sample '{max(names, key=names.count)}' is predicted twice; expected each"):
        check_no_repetition(predicted(*names))


def test_parts_and_models_are_no_repetitions():
    rows = (*predicted("a", "b").rows, *predicted("a", part=1).rows, *predicted("a", model="float").rows)
    check_no_repetition(Predictions(classes=("x",), rows=rows))
    with pytest.raises(DatasetError, match="sample 'a', part 1 is predicted twice"):
        check_no_repetition(Predictions(classes=("x",), rows=(*rows, *predicted("a", part=1).rows)))


# --- What is recorded -----------------------------------------------------------------------------------------


def test_equal_manifests_count_once(tmp_path):
    copy = manifest(tmp_path / "model", *TESTED)
    (tmp_path / "other").mkdir()
    folders = {"split.split": manifest(tmp_path / "a", *TESTED), "train.model": copy, "x.y": tmp_path / "other"}
    assert list(find_manifests(folders)) == ["split.split"]


def test_facts_survive_a_round_trip_and_damaged_notes_have_none(single):
    facts = {name: read_manifest_facts(folder) for name, folder in single.items()}
    assert dict(facts["split.split"].parts) == {"test": 2, "train": 1, "validation": 1}
    assert facts_of_note(facts_to_note(facts)) == facts
    assert all(isinstance(one, ManifestFacts) for one in facts.values())
    for note in (None, "", "[]", '{"a": 1}', '{"a": {"digest": "x"}}', 3):
        assert facts_of_note(note) == {}


def test_the_digest_of_the_test_content_does_not_depend_on_the_other_parts(single, tmp_path):
    digest = digest_test_content(single.values())
    other = manifest(tmp_path / "b", ("two", "test", ""), ("one", "test", ""), ("v", "train", ""), columns=())
    assert digest_test_content([other]) == digest
    more = manifest(tmp_path / "c", *TESTED, ("v", "test", ""))
    assert digest_test_content([more]) != digest
    text = (single["split.split"] / "split.csv").read_text()
    (single["split.split"] / "split.csv").write_text(text.replace(row_digest(["one"]), "0" * 64))
    assert digest_test_content(single.values()) != digest


def test_without_digests_the_test_content_is_unknown(tmp_path):
    (tmp_path / "split.csv").write_text("sample,group,label,part\na,a,x,test\n")
    assert digest_test_content([tmp_path]) == ""
