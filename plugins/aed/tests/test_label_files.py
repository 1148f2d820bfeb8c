"""Tables and folders as people have them: encodings, short rows, names with dots, other cases, folds, tool files."""

import logging
import os
import unicodedata

import pytest
from mlops_aed.config import DatasetSection
from mlops_aed.data.clip_files import list_files, unused_findings
from mlops_aed.data.clips import clip_path
from mlops_aed.data.folder_labels import known_folds
from mlops_aed.data.labels import read_labels

from mlops_core import DatasetError

LOG = logging.getLogger("test")
TABLE = DatasetSection(csv="labels.csv", audio="sounds")
NFC, NFD = (unicodedata.normalize(form, "geräusch") for form in ("NFC", "NFD"))


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def folder_with(tmp_path, content, *names):
    """Return a folder with a table of the given bytes, and files in ``sounds``."""
    (tmp_path / "labels.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    touch(tmp_path, *(f"sounds/{name}" for name in names))
    return tmp_path


def labels_of(folder, settings=None):
    return {clip.name: clip.label for clip in read_labels(folder, settings or DatasetSection(), LOG)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "filename,category\na,x\nb,Geräusch\n".encode("cp1252"),
            "row 3: the encoding is not UTF-8 (in cp1252 the row",
        ),
        ("filename,category\na,x\n".encode("utf-16"), "row 1: the encoding is UTF-16; expected UTF-8"),
        ("filename,category\na,x\n".encode("utf-16-le"), "row 1: the encoding is UTF-16; expected UTF-8"),
        ("filename,category\na,x\n".encode("utf-32"), "row 1: the encoding is UTF-32; expected UTF-8"),
        ("filename,category\na,x\n".encode("utf-32-be"), "row 1: the encoding is UTF-32; expected UTF-8"),
        ("filename,category\na\0,x\nb,y\nc,z\n", "row 2 holds a byte 0"),
        ('filename,category\na,"x\nb,y\n', "row 2: unexpected end of data"),
        ('filename,category\na,x\n"b" ,y\n', "row 3: ',' expected after"),
        ("filename,category\na,x\nb\n", "row 3 has 1 of 2 cells; it lacks category"),
        ("filename,category,fold\na,x,1\nb,y\n", "row 3 has 2 of 3 cells; it lacks fold"),
        ("filename,category\na,x\nb,dog, loud\n", "row 3 has 3 cells, the header 2; put a text with commas in quotes"),
        ("filename;category\na;x\n", "row 1: the columns are separated by ';'; expected commas"),
        ("filename\tcategory\na\tx\n", "row 1: the columns are separated by tabs"),
        ("filename,category\n", "lists no clips"),
        ("", "lacks the column(s) filename, category"),
        (b"filename,category\n" + b"a,x\n" * 100 + b"b,\0\n", "row 102 holds a byte 0"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_row(tmp_path, content, message):
    folder = folder_with(tmp_path, content, "a.wav", "b.wav")
    with pytest.raises(DatasetError) as caught:
        read_labels(folder, TABLE, LOG)
    assert message in str(caught.value)
    assert str(folder / "labels.csv") in str(caught.value)


def test_a_table_of_esc_50_and_of_fsd50k_is_read_by_the_same_rules(tmp_path):
    for path, header in (
        ("meta/esc50.csv", "filename,fold,category,src_file"),
        ("FSD50K.ground_truth/dev.csv", "fname,labels,mids"),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(f"{header}\na,é\n".encode("cp1252"))
        with pytest.raises(DatasetError, match=r"row 2: the encoding is not UTF-8"):
            read_labels(tmp_path, DatasetSection(), LOG)
        (tmp_path / path).unlink()


def test_blank_rows_and_empty_further_cells_are_no_fault(tmp_path):
    folder = folder_with(tmp_path, "\ufefffilename , category\na,x,,\n,\n\nb,y\n", "a.wav", "b.wav")
    assert labels_of(folder, TABLE) == {"sounds/a.wav": "x", "sounds/b.wav": "y"}


def test_marks_of_byte_order_before_the_header_are_no_part_of_it(tmp_path):
    folder = folder_with(tmp_path, "\ufeff\ufefffilename,category\na,x\nb,y\n", "a.wav", "b.wav")
    assert set(labels_of(folder, TABLE).values()) == {"x", "y"}


def test_a_dot_in_a_name_is_not_an_extension(tmp_path):
    rows = "filename,category\nrat00_4.1,x\nrat00_4.2.wav,y\nraw.bin,x\n"
    folder = folder_with(tmp_path, rows, "rat00_4.1.wav", "rat00_4.2.wav", "raw.bin")
    assert set(labels_of(folder, TABLE)) == {"sounds/rat00_4.1.wav", "sounds/rat00_4.2.wav", "sounds/raw.bin"}


def test_another_case_or_normal_form_of_a_name_is_found(tmp_path):
    rows = f"filename,category\nA.wav,x\nb.WAV,y\n{NFC},x\nsub\\d.wav,y\n"
    folder = folder_with(tmp_path, rows, "a.WAV", "b.wav", f"{NFD}.wav", "sub/d.wav")
    found = labels_of(folder, TABLE)
    assert set(found) == {"sounds/a.WAV", "sounds/b.wav", f"sounds/{NFD}.wav", "sounds/sub/d.wav"}
    assert all(clip_path(folder, name).is_file() for name in found)


@pytest.mark.parametrize(
    ("row", "files", "hint"),
    [
        ("a.wav", ("a.ogg",), "sounds/a.wav (there is sounds/a.ogg)"),
        ("a.wav", ("A.wav", "a.WAV"), "(there is sounds/A.wav and sounds/a.WAV)"),
        ("a", ("sub/a.flac",), "(there is sounds/sub/a.flac)"),
        ("a.wav", ("b.wav",), "sounds/a.wav"),
    ],
)
def test_a_name_without_a_file_is_refused_with_similar_ones(tmp_path, row, files, hint):
    folder = folder_with(tmp_path, f"filename,category\n{row},x\n", *files)
    with pytest.raises(DatasetError) as caught:
        read_labels(folder, TABLE, LOG)
    assert str(caught.value).endswith(hint)


def test_class_names_are_equal_in_any_normal_form(tmp_path):
    touch(tmp_path / "a", f"{NFD}/1.wav", f"{NFC}/2.wav", "rain/3.wav")
    assert set(labels_of(tmp_path / "a").values()) == {NFC, "rain"}
    chosen = DatasetSection(csv="labels.csv", audio="sounds", class_names=(NFD, "rain"))
    (tmp_path / "b").mkdir()
    folder = folder_with(tmp_path / "b", f"filename,category\n1,{NFC}\n2,rain\n", "1.wav", "2.wav")
    assert set(labels_of(folder, chosen).values()) == {NFC, "rain"}


def test_files_of_tools_are_skipped_with_a_note(tmp_path, caplog):
    touch(tmp_path, "dog/1.wav", "rain/1.wav", "dog/._1.wav", "rain/.ipynb_checkpoints/1.wav", ".thumbnails/1.wav")
    touch(tmp_path, "@eaDir/1.wav", "__MACOSX/dog/._1.wav")
    with caplog.at_level(logging.INFO):
        clips = read_labels(tmp_path, DatasetSection(), LOG)
    assert [clip.name for clip in clips] == ["dog/1.wav", "rain/1.wav"]
    assert "5 hidden or tool files skipped" in caplog.text
    (finding,) = unused_findings(clips, list_files(tmp_path))
    assert (str(finding.level), finding.check) == ("note", "hidden and tool files")


def test_audio_that_is_not_used_is_reported(tmp_path):
    touch(tmp_path, "dog/1.wav", "rain/1.AU", "dog/2.m4a", "rain/2.wma", "rain/notes.txt", "loose.wav")
    clips = read_labels(tmp_path, DatasetSection(), LOG)
    assert [clip.name for clip in clips] == ["dog/1.wav", "rain/1.AU"]
    other, unused = unused_findings(clips, list_files(tmp_path))
    assert other.message == "2 audio files cannot be decoded and are not used: .m4a (1), .wma (1)"
    assert unused.samples == ("loose.wav",)


@pytest.mark.skipif(os.name != "posix", reason="names of files are text elsewhere")
def test_a_name_whose_bytes_are_not_text_is_refused(tmp_path):
    touch(tmp_path, "dog/1.wav", "rain/1.wav")
    os.close(os.open(os.fsencode(tmp_path) + b"/dog/caf\xe9.wav", os.O_CREAT))
    with pytest.raises(DatasetError, match=r"1 file name\(s\) in .* are not UTF-8: dog/caf\\xe9\.wav"):
        read_labels(tmp_path, DatasetSection(), LOG)


def urban(folder):
    """Files named as in UrbanSound8K: recording-class-occurrence-slice."""
    names = [
        f"fold{fold}/{fold}00{label}-{label}-0-{part}.wav" for fold in (1, 2, 10) for label in (1, 3) for part in (0, 1)
    ]
    touch(folder, *names)
    return folder


@pytest.mark.parametrize("place", ["audio", "."])
def test_folders_of_folds_of_urban_sound_are_folds(tmp_path, place):
    root = urban(tmp_path / "UrbanSound8K" / "audio")
    folder = root if place == "audio" else root.parent
    touch(tmp_path, "UrbanSound8K/metadata/UrbanSound8K.csv")
    clips = read_labels(folder, DatasetSection(), LOG)
    assert {clip.label for clip in clips} == {"car_horn", "dog_bark"}
    assert {clip.fold for clip in clips} == {1, 2, 10}
    assert {clip.group for clip in clips if clip.fold == 10} == {"10001", "10003"}
    assert all(clip_path(folder, clip.name).is_file() for clip in clips)
    assert known_folds(folder, None) == (1, 2, 10)


@pytest.mark.parametrize("names", [("fold1", "fold2"), ("Fold_1", "Fold_2"), ("split-1", "split-2")])
def test_folders_of_folds_with_folders_of_classes_are_folds(tmp_path, names):
    touch(tmp_path, *(f"{name}/{label}/{n}.wav" for name in names for label in ("dog", "rain") for n in range(2)))
    clips = read_labels(tmp_path, DatasetSection(), LOG)
    assert {(clip.label, clip.fold) for clip in clips} == {("dog", 1), ("dog", 2), ("rain", 1), ("rain", 2)}


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("1-100032-{take}-0.wav", "1-100038-{take}-14.wav"),
        ("100032-3-0-{number}.wav", "100038-3-0-{number}.wav"),
        ("0a7c2a8d_nohash_{number}.wav", "0b40aa8e_nohash_{number}.wav"),
    ],
    ids=["ESC-50", "UrbanSound8K", "Speech Commands"],
)
@pytest.mark.parametrize("tops", [("",), ("fold1/", "fold2/"), ("train/", "test/")])
def test_takes_of_one_recording_are_one_group_in_folders_of_classes(tmp_path, tops, one, another):
    """Each file as a group of its own would let takes of one recording, or words of one speaker, into two parts."""
    names = [name.format(take=take, number=n) for name in (one, another) for n, take in enumerate("AB")]
    touch(tmp_path, *(f"{top}{label}/{name}" for top in tops for label in ("dog", "rain") for name in names))
    clips = read_labels(tmp_path, DatasetSection(), LOG)
    assert len(clips) == 8 * len(tops)
    assert len({clip.group for clip in clips}) == 2


def test_the_lists_of_speech_commands_assign_parts_and_background_noise_is_no_class(tmp_path):
    files = [f"{word}/0a7c2a8{n}_nohash_0.wav" for word in ("yes", "no") for n in range(3)]
    touch(tmp_path, *files, "_background_noise_/pink_noise.wav")
    (tmp_path / "validation_list.txt").write_text("".join(f"{name}\n" for name in files if "a81" in name))
    (tmp_path / "testing_list.txt").write_text("".join(f"{name}\r\n" for name in files if "a82" in name))
    clips = read_labels(tmp_path, DatasetSection(), LOG)
    assert {(clip.label, clip.group, clip.part) for clip in clips} == {
        (word, f"0a7c2a8{n}", part) for word in ("yes", "no") for n, part in enumerate(("train", "validation", "test"))
    }


@pytest.mark.parametrize("row", [",1,dog,1", "a.wav,1, ,1", "a.wav,1,dog,"])
def test_a_clip_of_esc_50_without_name_class_or_recording_is_refused(tmp_path, row):
    touch(tmp_path, "audio/a.wav", "audio/b.wav")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(f"filename,fold,category,src_file\nb.wav,2,rain,2\n{row}\n")
    with pytest.raises(DatasetError, match=r"esc50\.csv, row 3: filename, category or src_file is empty"):
        read_labels(tmp_path, DatasetSection(), LOG)


def test_a_column_that_appears_twice_is_refused(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    (tmp_path / "labels.csv").write_text("filename,category,category\na.wav,dog,x\nb.wav,rain,y\n")
    with pytest.raises(DatasetError, match=r"labels\.csv, row 1: the column\(s\) category appear more than once"):
        read_labels(tmp_path, DatasetSection(csv="labels.csv"), LOG)


def test_folders_of_parts_under_other_names_are_parts(tmp_path):
    tops = ("training_set/training_set", "test_set/test_set")
    touch(tmp_path, *(f"{top}/{label}/1.wav" for top in tops for label in ("dog", "rain")))
    assert labels_of(tmp_path) == {f"{top}/{label}/1.wav": label for top in tops for label in ("dog", "rain")}


def test_folders_of_parts_with_folders_of_classes_are_parts(tmp_path):
    touch(tmp_path, *(f"{name}/{label}/1.wav" for name in ("train", "Test", "val") for label in ("dog", "rain")))
    clips = read_labels(tmp_path, DatasetSection(), LOG)
    assert {(clip.name.split("/")[0], clip.part) for clip in clips} == {
        ("train", "train"),
        ("Test", "test"),
        ("val", "validation"),
    }


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("fold1/a.wav", "fold2/b.wav"), "fold1, fold2 are folds, not classes"),
        (("train/a.wav", "test/b.wav"), "test, train are parts, not classes"),
        (("fold1/a.wav", "dog/b.wav"), "fold1 are folds or parts, beside other folders"),
        (("dog/a.wav", "rain/loud/b.wav"), "rain hold audio in folders of their own only"),
        (("audio/a.wav", "audio/b.wav"), "no audio in one folder per class"),
        (("x/dog/a.wav", "x/rain/b.wav"), "no audio in one folder per class"),
    ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path, paths, message):
    touch(tmp_path, *paths)
    with pytest.raises(DatasetError, match=message):
        read_labels(tmp_path, DatasetSection(), LOG)


def test_train_may_be_a_class_and_audio_the_folder_of_all_classes(tmp_path):
    touch(tmp_path, "audio/train/1.wav", "audio/dog/1.wav", "audio/dog/deep/2.wav")
    assert labels_of(tmp_path) == {"train/1.wav": "train", "dog/1.wav": "dog", "dog/deep/2.wav": "dog"}


def test_a_table_of_esc_50_chosen_by_name_is_that_of_esc_10(tmp_path):
    rows = "filename,category,esc10\na,dog,True\nb,rain,True\nc,cow,False\n"
    folder = folder_with(tmp_path, rows, "a.wav", "b.wav", "c.wav")
    chosen = DatasetSection(name="ESC-10", csv="labels.csv", audio="sounds")
    assert set(labels_of(folder, chosen).values()) == {"dog", "rain"}
    assert len(labels_of(folder, TABLE)) == 3


@pytest.mark.parametrize(
    ("paths", "place", "hint"),
    [
        (["ESC-50/meta/esc50.csv", "ESC-50/audio/a.wav"], "", "ESC-50 has its table of labels: set dataset.path to"),
        (["a/ESC-50/meta/esc50.csv"], "", "a/ESC-50 has its table of labels: set dataset.path to"),
        (["ESC-50/meta/esc50.csv", "ESC-50/audio/a.wav"], "ESC-50/audio", "ESC-50 has its table of labels"),
        (["FSD50K.ground_truth/dev.csv", "FSD50K.dev_audio/1.wav"], "FSD50K.dev_audio", "has its table of labels"),
        (["audio/fold1/1-2-0-0.wav"], "audio/fold1", "it is called as a fold: set dataset.path to the folder above"),
        (["data/train/a/1.wav", "data/test/a/2.wav"], "", "its only folder is data"),
    ],
)
def test_a_path_one_level_off_is_refused_with_the_folder_that_was_meant(tmp_path, paths, place, hint):
    touch(tmp_path, *paths)
    with pytest.raises(DatasetError) as caught:
        read_labels(tmp_path / place, DatasetSection(), LOG)
    assert hint in str(caught.value)


def test_the_folders_of_fsd50k_without_its_tables_are_no_classes(tmp_path):
    touch(tmp_path, *(f"FSD50K.{part}_audio/{number}.wav" for part in ("dev", "eval") for number in range(4)))
    with pytest.raises(DatasetError, match=r"FSD50K\.dev_audio, FSD50K\.eval_audio are parts, not classes"):
        read_labels(tmp_path, DatasetSection(), LOG)
