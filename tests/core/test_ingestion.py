"""From what arrived to the data set: archives, annotations by several people, conflicts, and hostile input."""

import itertools
import json
import zipfile

import pytest

from mlops_core.datasets.digests import digest_tree
from mlops_core.datasets.ingestion import LabelTable, ingest, read_annotations, resolve_annotations
from mlops_core.errors import DatasetError

CLASSES = ("forest", "sea")


@pytest.fixture
def scenes(tmp_path):
    folder = tmp_path / "scenes"
    for label, number in itertools.product(CLASSES, range(3)):
        path = folder / "seg_train" / label / f"{label}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{label} {number}")
    return folder


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    return folder


def write(notes, name, *rows):
    (notes / name).write_text("\n".join(("sample,label,at,by,file", *rows)) + "\n")


def labels(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*.png")}


def test_an_archive_and_a_folder_of_the_same_files_are_the_same_data_set(scenes, tmp_path):
    archive = tmp_path / "delivery" / "intel.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in scenes.rglob("*.png"):
            file.write(path, path.relative_to(scenes))
    results = [
        ingest(source, tmp_path / f"out-{number}") for number, source in enumerate((archive, archive.parent, scenes))
    ]
    assert {each.digest for each in results} == {digest_tree(scenes)}
    assert results[0].files == 6


def test_the_last_annotation_by_time_holds_whatever_the_order_of_files_and_zones(scenes, notes, tmp_path):
    write(notes, "b.csv", "seg_train/sea/sea-0.png,sea,2026-01-01T11:30:00+01:00,ann,")
    write(notes, "a.csv", "seg_train/sea/sea-0.png,forest,2026-01-01T11:00:00Z,bob,")
    (notes / "c.jsonl").write_text(
        json.dumps({"sample": "seg_train/sea/sea-1.png", "label": "sea", "at": "2026-01-01T00:00:00Z", "x": 1}) + "\n"
    )
    result = ingest(scenes, tmp_path / "out", annotations=notes)
    assert result.changes.corrected == ("seg_train/sea/sea-0.png",)
    assert result.changes.confirmed == ("seg_train/sea/sea-1.png",)
    assert (tmp_path / "out" / "seg_train" / "forest" / "sea-0.png").read_text() == "sea 0"
    assert [str(each) for each in result.conflicts] == [
        "seg_train/sea/sea-0.png: 'forest' (a.csv:2) holds instead of 'sea' by ann (b.csv:2)"
    ]
    assert result.digest == digest_tree(tmp_path / "out")
    assert result.source_digest == digest_tree(scenes)


def test_a_tie_is_listed_and_the_later_file_holds(notes):
    write(notes, "a.csv", "s,x,2026-01-01T00:00:00Z,ann,")
    write(notes, "b.csv", "s,y,2026-01-01T00:00:00Z,bob,")
    held, conflicts = resolve_annotations(read_annotations(notes))
    assert held["s"].label == "y"
    assert conflicts[0].is_tie
    assert "at the same moment" in str(conflicts[0])


def test_new_samples_and_new_labels_are_added(scenes, notes, tmp_path):
    (notes / "files").mkdir()
    (notes / "files" / "new.png").write_text("street 0")
    write(
        notes, "a.csv",
        "seg_train/street/street-0.png,street,2026-01-01T00:00:00Z,ann,files/new.png",
        "seg_train/sea/sea-2.png,street,2026-01-01T00:00:00Z,ann,",
    )  # fmt: skip
    result = ingest(scenes, tmp_path / "out", annotations=notes)
    assert result.changes.added == ("seg_train/street/street-0.png",)
    assert labels(tmp_path / "out") >= {"seg_train/street/street-0.png", "seg_train/street/sea-2.png"}
    assert "seg_train/sea/sea-2.png" not in labels(tmp_path / "out")


def test_two_samples_of_one_name_can_change_places(tmp_path, notes):
    for label in CLASSES:
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "1.png").write_text(label)
    write(notes, "a.csv", *(f"{a}/1.png,{b},2026-01-01T00:00:00Z,," for a, b in (CLASSES, CLASSES[::-1])))
    ingest(tmp_path / "data", tmp_path / "out", annotations=notes)
    assert [(tmp_path / "out" / label / "1.png").read_text() for label in CLASSES] == ["sea", "forest"]
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]


def test_a_table_of_labels_is_corrected_and_extended(tmp_path, notes):
    data = tmp_path / "data"
    data.mkdir()
    (data / "labels.csv").write_bytes(b"path;class;fold\r\na.wav;dog;1\r\nb.wav;cat;2\r\n")
    for name in ("a.wav", "b.wav"):
        (data / name).write_text(name)
    (notes / "c.wav").write_text("c.wav")
    write(notes, "n.csv", "a.wav,cat,2026-01-01T00:00:00Z,,", "c.wav,dog,2026-01-01T00:00:00Z,,c.wav")
    table = LabelTable(file="labels.csv", sample="path", label="class")
    result = ingest(data, tmp_path / "out", annotations=notes, table=table)
    assert (result.changes.corrected, result.changes.added) == (("a.wav",), ("c.wav",))
    expected = b"path;class;fold\r\na.wav;cat;1\r\nb.wav;cat;2\r\nc.wav;dog;\r\n"
    assert (tmp_path / "out" / "labels.csv").read_bytes() == expected
    assert (data / "labels.csv").read_bytes().startswith(b"path;class;fold\r\na.wav;dog")


@pytest.mark.parametrize(("row", "words"), [
    ("seg_train/sea/sea-9.png,sea,2026-01-01T00:00:00Z,,", "has no sample seg_train/sea/sea-9.png"),
    ("seg_train/sea/sea-0.png,forrest,2026-01-01T00:00:00Z,,", "did you mean 'forest'?"),
    ("seg_train/sea/sea-0.png,../forest,2026-01-01T00:00:00Z,,", "is not a label"),
    ("../sea-0.png,sea,2026-01-01T00:00:00Z,,", "leaves its folder"),
    ("/etc/passwd,sea,2026-01-01T00:00:00Z,,", "leaves its folder"),
    ("seg_train/sea/new.png,sea,2026-01-01T00:00:00Z,,../../secret", "leaves its folder"),
    ("seg_train/sea/new.png,sea,2026-01-01T00:00:00Z,,missing.png", "no file missing.png"),
    ("seg_train/sea/sea-0.png,sea,2026-01-01T00:00:00,,", "a time with a zone"),
    ("seg_train/sea/sea-0.png,sea,,,", "no at"),
])  # fmt: skip
def test_an_annotation_that_does_not_fit_is_refused_with_file_and_line(scenes, notes, tmp_path, row, words):
    write(notes, "ann.csv", row)
    with pytest.raises(DatasetError, match="ann.csv:2") as caught:
        ingest(scenes, tmp_path / "out", annotations=notes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_that_leaves_its_folder_is_refused_in_one_line(tmp_path):
    archive = tmp_path / "intel.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../outside.png", "x")
    with pytest.raises(DatasetError) as caught:
        ingest(archive, tmp_path / "out")
    assert "outside.png" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "outside.png").exists()


def test_an_empty_or_missing_source_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, words in (("empty", "holds no files"), ("missing", "no file or folder")):
        with pytest.raises(DatasetError, match=words):
            ingest(tmp_path / name, tmp_path / f"out-{name}")
