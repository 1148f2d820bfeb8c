"""Labels, splits, generated data, metrics: no leaks, no dropped clips, deterministic results."""

import logging
import subprocess
import sys
from dataclasses import replace

import pytest
from mlops_aed.config import AedConfig, DatasetSection
from mlops_aed.data.clips import Clip
from mlops_aed.data.labels import read_labels
from mlops_aed.data.splitting import assign_parts, left_out_copies
from mlops_aed.data.synthetic import generate
from mlops_aed.evaluation.metrics import compute_metrics
from mlops_aed.evaluation.votes import best_class
from mlops_aed.plugin import get_pipeline_parameters

from mlops_core import ConfigError, DatasetError, Prediction, Predictions, load_use_case, row_digest
from mlops_core.datasets.digests import digest_tree

LOG = logging.getLogger("test")
HEADER = "filename,fold,target,category,esc10,src_file,take\n"


def layout(folder, rows, files=None):
    (folder / "meta").mkdir(parents=True)
    (folder / "audio").mkdir()
    text = HEADER + "".join(f"{name},{fold},0,{label},{esc10},{group},A\n" for name, fold, label, esc10, group in rows)
    (folder / "meta" / "esc50.csv").write_text(text)
    for name in files if files is not None else [row[0] for row in rows]:
        (folder / "audio" / name).touch()
    return folder


def rows(folds=(1, 2, 3), per_fold=4):
    return [
        (f"{fold}-{label}{n}.wav", fold, label, "True", f"{fold}{label}{n // 2}")
        for fold in folds
        for label in ("dog", "rain")
        for n in range(per_fold)
    ]


def clips(*args):
    return [Clip(name=name, fold=fold, label=label, group=group) for name, fold, label, _, group in rows(*args)]


def test_no_recording_is_in_two_parts_and_every_clip_has_a_part():
    parted = assign_parts(clips(), DatasetSection(), seed=0)
    assert {clip.part for clip in parted} == {"train", "validation", "test"}
    assert len(parted) == len(clips())
    for group in {clip.group for clip in parted}:
        assert len({clip.part for clip in parted if clip.group == group}) == 1
    assert {clip.fold for clip in parted if clip.part == "test"} == {3}
    assert parted == assign_parts(clips(), DatasetSection(), seed=0)


def test_a_recording_in_two_folds_is_an_error():
    leaking = [*clips(), Clip(name="x.wav", fold=3, label="dog", group="1dog0")]
    with pytest.raises(DatasetError, match="split leaks: 1 group.*'1dog0'"):
        assign_parts(leaking, DatasetSection(validation_fold=2), seed=0)


def test_a_fold_that_is_missing_is_named():
    with pytest.raises(DatasetError, match=r"dataset.test_fold: no fold 9; folds: 1, 2, 3"):
        assign_parts(clips(), DatasetSection(test_fold=9), seed=0)


def test_a_class_that_is_missing_in_a_part_is_named():
    lacking = [clip for clip in clips() if not (clip.fold == 3 and clip.label == "rain")]
    with pytest.raises(DatasetError, match="the test part has no clip of rain"):
        assign_parts(lacking, DatasetSection(), seed=0)


def test_labels_without_files_are_refused_and_files_without_labels_are_reported(tmp_path, caplog):
    names = [row[0] for row in rows()]
    with pytest.raises(DatasetError, match="2 of 24 clips .* have no file .*1-dog0.wav, 1-dog1.wav"):
        read_labels(layout(tmp_path / "a", rows(), names[2:]), DatasetSection(), LOG)
    with caplog.at_level(logging.INFO):
        read_labels(layout(tmp_path / "b", rows(), [*names, "extra.wav"]), DatasetSection(), LOG)
    assert "1 files" in caplog.text


def test_one_class_only_a_repeated_clip_and_a_wrong_layout_are_refused(tmp_path):
    one = [row for row in rows() if row[2] == "dog"]
    with pytest.raises(DatasetError, match=r"1 class\(es\) left \(dog\)"):
        read_labels(layout(tmp_path / "a", one), DatasetSection(), LOG)
    with pytest.raises(DatasetError, match="more than once: 1-dog0.wav"):
        read_labels(layout(tmp_path / "b", [*rows(), rows()[0]]), DatasetSection(), LOG)
    with pytest.raises(DatasetError, match="has no meta/esc50.csv"):
        read_labels(tmp_path, DatasetSection(), LOG)
    (tmp_path / "b" / "meta" / "esc50.csv").write_text("filename,category\n")
    with pytest.raises(DatasetError, match=r"lacks the column\(s\) fold, src_file"):
        read_labels(tmp_path / "b", DatasetSection(), LOG)


def test_esc_10_is_the_subset_and_class_names_choose(tmp_path):
    mixed = [*rows(), ("1-cat0.wav", 1, "cat", "False", "c")]
    folder = layout(tmp_path / "a", mixed)
    assert len(read_labels(folder, DatasetSection(name="ESC-10"), LOG)) == 24
    chosen = read_labels(folder, DatasetSection(name="ESC-50", class_names=("cat", "dog")), LOG)
    assert {clip.label for clip in chosen} == {"cat", "dog"}
    with pytest.raises(DatasetError, match="no clip has the class 'dogg'; did you mean 'dog'"):
        read_labels(folder, DatasetSection(class_names=("dogg", "rain")), LOG)


def test_generated_data_is_the_same_for_the_same_seed(tmp_path):
    digests = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        generate(tmp_path / name, seed=seed, progress=lambda *_: None)
        digests.append(digest_tree(tmp_path / name))
    assert digests[0] == digests[1] != digests[2]
    found = read_labels(tmp_path / "a", DatasetSection(), LOG)
    assert len(found) == 400
    assert len({clip.label for clip in found}) == 10
    assert {clip.fold for clip in found} == {1, 2, 3, 4, 5}
    assign_parts(found, DatasetSection(), seed=0)


def prediction(sample, part, label, *scores):
    return Prediction(sample=sample, part=part, group=sample, label=label, scores=scores)


def test_a_clip_is_voted_by_the_sum_of_its_patches_scores():
    found = compute_metrics(
        Predictions(
            classes=("a", "b"),
            rows=(
                prediction("1", 0, "a", 0.9, 0.1),
                prediction("1", 1, "a", 0.4, 0.6),
                prediction("1", 2, "a", 0.4, 0.6),
                prediction("2", 0, "b", 0.2, 0.8),
            ),
        )
    )
    assert found.values["clip_acc"].value == 1.0
    assert found.values["patch_acc"].value == 0.5
    assert found.confusion_matrices["clip"].counts == ((1, 0), (0, 1))
    assert found.notes["clips"] == 2


def test_ties_are_broken_by_the_order_of_the_classes():
    assert best_class([0.5, 0.5]) == 0
    assert best_class([0.1, 0.45, 0.45]) == 1


def test_a_constant_model_fails_the_gate():
    labels = [str(n) for n in range(10)]
    rows = tuple(prediction(f"{n}", 0, label, 1.0, *[0.0] * 9) for n, label in enumerate(labels))
    report = compute_metrics(Predictions(classes=tuple(labels), rows=rows))
    aed = load_use_case("AED")
    verdict = aed.gate(AedConfig()).evaluate(
        report,
        metrics=aed.metrics(AedConfig()),
        parameters={p.name: p.default for p in get_pipeline_parameters() if p.name.startswith("q_")},
    )
    assert verdict.message == (
        "Execution failed due to clip level acc < 0.5; Execution failed due to patch level acc < 0.5"
    )


def test_the_parameters_are_those_that_existing_systems_set():
    found = {item.name: item.default for item in get_pipeline_parameters(default_threshold=0.7, dataset_name="ESC-50")}
    assert found == {
        "q_clip_level_acc_threshold": 0.7,
        "q_patch_level_acc_threshold": 0.7,
        "processing_step_name": "Preprocess_ESC-50",
        "AED_FOLDER_NAME": "audio_event_detection",
        "modelzoo_version": "v1",
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("feature_extraction.n_fft=500", "feature_extraction.n_fft: 500 is not a power of two"),
        ("feature_extraction.window_length=600", "window_length: 600 is above n_fft; legal: at most 512"),
        ("feature_extraction.fmax=9000", "above half of"),
        ("preprocessing.min_length=20", "min_length: 20 is above max_length; legal: at most 10"),
        ("dataset.name=ESC50", "no data set 'ESC50' .*did you mean 'ESC-50'"),
    ],
)
def test_a_wrong_value_is_named(override, message):
    aed = load_use_case("AED")
    with pytest.raises(ConfigError, match=message):
        aed.dataset(aed.load_config(overrides=[override]).model)


def test_loading_the_plugin_imports_nothing_heavy():
    code = (
        "import sys; from mlops_core.api import prepare_run; prepare_run('AED');"
        "print({'numpy', 'tensorflow', 'keras', 'librosa', 'soundfile'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# --- Copies of a file under several names --------------------------------------------------------------------


def with_copies(*pairs):
    """Return clips of which the named pairs are copies of one file, and all others are different."""
    digest_of = {name: pair[0] for pair in pairs for name in pair}
    return [replace(clip, digest=row_digest([digest_of.get(clip.name, clip.name)])) for clip in clips()]


def test_training_recordings_with_a_copy_in_the_test_fold_are_left_out():
    copies = with_copies(("1-dog0.wav", "3-dog3.wav"))
    parted = assign_parts(copies, DatasetSection(), seed=0)
    assert {clip.name for clip in copies} - {clip.name for clip in parted} == {"1-dog0.wav", "1-dog1.wav"}
    assert {clip.name for clip in parted if clip.part == "test"} == {clip.name for clip in copies if clip.fold == 3}
    assert left_out_copies(copies, parted).startswith("2 clip(s) left out")
    assert left_out_copies(copies, copies) == ""


@pytest.mark.parametrize("strategy", ["group", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_copies_are_in_one_part_where_no_fold_decides(strategy, seed):
    copies = with_copies(("1-dog0.wav", "3-dog3.wav"), ("2-rain0.wav", "3-rain1.wav"))
    parted = assign_parts(copies, DatasetSection(strategy=strategy), seed=seed)
    assert len(parted) == len(copies)
    part_of = {}
    for clip in parted:
        assert part_of.setdefault(clip.digest, clip.part) == clip.part
