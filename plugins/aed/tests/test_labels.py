"""Labels of FSD50K by the ontology, of any table, of folders; the class 'other'; several labels; splits of each."""

import csv
import json
import logging

import pytest
from mlops_aed.config import AedConfig, DatasetSection
from mlops_aed.data import fsd50k
from mlops_aed.data.catalogue import DATASETS
from mlops_aed.data.clips import clip_path
from mlops_aed.data.labels import read_labels
from mlops_aed.data.splitting import assign_parts
from mlops_aed.data.synthetic import SOUNDS
from mlops_aed.data.synthetic_fsd50k import generate

from mlops_core import DatasetError, SplitSource, load_use_case

LOG = logging.getLogger("test")
PARENTS = {
    "animal": frozenset(),
    "dog": frozenset({"animal"}),
    "bark": frozenset({"dog"}),
    "growl": frozenset({"dog", "threat"}),
    "threat": frozenset(),
    "rain": frozenset(),
}


@pytest.fixture(scope="module")
def fsd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fsd50k")
    generate(folder, seed=0, progress=lambda *_: None)
    return folder


def truth(folder, name):
    with (folder / "FSD50K.ground_truth" / f"{name}.csv").open() as stream:
        return list(csv.DictReader(stream))


def named(*labels):
    return {label: label for label in labels}


@pytest.mark.parametrize(
    ("labels", "chosen", "expected"),
    [
        (("bark", "dog", "animal"), None, "bark"),
        (("dog", "animal"), None, "dog"),
        (("bark", "dog", "animal", "rain"), None, None),
        (("bark", "dog", "animal"), ("animal", "rain"), "animal"),
        (("bark", "dog", "animal"), ("animal", "dog"), "dog"),
        (("bark", "dog", "animal"), ("rain",), "bark"),
        (("growl", "dog", "threat", "animal"), ("dog", "threat"), None),
        (("bark", "growl", "dog", "threat", "animal"), ("rain",), None),
    ],
)
def test_a_clip_has_one_label_if_all_others_are_its_ancestors(labels, chosen, expected):
    assert fsd50k.single_label(named(*labels), PARENTS, chosen=chosen) == expected


def test_clips_of_several_sounds_are_left_out_and_parts_are_the_publishers(fsd, caplog):
    with caplog.at_level(logging.INFO):
        clips = read_labels(fsd, DatasetSection(), LOG)
    rows = truth(fsd, "dev") + truth(fsd, "eval")
    assert len(rows) == 170
    assert 0 < len(rows) - len(clips) < 60
    assert f"{len(rows) - len(clips)} of 170 clips hold several sounds" in caplog.text
    assert {clip.label for clip in clips} == set(SOUNDS)
    by_name = {row["fname"]: row for row in rows}
    for clip in clips:
        assert clip.label in by_name[clip.group]["labels"].split(",")
        assert clip_path(fsd, clip.name).is_file()
    parted = assign_parts(clips, DatasetSection(), seed=0)
    assert {clip.group for clip in parted if clip.part == "test"} <= {row["fname"] for row in truth(fsd, "eval")}
    assert {clip.group for clip in parted if clip.part == "validation"} == {
        row["fname"] for row in truth(fsd, "dev") if row["split"] == "val"
    } & {clip.group for clip in clips}


def test_a_chosen_class_includes_its_descendants(fsd):
    clips = read_labels(fsd, DatasetSection(class_names=("water", "machine")), LOG)
    rows = {row["fname"]: row["labels"].split(",") for row in truth(fsd, "dev") + truth(fsd, "eval")}
    assert {clip.label for clip in clips} == {"water", "machine"}
    assert {"rain", "waves"} <= {label for clip in clips for label in rows[clip.group] if clip.label == "water"}


def test_clips_of_other_classes_become_other(fsd):
    settings = DatasetSection(class_names=("rain", "knock"), use_garbage_class=True, n_samples_per_garbage_class=3)
    clips = read_labels(fsd, settings, LOG, seed=1)
    others = [clip for clip in clips if clip.label == "other"]
    assert len(others) == 3 * (len(SOUNDS) - 2)
    assert clips == read_labels(fsd, settings, LOG, seed=1)
    assert clips != read_labels(fsd, settings, LOG, seed=2)
    automatic = read_labels(fsd, settings.model_copy(update={"n_samples_per_garbage_class": None}), LOG)
    counts = {label: sum(clip.label == label for clip in automatic) for label in ("rain", "knock", "other")}
    assert abs(counts["other"] - (counts["rain"] + counts["knock"]) / 2) <= 4


def test_a_clip_may_keep_all_its_labels(fsd):
    settings = DatasetSection(multi_label=True, class_names=tuple(SOUNDS))
    clips = read_labels(fsd, settings, LOG)
    assert len(clips) == 170
    assert max(len(clip.labels) for clip in clips) == 2
    rows = {row["fname"]: row["labels"].split(",") for row in truth(fsd, "dev") + truth(fsd, "eval")}
    assert all(set(clip.labels) == set(rows[clip.group]) & set(SOUNDS) for clip in clips)
    assert len(assign_parts(clips, settings, seed=0)) == 170


def test_a_missing_ontology_is_refused_with_its_address(fsd, tmp_path):
    (tmp_path / "o.json").write_text("[]")
    for ontology, message in (
        ("none.json", "get ontology.json from https"),
        (str(tmp_path / "o.json"), "the ontology has no class"),
    ):
        with pytest.raises(DatasetError, match=message):
            read_labels(fsd, DatasetSection(ontology=ontology), LOG)


def test_a_ground_truth_that_is_damaged_is_refused(tmp_path):
    generate(tmp_path, seed=0, progress=lambda *_: None)
    table = tmp_path / "FSD50K.ground_truth" / "dev.csv"
    text = table.read_text()
    table.write_text(text.replace("labels", "lables", 1))
    with pytest.raises(DatasetError, match=r"lacks the column\(s\) labels"):
        read_labels(tmp_path, DatasetSection(), LOG)
    table.write_text(text.replace('"/g/', '"/g/x,/g/', 1))
    with pytest.raises(DatasetError, match="labels, but . mids"):
        read_labels(tmp_path, DatasetSection(), LOG)


def table(folder, rows, *, header="filename,category", audio="sounds"):
    (folder / audio).mkdir(parents=True)
    (folder / "labels.csv").write_text(header + "\n" + "\n".join(",".join(row) for row in rows) + "\n")
    for row in rows:
        name = row[0] if "." in row[0] else f"{row[0]}.wav"
        (folder / audio / name).touch()
    return folder


def test_any_table_for_any_folder_is_read(tmp_path):
    folder = table(tmp_path, [(f"{label}{n}", label) for label in "ab" for n in range(20)])
    settings = DatasetSection(csv="labels.csv", audio="sounds")
    clips = read_labels(folder, settings, LOG)
    assert clips[0].name == "sounds/a0.wav"
    assert clip_path(folder, clips[0].name).is_file()
    parted = assign_parts(clips, settings, seed=0)
    counts = {part: sum(clip.part == part for clip in parted) for part in ("train", "validation", "test")}
    assert counts == {"test": 8, "validation": 6, "train": 26}


def test_a_tables_recordings_folds_and_parts_are_respected(tmp_path):
    rows = [(f"{label}{n}.wav", label, str(n % 3 + 1), f"{label}{n // 2}") for label in "ab" for n in range(18)]
    folder = table(tmp_path / "a", rows, header="filename,category,fold,src_file")
    settings = DatasetSection(csv="labels.csv", audio="sounds", strategy="group")
    parted = assign_parts(read_labels(folder, settings, LOG), settings, seed=0)
    assert all(len({clip.part for clip in parted if clip.group == group}) == 1 for group in {c.group for c in parted})
    rows = [(f"{label}{n}.wav", label, ("train", "val", "test")[n % 3]) for label in "ab" for n in range(9)]
    folder = table(tmp_path / "b", rows, header="filename,category,split")
    parted = assign_parts(read_labels(folder, settings, LOG), settings, seed=0)
    assert {clip.name: clip.part for clip in parted}["sounds/a1.wav"] == "validation"


def test_random_rows_ignore_recordings_on_purpose(tmp_path):
    rows = [(f"{label}{n}.wav", label, "1", label) for label in "ab" for n in range(20)]
    folder = table(tmp_path, rows, header="filename,category,fold,src_file")
    settings = DatasetSection(csv="labels.csv", audio="sounds", strategy="random")
    assert {clip.part for clip in assign_parts(read_labels(folder, settings, LOG), settings, seed=0)} == {
        "train",
        "validation",
        "test",
    }


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("a.wav", "x", "one")], "filename,category,fold", "row 2: fold: 'one' is not a whole number"),
        (
            [("a.wav", "x", "1"), ("b.wav", "y", "")],
            "filename,category,fold",
            "row 3: fold is empty, which other rows have",
        ),
        ([("a.wav", "")], "filename,category", "row 2: filename or category is empty"),
        ([("a.wav", "x", "dev")], "filename,category,split", "unknown split 'dev'; expected train"),
        ([("a.wav", "x|y")], "filename,category", "holds '|'"),
        ([("a.wav", "x")], "sep=;\nfilename;category", "row 1: the line 'sep=' is for Excel and no header; remove it"),
        ([("a.wav", "x")], "filename,klass", "lacks the column"),
    ],
)
def test_a_wrong_table_is_refused_with_its_row(tmp_path, rows, header, message):
    folder = table(tmp_path, rows, header=header)
    with pytest.raises(DatasetError) as error:
        read_labels(folder, DatasetSection(csv="labels.csv", audio="sounds"), LOG)
    assert message in str(error.value)


def test_folds_with_a_decimal_place_and_rows_with_a_part_in_place_of_a_fold_are_read(tmp_path):
    rows = [
        ("a.wav", "x", "1.0", ""),
        ("b.wav", "y", "2.0", ""),
        ("c.wav", "y", "", "test"),
        ("d.wav", "x", "", "test"),
    ]
    folder = table(tmp_path, rows, header="filename,category,fold,split")
    settings = DatasetSection(csv="labels.csv", audio="sounds")
    assert [clip.fold for clip in read_labels(folder, settings, LOG)] == [1, 2, 0, 0]


def test_a_part_for_some_rows_is_kept_where_the_others_have_a_fold(tmp_path):
    rows = [
        (f"{label}{n}.wav", label, ("1", "2", "")[n % 3], ("", "", "test")[n % 3]) for label in "ab" for n in range(9)
    ]
    folder = table(tmp_path, rows, header="filename,category,fold,split")
    settings = DatasetSection(csv="labels.csv", audio="sounds", validation_fold=2)
    parted = assign_parts(read_labels(folder, settings, LOG), settings, seed=0)
    assert [clip.part for clip in parted] == ["train", "validation", "test"] * 6
    wrong = settings.model_copy(update={"test_fold": 1})
    with pytest.raises(DatasetError, match=r"12 of 18 clips have no part.*no dataset\.test_fold"):
        assign_parts(read_labels(folder, wrong, LOG), wrong, seed=0)


def test_a_part_for_some_rows_only_is_refused(tmp_path):
    rows = [(f"{label}{n}.wav", label, ("train", "test", "")[n % 3]) for label in "ab" for n in range(9)]
    folder = table(tmp_path, rows, header="filename,category,split")
    settings = DatasetSection(csv="labels.csv", audio="sounds")
    with pytest.raises(DatasetError, match="6 of 18 clips have no part, which the others have: sounds/a2"):
        assign_parts(read_labels(folder, settings, LOG), settings, seed=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4" + bytes(60), "is a zip archive or a spreadsheet (.xlsx); expected comma-separated values"),
        (b"\x1f\x8b\x08" + bytes(60), "is compressed by gzip"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a pointer of Git LFS; get the content with: git lfs pull",
        ),
        (b"<!DOCTYPE html><title>Sign in</title>", "is a web page; download the file itself"),
    ],
)
def test_a_file_that_is_no_table_is_called_what_it_is(tmp_path, content, message):
    folder = table(tmp_path, [("a.wav", "x")], header="filename,category")
    (folder / "labels.csv").write_bytes(content)
    with pytest.raises(DatasetError) as error:
        read_labels(folder, DatasetSection(csv="labels.csv", audio="sounds"), LOG)
    assert message in str(error.value)


def test_empty_lines_before_the_header_are_skipped(tmp_path):
    folder = table(tmp_path, [("a.wav", "x"), ("b.wav", "y")], header="\n\nfilename,category")
    assert len(read_labels(folder, DatasetSection(csv="labels.csv", audio="sounds"), LOG)) == 2


def test_folders_are_classes_if_there_is_no_table(tmp_path):
    for label in ("dog", "rain"):
        (tmp_path / label).mkdir()
        for n in range(4):
            (tmp_path / label / f"{n}.flac").touch()
    clips = read_labels(tmp_path, DatasetSection(), LOG)
    assert [clip.name for clip in clips[:2]] == ["dog/0.flac", "dog/1.flac"]
    assert {clip.label for clip in clips} == {"dog", "rain"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.use_garbage_class=true", "use_garbage_class: needs class_names"),
        ("dataset.only_keep_monolabel=false", "needs multi_label: true"),
        ("dataset.strategy=rows", "fold.*group.*random"),
    ],
)
def test_options_that_exclude_each_other_are_refused(override, message):
    with pytest.raises(Exception, match=message):
        load_use_case("AED").load_config(overrides=[override])


def test_the_catalogue_fetches_all_of_fsd50k_with_a_checksum_for_each_file():
    entry = next(dataset for dataset in DATASETS if dataset.name == "FSD50K")
    sources = [part for source in entry.sources for part in getattr(source, "parts", (source,))]
    assert len(sources) == 10
    assert all(source.size and (source.md5 or source.sha256) for source in sources)
    assert sum(source.size for source in sources) == entry.size_bytes
    for source in entry.sources:
        if isinstance(source, SplitSource):
            assert source.parts[-1].url.endswith(".zip")
            assert [part.url[-3:] for part in source.parts[:-1]] == [f"z{n:02d}" for n in range(1, len(source.parts))]
    assert json.dumps(AedConfig().dataset.model_dump())
