"""Every key of the model zoo's configuration is made wrong in turn; the message names key, line and legal values."""

import re
from pathlib import Path

import pytest
import yaml
from mlops_aed.config import AedConfig
from mlops_aed.stm32.conversion import convert
from mlops_aed.stm32.layouts import detect
from mlops_aed.stm32.values import Kind, Rule, read_value

from mlops_core import ConfigError, ImportFate
from mlops_core.config_files.loading import validate_sources
from mlops_core.config_files.yaml_source import read_yaml_text

LAYOUTS = Path(__file__).parent / "stm32"
MISSING = object()
COUNT = ("many", 0, 1.5, MISSING)
FLAG = ("maybe", 2, MISSING)
TEXT = ("[a]", "{a: 1}")

# Key -> values that are not legal, written from the description of the zoo's configuration, not from our rules.
WRONG = {
    "operation_mode": ("train", 3, MISSING, "None"),
    "general.project_name": TEXT,
    "general.model_path": (5, "[a.h5]"),
    "general.logs_dir": (5,),
    "general.saved_models_dir": ("{a: b}",),
    "general.deterministic_ops": ("maybe",),
    "general.display_figures": ("sometimes",),
    "general.global_seed": ("abc", 1.5),
    "general.gpu_memory_limit": ("all", -1),
    "general.batch_size": (0, "x"),
    "general.num_threads_tflite": (0, 1.5),
    "dataset.name": ("esc11", 10, MISSING, "None"),
    "dataset.class_names": ("dog", 5, "[]", "[dog, dog]", "{dog: 1}", "[dog, null]"),
    "dataset.file_extension": ("[.wav]", MISSING, "None"),
    "dataset.training_audio_path": (5, MISSING),
    "dataset.training_csv_path": ("[a.csv]", MISSING),
    "dataset.validation_audio_path": (5,),
    "dataset.validation_csv_path": (5,),
    "dataset.validation_split": (0, 1, 1.2, -0.1, "half", "1/0"),
    "dataset.quantization_audio_path": (5,),
    "dataset.quantization_csv_path": (5,),
    "dataset.quantization_split": (-0.1, 1.1, "all"),
    "dataset.test_audio_path": (5,),
    "dataset.test_csv_path": (5,),
    "dataset.multi_label": FLAG,
    "dataset.use_garbage_class": FLAG,
    "dataset.n_samples_per_garbage_class": (0, "two", 1.5),
    "dataset.expand_last_dim": ("maybe", 2),
    "dataset.seed": ("abc",),
    "dataset.to_cache": ("maybe",),
    "dataset.shuffle": (3,),
    "dataset.batch_size": (0,),
    "preprocessing.min_length": (0, -1, "one", MISSING, "None", 11),
    "preprocessing.max_length": (0, "ten", MISSING, ".inf"),
    "preprocessing.target_rate": COUNT,
    "preprocessing.top_db": (0, "loud", MISSING),
    "preprocessing.frame_length": COUNT,
    "preprocessing.hop_length": COUNT,
    "preprocessing.trim_last_second": FLAG,
    "preprocessing.lengthen": ("never",),
    "feature_extraction.patch_length": COUNT,
    "feature_extraction.n_mels": COUNT,
    "feature_extraction.overlap": (1, -0.1, "half", MISSING),
    "feature_extraction.n_fft": (*COUNT, 500),
    "feature_extraction.hop_length": COUNT,
    "feature_extraction.window_length": (*COUNT, 513),
    "feature_extraction.window": ("hamming", MISSING),
    "feature_extraction.center": FLAG,
    "feature_extraction.pad_mode": ("wrap", 3, MISSING),
    "feature_extraction.power": (0, 3, 1.5, "two", MISSING),
    "feature_extraction.fmin": (-1, "low", 7500, MISSING),
    "feature_extraction.fmax": (0, 9000, "high", MISSING),
    "feature_extraction.norm": ("l2", 3),
    "feature_extraction.htk": FLAG,
    "feature_extraction.to_db": FLAG,
    "feature_extraction.include_last_patch": ("maybe",),
    "data_augmentation.GaussianNoise": (5, "on"),
    "data_augmentation.GaussianNoise.enable": FLAG,
    "data_augmentation.GaussianNoise.scale": (-1, "much"),
    "data_augmentation.VolumeAugment.enable": FLAG,
    "data_augmentation.VolumeAugment.min_scale": (0, "low", 1.3),
    "data_augmentation.VolumeAugment.max_scale": (0, "high"),
    "data_augmentation.SpecAug.enable": FLAG,
    "data_augmentation.SpecAug.freq_mask_param": (-1, 1.5),
    "data_augmentation.SpecAug.time_mask_param": (-1, "x"),
    "data_augmentation.SpecAug.n_freq_mask": (-1, "x"),
    "data_augmentation.SpecAug.n_time_mask": (-1, 0.5),
    "data_augmentation.SpecAug.mask_value": ("mean",),
    "training.model": (5, "yamnet"),
    "training.model.name": ("yamnet2", 5, "custom", MISSING),
    "training.model.embedding_size": (0, "big", 512, 300),
    "training.model.n_stacks": (0, 3, "x"),
    "training.model.version": ("v3",),
    "training.model.pooling": ("sum",),
    "training.model.input_shape": ("64x96", 64, "(96, 64, 1)", "(64, 0)", "[64, a]", MISSING),
    "training.model.pretrained_weights": ("maybe",),
    "training.fine_tune": ("maybe", 3),
    "training.dropout": (-0.1, 1, "x"),
    "training.batch_size": COUNT,
    "training.epochs": (*COUNT, -1, "[1]", "True", "'lambda: 3'", "None"),
    "training.resume_training_from": ("last.h5", 5),
    "training.optimizer": (5, MISSING, "Adamm", "{Adam: {learning_rate: 0}}", "{Adam: {lr: 1}}", "{Adam: 3}"),
    "training.callbacks": (5, "{Nothing: {}}", "{ModelCheckpoint: {filepath: a}}", "{LambdaCallback: {}}"),
    "quantization.quantizer": ("other", MISSING),
    "quantization.quantization_type": ("QAT", MISSING),
    "quantization.quantization_input_type": ("int4", MISSING),
    "quantization.quantization_output_type": ("int16", MISSING),
    "quantization.granularity": ("per_layer",),
    "quantization.optimize": ("maybe",),
    "quantization.target_opset": (3, "x"),
    "quantization.export_dir": (5,),
    "evaluation.target": ("board",),
    "mlflow.uri": (5,),
    "deployment.unknown_class_threshold": (-0.1, 1.1, "x"),
}
CASES = [(key, value) for key, values in WRONG.items() for value in values]


def text_of(name):
    return (LAYOUTS / f"{name}.yaml").read_text(encoding="utf-8")


def span(text, key):
    """First line and the line after the last one of a key with all below it, counted from 0; None if absent."""
    node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    found = None
    for part in key.split("."):
        match = [(name, value) for name, value in node.value if name.value == part]
        if not match:
            return None
        name, node = match[0]
        lines = text.splitlines()
        end = name.start_mark.line + 1
        while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > name.start_mark.column):
            end += 1
        found = (name.start_mark.line, end, name.start_mark.column)
    return found


def _indent(line):
    return len(line) - len(line.lstrip())


def with_value(text, key, value):
    """Return the text with another value at `key`, or without it, and the line (from 1) that is to blame."""
    lines = text.splitlines()
    place = span(text, key)
    written = "" if value is MISSING else f"{key.rpartition('.')[2]}: {value}"
    if place is None:
        above = key.rpartition(".")[0]
        start = span(text, above)[0]
        lines.insert(start + 1, " " * (span(text, above)[2] + 2) + written)
        return "\n".join(lines) + "\n", start + 2
    start, end, column = place
    lines[start:end] = [" " * column + written] if written else []
    above = key.rpartition(".")[0]
    return "\n".join(lines) + "\n", start + 1 if written else span(text, above)[0] + 1 if above else 1


def faults_of(text):
    source = read_yaml_text(text, name="user_config.yaml", environ={}, is_foreign=True)
    found = convert(source, detect(source.data))
    try:
        found.require_accepted()
        validate_sources(AedConfig, [found.source])
    except ConfigError as error:
        return [*error.problems] or [str(error)]
    return []


@pytest.mark.representatives("key")
@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{k}={'missing' if v is MISSING else v}" for k, v in CASES])
def test_a_wrong_value_is_refused_with_its_key_its_line_and_the_legal_values(key, value):
    text, line = with_value(text_of("v2"), key, value)
    faults = faults_of(text)
    about = [fault for fault in faults if re.match(rf"user_config\.yaml: {re.escape(key)}(\.\w+)?: ", fault)]
    assert about, faults
    assert f"(line {line})" in about[0], (line, about)
    assert re.search(r"[Ll]egal|expected|known|exclude|leave it empty|add training", about[0]), about


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "test_audio_path",
            "a",
            "dataset.test_csv_path: is required together with dataset.test_audio_path; legal: a path",
        ),
        ("validation_csv_path", "a", "dataset.validation_audio_path: is required together with dataset.validation_csv"),
        ("training_csv_path", "C:/a.csv", "dataset.training_csv_path: and the other paths must be all absolute"),
    ],
)
def test_paths_that_contradict_each_other_are_refused(key, value, message):
    text, _ = with_value(text_of("v2"), f"dataset.{key}", value)
    assert message in str(faults_of(text))


def test_the_file_without_a_fault_has_none():
    for name in ("v1", "v2", "v4"):
        assert faults_of(text_of(name)) == []


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (
            "v1",
            "train_parameters.training_epochs",
            "0",
            "train_parameters.training_epochs: is 0; legal: a whole number",
        ),
        ("v1", "train_parameters.optimizer", "adamm", "train_parameters.optimizer: 'adamm' is not an optimizer"),
        ("v1", "train_parameters.initial_learning", "fast", "is 'fast'; legal: a number above 0"),
        ("v1", "train_parameters.patience", "0", "legal: a whole number of at least 1"),
        (
            "v1",
            "train_parameters.learning_rate_scheduler",
            "step",
            "legal: one of ReduceLROnPlateau, Exponential, Cosine",
        ),
        ("v1", "train_parameters.restore_best_weights", "maybe", "legal: True or False"),
        ("v1", "train_parameters.dropout", "0.5", "model.dropout: is 0.0 and train_parameters.dropout is 0.5"),
        (
            "v1",
            "data_augmentation.GaussianNoise",
            "-1",
            "data_augmentation.GaussianNoise: is -1; legal: a number",
        ),
        ("v1", "data_augmentation.VolumeAugment", "0.5", "legal: True or False"),
        ("v1", "data_augmentation.min_scale", "0", "legal: a number above 0"),
        ("v1", "model.model_type", "{name: yamnot}", "model.model_type.name: is 'yamnot'; did you mean 'yamnet'?"),
        (
            "v1",
            "model.input_shape",
            "[50, 64]",
            r"is \(50, 64\); legal with these features: \(64, 50, 1",
        ),
        ("v1", "model.tranfer_learning", "True", "did you mean 'transfer_learning'?"),
        ("v1", "pre_processing.min_length", "0", "pre_processing.min_length: is 0; legal: a number above 0"),
        ("v1", "dataset.use_other_class", "maybe", "dataset.use_other_class: is 'maybe'; legal: True or False"),
        ("v1", "dataset.csv_path", "None", "dataset.csv_path: is required together with dataset.audio_path"),
        ("v1", "dataset.test_path", "sounds", "dataset.test_path: is sounds; legal: a table"),
        ("v1", "quantization.quantize", "maybe", "quantization.quantize: is 'maybe'; legal: True or False"),
        ("v4", "model.framework", "torch", "model.framework: is 'torch'; legal: one of tf"),
        ("v4", "model.model_name", "yamnet_e512", "model.model_name: asks for 512 values; legal: 256"),
        ("v4", "model.model_name", "miniresnetv3_s1", "model.model_name: is 'miniresnetv3_s1'; did you mean"),
        ("v4", "model.pretrained", "maybe", "model.pretrained: is 'maybe'; legal: True or False"),
        ("v4", "dataset.dataset_name", "esc", "dataset.dataset_name: is 'esc'; did you mean 'esc10'?"),
        ("v4", "training.resume_training", "last.h5", "training.resume_training: is set; a stopped run resumes"),
        ("v4", "model.model_path", "m.h5", "model.model_path: and model.model_name exclude each other"),
    ],
)
def test_keys_of_the_other_layouts_are_named_as_in_the_file(name, key, value, message):
    text, line = with_value(text_of(name), key, value)
    faults = "\n".join(faults_of(text))
    assert re.search(message, faults), faults
    assert f"(line {line})" in faults or "model.dropout: is 0.0 and" in faults


TWO_SCHEDULES = (
    "    LRStepDecay: {initial_lr: 0.1, step_size: 5, decay_rate: 0.5}\n"
    "    LRLinearDecay: {initial_lr: 0.1, hold_steps: 1, decay_steps: 5, end_lr: 0.01}\n"
    "    EarlyStopping:"
)


@pytest.mark.parametrize(
    ("edits", "key", "message"),
    [
        (
            ["use_garbage_class: False=use_garbage_class: True", "class_threshold: 0.0=class_threshold: 0.3"],
            "deployment.unknown_class_threshold",
            "exclude each other",
        ),
        (["model_path:\n=model_path: a.h5\n"], "general.model_path", "exclude each other"),
        (["    Adam:=    SGD:\n      learning_rate: 0.1\n    Adam:"], "training.optimizer", "expected one optimizer"),
        ([f"    EarlyStopping:={TWO_SCHEDULES}"], "training.callbacks", "both set the learning rate; keep one"),
        (
            ["use_garbage_class: False=use_garbage_class: True", "multi_label: False=multi_label: True"],
            "dataset.use_garbage_class",
            "exclude each other",
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused(edits, key, message):
    text = text_of("v2")
    for edit in edits:
        old, new = edit.split("=", 1)
        assert old in text
        text = text.replace(old, new)
    faults = [fault for fault in faults_of(text) if f": {key}: " in fault]
    assert message in str(faults), faults_of(text)
    assert re.search(r"\(line \d+\)", str(faults))


@pytest.mark.parametrize("section", ["dataset", "preprocessing", "feature_extraction", "training", "quantization"])
def test_a_missing_section_that_the_mode_needs_is_named(section):
    text, _ = with_value(text_of("v2"), section, MISSING)
    faults = faults_of(text)
    assert any(f"{section}" in fault and "is required" in fault for fault in faults), faults


def test_unknown_keys_and_sections_are_refused_with_the_nearest_name():
    for key, near in (
        ("dataset.validation_spilt", "validation_split"),
        ("training.epoch", "epochs"),
        ("feature_extraction.nmels", "n_mels"),
        ("data_augmentation.SpecAug.n_time_masks", "n_time_mask"),
    ):
        text, line = with_value(text_of("v2"), key, 1)
        assert f"did you mean '{near}'?" in faults_of(text)[0]
        assert f"(line {line})" in faults_of(text)[0]
    faults = faults_of(text_of("v2") + "featur_extraction:\n  n_mels: 64\n")
    assert "is not a section; did you mean 'feature_extraction'?" in faults[0]


def test_code_is_never_run(tmp_path):
    harm = tmp_path / "harm"
    for value in (
        f"__import__('pathlib').Path('{harm}').touch()",
        f"1 if open('{harm}', 'w') else 2",
        "2 ** 10 ** 10",
        "lambda epoch: 0.1",
    ):
        text, line = with_value(text_of("v2"), "training.epochs", f'"{value}"')
        assert f"(line {line})" in faults_of(text)[0]
        callbacks = '{LRStepDecay: {initial_lr: "' + value + '", step_size: 5, decay_rate: 0.5}}'
        assert "training.callbacks" in faults_of(with_value(text_of("v2"), "training.callbacks", callbacks)[0])[0]
    custom = "custom_data_augmentation:\n  function_name: a.b\n" + text_of("v2")
    assert "code is never run" in faults_of(custom)[0]
    assert not harm.exists()


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        ("1./255", Rule(kind=Kind.NUMBER), 1 / 255),
        ("-(2 + 3) * 4", Rule(kind=Kind.NUMBER), -20),
        ("1e-3", Rule(kind=Kind.NUMBER), 0.001),
        ("16*2", Rule(kind=Kind.INTEGER), 32),
        ("(64, 96, 1)", Rule(kind=Kind.SHAPE), (64, 96, 1)),
        ([64, 96], Rule(kind=Kind.SHAPE), (64, 96)),
        ("['a', 'b']", Rule(kind=Kind.NAMES), ("a", "b")),
        ("None", Rule(kind=Kind.NUMBER), None),
        ("", Rule(kind=Kind.TEXT), None),
        ("TRUE", Rule(kind=Kind.BOOLEAN), True),
        ("..\\a\\b", Rule(kind=Kind.PATH), "../a/b"),
        ("Hann", Rule(kind=Kind.TEXT, choices=("hann",)), "hann"),
    ],
)
def test_a_value_is_read_by_its_rule(value, rule, expected):
    assert read_value(value, rule) == expected


@pytest.mark.parametrize("value", ["1/0", "a + 1", "abs(-1)", "1 if 2 else 3", "9" * 300, "(" * 150, "[1][0]", "1<<3"])
def test_text_that_is_not_arithmetic_is_not_a_number(value):
    with pytest.raises(ValueError, match="legal: a number"):
        read_value(value, Rule(kind=Kind.NUMBER))


def test_refused_keys_do_not_hide_the_others():
    text, _ = with_value(text_of("v2"), "training.epochs", 0)
    source = read_yaml_text(text, name="c.yaml", environ={}, is_foreign=True)
    found = convert(source, detect(source.data))
    assert len(found.with_fate(ImportFate.REFUSED)) == 1
    assert len(found.with_fate(ImportFate.MAPPED)) > 40
