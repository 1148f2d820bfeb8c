"""Labels and groups against splits that the test plugin does not have: folds, several labels, numbers."""

import pytest

from mlops_core import SplitRow, row_digest, write_split
from mlops_core.trust.bundles.differences import _is_close
from mlops_core.trust.bundles.envelopes import EvidenceFaultError
from mlops_core.trust.bundles.split_samples import PredictedSample, compare_samples, read_bundled_split


@pytest.fixture
def splits(tmp_path):
    """Two folds of four samples, and the list of all of them, in which none has a part."""

    def write(name, parts, labels="abab"):
        folder = tmp_path / name
        folder.mkdir()
        rows = [
            SplitRow(sample=f"s{number}", group=f"g{number}", label=label, part=part, digest=row_digest([str(number)]))
            for number, (part, label) in enumerate(zip(parts, labels, strict=True))
        ]
        write_split(folder, rows)
        return read_bundled_split(folder, name)

    return write


def samples(**labels):
    return {sample: PredictedSample(groups={f"g{sample[1:]}"}, labels=set(found)) for sample, found in labels.items()}


def test_labels_of_folds_are_found_in_their_own_split(splits):
    train, test = "train", "test"
    folds = (
        splits("clips", ["", "", "", ""]),
        splits("fold-1", [test, test, train, train]),
        splits("fold-2", [train, train, test, test]),
    )
    compare_samples(samples(s0="a", s1="b", s2="a", s3="b"), folds)
    compare_samples({"fold-2//s2": PredictedSample(groups={"g2"}, labels={"a"})}, folds)
    with pytest.raises(EvidenceFaultError, match="sample 's3' has the label 'a', and 'b' in the split"):
        compare_samples(samples(s0="a", s1="b", s2="a", s3="a"), folds)


@pytest.mark.parametrize(
    ("labels", "text", "is_same"),
    [
        (["dog"], "dog", True),
        (["dog"], "cat", False),
        (["dog", "cat"], "cat|dog", True),
        (["dog"], "cat|dog", False),
        (["dog", "cow"], "cat|dog", False),
        ([7.0], "7", True),
        ([0.1 + 0.2], "0.3", True),
        ([7.0], "8", False),
        ([7.0], "seven", False),
        ([7.0, 8.0], "7", False),
    ],
)
def test_labels_are_those_of_the_split(splits, labels, text, is_same):
    split = splits("split", ["test"], labels=[text])
    found = {"s0": PredictedSample(groups={"g0"}, labels=set(labels))}
    if is_same:
        compare_samples(found, [split])
    else:
        with pytest.raises(
            EvidenceFaultError, match=f"sample 's0' has the label .*, and '{text}' in the split".replace("|", r"\|")
        ):
            compare_samples(found, [split])


def test_group_is_that_of_the_split(splits):
    split = splits("split", ["test"], labels="a")
    with pytest.raises(EvidenceFaultError, match="sample 's0' has the group 'g9', and 'g0' in the split"):
        compare_samples({"s0": PredictedSample(groups={"g9"}, labels={"a"})}, [split])


@pytest.mark.parametrize(
    ("before", "now", "is_close"),
    [
        (0.1 + 0.2, 0.3, True),
        (0.5, 0.5 + 1e-8, False),
        (None, None, True),
        (None, 0.0, False),
        (float("nan"), float("nan"), True),
        (float("nan"), 0.0, False),
        (float("inf"), float("inf"), True),
    ],
)
def test_values_may_differ_in_the_last_bits_only(before, now, is_close):
    assert _is_close(before, now) is is_close
