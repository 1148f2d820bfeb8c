"""The three layouts of the model zoo's configuration: the fate of each key, and the report about it."""

import json
import logging
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from mlops_aed.config import AedConfig, DatasetSection
from mlops_aed.data.labels import read_labels
from mlops_aed.data.splitting import assign_parts
from mlops_aed.stm32.conversion import convert
from mlops_aed.stm32.layouts import Layout, detect

from mlops_core import ConfigError, ImportFate, load_use_case
from mlops_core.cli import _exit_code
from mlops_core.config_files.loading import validate_sources
from mlops_core.config_files.yaml_source import read_yaml_text

LAYOUTS = Path(__file__).parent / "stm32"
FILES = {"v1": Layout.V1, "v2": Layout.V2, "v4": Layout.V4}
MEL_OF_YAMNET = {"patch_length": 96, "n_mels": 64, "overlap": 0.25, "n_fft": 512, "hop_length": 160}
MEL_OF_MINIRESNET = {"patch_length": 50, "n_fft": 1024, "hop_length": 320, "center": True, "norm": "slaney"}


def text_of(name):
    return (LAYOUTS / f"{name}.yaml").read_text(encoding="utf-8")


def imported(text, name="user_config.yaml"):
    source = read_yaml_text(text, name=name, environ={}, is_foreign=True)
    return convert(source, detect(source.data))


def loaded(text):
    found = imported(text)
    found.require_accepted()
    return validate_sources(AedConfig, [found.source]).model


def fates(text):
    return {item.key: item for item in imported(text).keys}


@pytest.mark.parametrize(("name", "layout"), FILES.items())
def test_each_layout_is_recognised_and_read(name, layout):
    found = imported(text_of(name))
    assert found.layout == str(layout)
    assert found.with_fate(ImportFate.REFUSED) == ()
    model = loaded(text_of(name))
    assert model.general.operation_mode == "chain_tqe"
    assert (model.dataset.name, model.dataset.path) == ("ESC-10", "../datasets/ESC-50")
    assert (model.dataset.csv, model.dataset.audio) == ("meta/esc50.csv", "audio")
    assert len(model.dataset.class_names) == 10
    assert model.training.batch_size == 16
    assert model.training.label_smoothing == 0
    assert model.preprocessing.top_db == 60


def test_v1_becomes_a_miniresnet_with_early_stopping():
    model = loaded(text_of("v1"))
    assert (model.training.model.name, model.training.model.n_stacks) == ("miniresnetv2", 1)
    assert model.training.model.pooling is None
    assert model.feature_extraction.model_dump().items() >= MEL_OF_MINIRESNET.items()
    assert (model.feature_extraction.to_db, model.feature_extraction.power) == (True, 2)
    assert model.dataset.validation_split == 0.1
    assert model.dataset.test_split == 0.2
    assert model.training.epochs == 50
    assert model.training.optimizer == {"Adam": {"learning_rate": 0.001}}
    assert model.training.callbacks["EarlyStopping"]["patience"] == 100
    assert model.training.callbacks["ReduceLROnPlateau"] == {
        "monitor": "val_accuracy",
        "mode": "max",
        "factor": 0.1,
        "patience": 15,
        "min_lr": 1e-6,
    }
    assert (model.data_augmentation.noise, model.data_augmentation.volume) == (0.1, (0.8, 1.2))
    assert model.data_augmentation.time_mask == 0


def test_v2_becomes_a_frozen_yamnet_of_256_values():
    model = loaded(text_of("v2"))
    chosen = model.training.model
    assert (chosen.name, chosen.pretrained, chosen.pooling, chosen.dropout) == ("yamnet", True, "avg", 0)
    assert not model.training.fine_tune
    assert model.feature_extraction.model_dump().items() >= MEL_OF_YAMNET.items()
    assert model.feature_extraction.norm is None
    assert (model.quantization.input_type, model.quantization.output_type) == ("int8", "float")
    assert model.quantization.calibration_split == 0.1
    assert model.data_augmentation.mixup_alpha == model.data_augmentation.time_shift == 0
    assert model.training.callbacks["ReduceLROnPlateau"] == {
        "monitor": "val_accuracy",
        "mode": "max",
        "factor": 0.5,
        "patience": 100,
        "min_lr": 1e-5,
    }


def test_a_name_in_v4_holds_all_settings_of_a_network():
    model = loaded(text_of("v4"))
    assert (model.training.model.name, model.training.model.n_stacks) == ("miniresnetv2", 1)
    assert model.training.fine_tune
    assert model.training.callbacks["LRCosineDecay"] == {
        "initial_lr": 0.001,
        "hold_steps": 5,
        "decay_steps": 20,
        "end_lr": 1e-5,
    }
    assert model.quantization.export_onnx
    assert model.quantization.onnx_int8
    assert model.data_augmentation.noise == 0.1  # written 1./10
    assert (model.data_augmentation.time_mask, model.data_augmentation.time_masks) == (4, 3)
    assert (model.data_augmentation.frequency_mask, model.data_augmentation.frequency_masks) == (4, 2)


@pytest.mark.parametrize(
    ("name", "network", "stacks", "pooling"),
    [
        ("miniresnetv1_s1", "miniresnet", 1, None),
        ("miniresnetv1_s2_ap", "miniresnet", 2, "avg"),
        ("miniresnetv2_s2", "miniresnetv2", 2, None),
        ("MiniResNetV2_s1_ap", "miniresnetv2", 1, "avg"),
    ],
)
def test_names_of_v4_are_parsed(name, network, stacks, pooling):
    found = loaded(text_of("v4").replace("miniresnetv2_s1", name)).training.model
    assert (found.name, found.n_stacks, found.pooling) == (network, stacks, pooling)


@pytest.mark.parametrize("name", FILES)
def test_every_key_of_the_file_is_in_the_report_with_its_line(name):
    lines = {}

    def walk(node, prefix):
        for key, value in node.value:
            inner = f"{prefix}{key.value}"
            if isinstance(value, yaml.MappingNode):
                walk(value, f"{inner}.")
            else:
                lines[inner] = key.start_mark.line + 1

    walk(yaml.compose(text_of(name)), "")
    told = {item.key: item.line for item in imported(text_of(name)).keys}
    for key, line in lines.items():
        above = [part for part in told if key == part or key.startswith(f"{part}.")]
        assert above, key
        assert all(told[part] <= line for part in above)
        if key in told:
            assert told[key] == line


def test_unused_keys_have_a_reason_and_keys_without_effect_are_dead():
    found = fates(text_of("v2"))
    assert found["preprocessing.lengthen"].fate is ImportFate.DEAD
    for key in ("tools.stedgeai.path_to_stedgeai", "tools.stedgeai.version", "benchmarking.board", "deployment.IDE"):
        assert found[key].fate is ImportFate.IGNORED
        assert "needs ST's tools" in found[key].note
    assert all(item.note for item in found.values() if item.fate is not ImportFate.MAPPED)
    assert all(item.target for item in found.values() if item.fate is ImportFate.MAPPED)
    for dead in ("training.frozen_layers", "dataset.batch_size"):
        section = dead.partition(".")[0]
        text = text_of("v2").replace(f"\n{section}:\n", f"\n{section}:\n  {dead.partition('.')[2]}: 8\n", 1)
        assert fates(text)[dead].fate is ImportFate.DEAD


MODES = {
    "training": ("train", None),
    "evaluation": ("load", None),
    "prediction": ("load", None, "classify"),
    "quantization": ("load", "quantize"),
    "chain_tqe": ("train", "quantize"),
    "chain_tbqeb": ("train", "quantize"),
    "chain_tqeb": ("train", "quantize"),
    "chain_eqe": ("load", "quantize"),
    "chain_eqeb": ("load", "quantize"),
    "chain_qb": ("load", "quantize"),
    "chain_qd": ("load", "quantize"),
}


@pytest.mark.parametrize("mode", MODES)
def test_each_operation_mode_selects_its_steps(mode):
    source, quantize, *more = MODES[mode]
    text = text_of("v2").replace("operation_mode: chain_tbqeb", f"operation_mode: {mode}")
    if source == "load":
        text = text.replace("  model_path:\n", "  model_path: models\\best_model.h5\n")
    use_case = load_use_case("AED")
    steps = [step.name for step in use_case.pipeline(loaded(text)).ordered()]
    assert steps == [name for name in ("split", "preprocess", source, quantize, *more, "evaluate") if name]


@pytest.mark.parametrize("mode", ["benchmarking", "deployment"])
def test_a_mode_that_a_run_cannot_have_is_refused_with_the_legal_ones(mode):
    found = fates(text_of("v2").replace("chain_tbqeb", mode))["operation_mode"]
    assert found.fate is ImportFate.REFUSED
    assert "needs ST's tools" in found.note
    assert "Legal here: training, evaluation" in found.note


@pytest.mark.parametrize(("name", "mode"), [("v2", "chain_tbqeb"), ("v4", "chain_tqeb")])
def test_a_prediction_classifies_the_files_of_a_folder(name, mode):
    text = text_of(name).replace(mode, "prediction").replace("  model_path:\n", "  model_path: m.tflite\n")
    assert loaded(text).classify.path == "../test_files"
    without = re.sub(r"(test_files_path|prediction_audio_path): .*", r"\1:", text)
    key = "prediction.test_files_path"
    assert "is required by operation_mode prediction" in fates(without)[key].note
    assert loaded(text_of(name)).classify.path is None


def test_an_existing_model_makes_the_training_sections_unused():
    text = text_of("v2").replace("chain_tbqeb", "evaluation").replace("model_path:\n", "model_path: m.tflite\n")
    found = fates(text)
    assert found["training.epochs"].note == "operation_mode evaluation trains nothing"
    assert found["quantization.quantizer"].note == "operation_mode evaluation quantizes nothing"
    assert loaded(text).general.model_path == "m.tflite"
    with_resume = text.replace("resume_training_from:\n", "resume_training_from: last.h5\n")
    assert loaded(with_resume).general.model_path == "m.tflite"


def test_values_are_read_as_their_authors_write_them():
    text = text_of("v2")
    for old, new in (
        ("    scale: 0.1", "    scale: 1./10"),
        ("  overlap: 0.25", "  overlap: (1 + 1)/8"),
        ("  center: False", "  center: 'False'"),
        ("  norm: None", "  norm: 'None'"),
        ("input_shape: (64, 96, 1)", "input_shape: [64, 96]"),
        ("  epochs: 50", "  epochs: '50'"),
        ("    Adam:\n      learning_rate: 0.001", "    adamw:\n      learning_rate: 1e-3"),
    ):
        assert old in text
        text = text.replace(old, new)
    model = loaded(text)
    assert (model.data_augmentation.noise, model.feature_extraction.overlap) == (0.1, 0.25)
    assert (model.feature_extraction.center, model.feature_extraction.norm) == (False, None)
    assert (model.training.epochs, model.training.optimizer) == (50, {"AdamW": {"learning_rate": 0.001}})


def test_variables_are_expanded_and_an_unset_one_is_named():
    text = (
        text_of("v2")
        .replace(r"..\datasets\ESC-50\audio", r"${DATA}\ESC-50\audio")
        .replace(r"..\datasets\ESC-50\meta", r"${DATA}\ESC-50\meta")
    )
    source = read_yaml_text(text, name="c.yaml", environ={"DATA": r"C:\sounds"}, is_foreign=True)
    assert convert(source, Layout.V2).source.data["dataset"]["path"] == "C:/sounds/ESC-50"
    with pytest.raises(ConfigError) as caught:
        read_yaml_text(text, name="c.yaml", environ={}, is_foreign=True)
    assert "dataset.training_audio_path needs the environment variable DATA" in str(caught.value.problems)


def test_fsd50k_is_detected_above_its_three_folders(tmp_path):
    text = text_of("v2").replace("name: esc10", "name: fsd50k")
    model = loaded(text)
    assert (model.dataset.name, model.dataset.path) == ("FSD50K", "../datasets/FSD50K")
    assert model.dataset.csv is None
    assert model.dataset.ontology.endswith("audioset_ontology.json")
    elsewhere = text.replace("../datasets/FSD50K/FSD50K.dev_audio", "../other/FSD50K.dev_audio")
    assert "must be in one folder" in fates(elsewhere)["dataset_specific.fsd50k.csv_folder"].note
    renamed = text.replace("FSD50K/FSD50K.dev_audio", "FSD50K/train")
    assert "which is called FSD50K.dev_audio" in fates(renamed)["dataset_specific.fsd50k.dev_audio_folder"].note


def with_tables(*parts):
    text = text_of("v2")
    for part in parts:
        text = text.replace(f"{part}_audio_path:\n", f"{part}_audio_path: ..\\datasets\\{part}\\wav\n")
        text = text.replace(f"{part}_csv_path:\n", f"{part}_csv_path: ..\\datasets\\{part}.csv\n")
    return text


def test_tables_of_the_parts_are_kept():
    found = loaded(with_tables("validation", "test")).dataset
    assert (found.path, found.csv, found.audio) == ("../datasets", "ESC-50/meta/esc50.csv", "ESC-50/audio")
    assert (found.validation_csv, found.validation_audio) == ("validation.csv", "validation/wav")
    assert (found.test_csv, found.test_audio) == ("test.csv", "test/wav")


def test_a_validation_table_alone_becomes_the_test_table():
    found = loaded(with_tables("validation")).dataset
    assert (found.test_csv, found.test_audio) == ("validation.csv", "validation/wav")
    assert found.validation_csv is None
    assert "they become the test clips" in fates(with_tables("validation"))["dataset.validation_csv_path"].note


PATHS = re.compile(r"( +(?:training|validation|quantization|test)_(?:audio|csv)_path:).*")


def of_mode(mode, *parts):
    """Return the file with the tables of `parts` only, for an existing model."""
    text = PATHS.sub(r"\1", text_of("v2")).replace("chain_tbqeb", mode).replace("model_path:\n", "model_path: m.h5\n")
    for part in parts:
        for kind, path in (("csv", f"{part}.csv"), ("audio", f"{part}/wav")):
            text = text.replace(f"{part}_{kind}_path:", f"{part}_{kind}_path: ../sounds/{path}")
    return text


def tables_of(text):
    found = loaded(text).dataset
    assert found.path in {"../sounds", None}
    return {key: value for key, value in found.model_dump().items() if key.endswith("csv") and value is not None}


@pytest.mark.parametrize(
    ("mode", "parts", "expected"),
    [
        ("evaluation", ("test",), {"test_csv": "test.csv"}),
        ("prediction", ("test",), {"test_csv": "test.csv"}),
        ("evaluation", ("validation",), {"test_csv": "validation.csv"}),
        ("evaluation", ("training",), {"csv": "training.csv"}),
        ("evaluation", ("training", "validation", "test", "quantization"), {"test_csv": "test.csv"}),
        ("chain_qb", ("quantization",), {"calibration_csv": "quantization.csv"}),
        ("quantization", ("quantization",), {"calibration_csv": "quantization.csv"}),
        ("chain_eqe", ("quantization", "test"), {"calibration_csv": "quantization.csv", "test_csv": "test.csv"}),
        (
            "chain_qd",
            ("quantization", "validation"),
            {"calibration_csv": "quantization.csv", "test_csv": "validation.csv"},
        ),
        ("chain_eqeb", ("training", "test"), {"csv": "training.csv", "test_csv": "test.csv"}),
        ("chain_eqe", ("training",), {"csv": "training.csv"}),
    ],
)
def test_a_run_uses_the_tables_that_the_file_has(mode, parts, expected):
    text = of_mode(mode, *parts)
    assert tables_of(text) == expected
    audio = {key.removesuffix("csv"): value.removesuffix(".csv") + "/wav" for key, value in expected.items()}
    found = loaded(text).dataset.model_dump()
    assert {prefix: found[f"{prefix}audio"] for prefix in audio} == audio
    unused = {part for part in parts if f"{part}.csv" not in expected.values()}
    for part in unused:
        assert fates(text)[f"dataset.{part}_csv_path"].fate is ImportFate.IGNORED


@pytest.mark.parametrize(
    ("mode", "parts", "message"),
    [
        ("evaluation", ("quantization",), "dataset.test_csv_path: is required by operation_mode evaluation"),
        ("chain_eqe", ("test",), "dataset.quantization_csv_path: is required by operation_mode chain_eqe"),
        ("chain_qb", ("validation",), "dataset.quantization_csv_path: is required by operation_mode chain_qb"),
        ("chain_eqe", ("quantization", "training"), "dataset.test_csv_path: is required together with"),
    ],
)
def test_a_table_that_a_mode_cannot_use_alone_is_refused(mode, parts, message):
    with pytest.raises(ConfigError) as caught:
        loaded(of_mode(mode, *parts))
    assert message in str(caught.value)


def test_tables_that_training_cannot_use_are_refused():
    trained = PATHS.sub(r"\1", text_of("v2"))
    for part, message in (("test", "dataset.training_csv_path: is required"), ("quantization", "cannot be used")):
        text = trained
        for kind in ("csv", "audio"):
            text = text.replace(f"{part}_{kind}_path:", f"{part}_{kind}_path: ../sounds/{part}.{kind}")
        with pytest.raises(ConfigError, match=message):
            loaded(text)


def test_one_table_for_calibration_and_test_is_split():
    text = of_mode("chain_eqe", "quantization", "test").replace("sounds/test", "sounds/quantization")
    assert tables_of(text) == {"calibration_csv": "quantization.csv"}
    assert "the other clips calibrate" in fates(text)["dataset.quantization_csv_path"].note


def test_fsd50k_is_evaluated_on_a_table_of_the_file():
    text = of_mode("evaluation", "test").replace("name: esc10", "name: fsd50k")
    assert tables_of(text) == {"test_csv": "test.csv"}
    assert fates(text)["dataset_specific.fsd50k.csv_folder"].note == "the tables of dataset are used"


def test_fsd50k_is_quantized_with_a_table_of_the_file():
    text = of_mode("chain_qb", "quantization").replace("name: esc10", "name: fsd50k")
    assert tables_of(text) == {"calibration_csv": "quantization.csv"}
    assert fates(text)["dataset_specific.fsd50k.csv_folder"].note == "the tables of dataset are used"


def test_a_validation_table_that_is_not_scored_says_which_one_is():
    text = of_mode("chain_qb", "quantization", "validation", "test")
    assert fates(text)["dataset.validation_csv_path"].note == "the clips of dataset.test_csv_path are scored"


def test_a_file_without_any_path_names_the_data_set_that_is_used():
    text = of_mode("prediction")
    assert fates(text)["dataset.name"].note == "no path of clips is set: ESC-10 of the catalogue is used"
    custom = fates(text.replace("name: esc10", "name: custom"))["dataset.name"]
    assert custom.fate is ImportFate.REFUSED
    assert "set dataset.training_csv_path" in custom.note


def write_tables(folder, **parts):
    for part, names in parts.items():
        (folder / part).mkdir()
        rows = [f"{name},{('dog', 'rain')[n % 2]}" for n, name in enumerate(names)]
        (folder / f"{part}.csv").write_text("\n".join(["filename,category", *rows, ""]), encoding="utf-8")
        for name in names:
            (folder / part / f"{name}.wav").write_bytes(b"")


def parts_of(folder, **settings):
    given = DatasetSection.model_validate(settings)
    clips = assign_parts(read_labels(folder, given, logging.getLogger("t")), given, seed=0)
    return {clip.name: clip.part for clip in clips}


def test_clips_of_a_test_table_alone_are_all_scored(tmp_path):
    write_tables(tmp_path, test="xyz")
    assert parts_of(tmp_path, test_csv="test.csv", test_audio="test") == dict.fromkeys(
        ("test/x.wav", "test/y.wav", "test/z.wav"), "test"
    )


def test_clips_that_calibrate_are_never_scored_and_none_validate(tmp_path):
    write_tables(tmp_path, quantization="abcdefgh", test="xy")
    calibration = {"calibration_csv": "quantization.csv", "calibration_audio": "quantization"}
    both = parts_of(tmp_path, **calibration, test_csv="test.csv", test_audio="test")
    assert Counter(both.values()) == {"train": 8, "test": 2}
    alone = parts_of(tmp_path, **calibration, test_split=0.5)
    assert Counter(alone.values()) == {"train": 4, "test": 4}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"dataset": {"test_csv": "t.csv"}}, "test_csv needs csv, the table of the training clips"),
        (
            {"general": {"operation_mode": "chain_eqe", "model_path": "m.h5"}, "dataset": {"test_csv": "t.csv"}},
            "calibrat",
        ),
        ({"dataset": {"calibration_csv": "t.csv"}}, "is not used by operation_mode training"),
        ({"dataset": {"calibration_csv": "t.csv", "csv": "u.csv"}}, "exclude each other"),
        (
            {
                "general": {"operation_mode": "evaluation", "model_path": "m.h5"},
                "dataset": {"calibration_csv": "t.csv"},
            },
            "is not used by operation_mode evaluation",
        ),
    ],
)
def test_tables_that_do_not_match_the_mode_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        AedConfig.model_validate(data)


def test_clips_of_a_tables_part_are_kept_in_it(tmp_path):
    for part, names in (("training", "abcdefgh"), ("test", "xy")):
        (tmp_path / part).mkdir()
        rows = [f"{name},{('dog', 'rain')[n % 2]}" for n, name in enumerate(names)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["filename,category", *rows, ""]), encoding="utf-8")
        for name in names:
            (tmp_path / part / f"{name}.wav").write_bytes(b"")
    given = {"csv": "training.csv", "audio": "training", "test_csv": "test.csv", "test_audio": "test"}
    settings = DatasetSection.model_validate({**given, "validation_split": 0.3})
    clips = assign_parts(read_labels(tmp_path, settings, logging.getLogger("t")), settings, seed=0)
    parts = {clip.name: clip.part for clip in clips}
    assert {name for name, part in parts.items() if part == "test"} == {"test/x.wav", "test/y.wav"}
    assert Counter(parts.values())["validation"] >= 2
    assert len(parts) == 10


def test_an_evaluation_on_a_board_is_refused_with_the_file_to_import():
    text = (
        "general:\n  model_path: m.tflite\n  config_path: user_config.yaml\nparameters:\n  profile: profile_O3\n"
        "hydra:\n  verbose: False\n"
    )
    assert "import the file that general.config_path names" in fates(text)["parameters.profile"].note


def test_metrics_go_to_an_mlflow_server_and_not_into_a_folder():
    pytest.importorskip("mlops_mlflow")
    assert loaded(text_of("v2")).mlflow.uri is None
    assert "is not the address of a server" in fates(text_of("v2"))["mlflow.uri"].note
    model = loaded(text_of("v2").replace("./experiments_outputs/mlruns", "http://127.0.0.1:5000"))
    assert (model.mlflow.uri, model.mlflow.experiment) == ("http://127.0.0.1:5000", "aed_project")


def test_class_names_may_be_in_a_file(tmp_path):
    names = tmp_path / "classes.txt"
    names.write_text("rain\ndog\n", encoding="utf-8")
    text = re.sub(r"  class_names: .*\n", "", text_of("v4")).replace(
        "classes_file_path:", f"classes_file_path: {names}"
    )
    assert loaded(text).dataset.class_names == ("rain", "dog")
    names.unlink()
    assert "cannot be read" in fates(text)["dataset.classes_file_path"].note
    both = text_of("v4").replace("classes_file_path:", f"classes_file_path: {names}")
    assert "exclude each other" in fates(both)["dataset.classes_file_path"].note


def test_a_configuration_of_this_use_case_is_not_recognised_as_a_layout():
    source = read_yaml_text("dataset: {name: ESC-10}\ntraining: {epochs: 3}\n", name="c", environ={})
    assert detect(source.data) is None


@pytest.fixture
def mlops(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = _exit_code(list(arguments))
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_import_writes_an_equal_configuration_and_reports_every_key(tmp_path, mlops):
    (tmp_path / "theirs.yaml").write_text(text_of("v2"), encoding="utf-8")
    code, out, err = mlops("import", "stm32", "theirs.yaml", "-o", "ours.yaml")
    assert code == 0, err
    table = [line.split() for line in out.splitlines()]
    assert ["17", "dataset.file_extension", "mapped", "dataset.file_extension"] in table
    assert any(row[1:4] == ["preprocessing.lengthen", "dead", "never"] for row in table)
    assert any(row[1:3] == ["tools.stedgeai.version", "ignored"] for row in table)
    assert "read as layout v2/v3 of the STM32 model zoo" in out
    assert "wrote ours.yaml: mlops run --usecase AED --config ours.yaml" in err
    ours = load_use_case("AED").load_config(tmp_path / "ours.yaml").model
    assert ours == load_use_case("AED").load_config(tmp_path / "theirs.yaml").model
    code, _, err = mlops("import", "stm32", "theirs.yaml", "-o", "ours.yaml")
    assert code == 2
    assert "exists and is not overwritten" in err


def test_import_of_a_file_with_faults_names_all_of_them_and_writes_nothing(tmp_path, mlops):
    text = text_of("v2").replace("n_mels: 64", "n_mels: many").replace("epochs: 50", "epochs: 0")
    (tmp_path / "theirs.yaml").write_text(text, encoding="utf-8")
    code, out, err = mlops("import", "stm32", "theirs.yaml", "-o", "ours.yaml")
    assert code == 2
    assert "2 refused" in out
    assert "theirs.yaml has 2 faults" in err
    assert "feature_extraction.n_mels: is 'many'; legal: a whole number of at least 1 (line 56)" in err
    assert "training.epochs: is 0; legal: a whole number of at least 1 (line 97)" in err
    assert not (tmp_path / "ours.yaml").exists()


def test_run_accepts_a_file_of_the_zoo_and_stops_at_its_faults(tmp_path, mlops):
    (tmp_path / "theirs.yaml").write_text(text_of("v1").replace("patience: 100", "patience: long"), encoding="utf-8")
    code, _, err = mlops("--workspace", "w", "run", "-u", "AED", "-c", "theirs.yaml")
    assert code == 2
    assert "theirs.yaml: train_parameters.patience: is 'long'; legal: a whole number of at least 1 (line 15)" in err


@pytest.mark.parametrize("as_json", [False, True])
def test_import_refuses_an_unknown_format(tmp_path, mlops, as_json):
    (tmp_path / "theirs.yaml").write_text("a: 1\n", encoding="utf-8")
    code, _, err = mlops("import", "keras", "theirs.yaml", *(["--json"] if as_json else []))
    assert code == 2
    assert "no installed use case reads the format 'keras'" in err


def test_import_as_json_holds_every_key(tmp_path, mlops):
    (tmp_path / "theirs.yaml").write_text(text_of("v4"), encoding="utf-8")
    code, out, _ = mlops("import", "stm32", "theirs.yaml", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["use_case"] == "AED"
    assert {item["key"]: item["fate"] for item in found["keys"]}["model.model_name"] == "mapped"


def v1_with(**keys):
    text = text_of("v1")
    for key, value in keys.items():
        text = re.sub(rf"( {key} ?:).*", rf"\1 {value}", text)
    return text


@pytest.mark.parametrize(
    ("name", "callback"),
    [("Exponential", "LRExponentialDecayV1"), ("cosine", "LRCosineDecayV1"), ("Constant", None)],
)
def test_schedules_of_v1_start_at_the_rate_of_the_file(name, callback):
    text = v1_with(learning_rate_scheduler=name, initial_learning="0.005")
    found = dict(loaded(text).training.callbacks)
    del found["EarlyStopping"]
    assert found == ({callback: {"initial_lr": 0.005}} if callback else {})


def test_test_path_of_v1_is_a_table_of_files_in_the_common_folder():
    found = loaded(v1_with(test_path="../datasets/ESC-50/meta/test.csv")).dataset
    assert (found.csv, found.test_csv) == ("meta/esc50.csv", "meta/test.csv")
    assert found.audio == found.test_audio == "audio"


def test_v1_may_leave_out_the_extension_and_ask_for_the_other_class_with_the_training():
    text = re.sub(r" +file_extension.*\n", "", text_of("v1"))
    assert loaded(text).dataset.file_extension == ".wav"
    assert loaded(v1_with(file_extension="")).dataset.file_extension == ".wav"
    moved = re.sub(r"  (use_other_class|n_samples_per_other_class).*\n", "", text).replace(
        "train_parameters:\n", "train_parameters:\n  use_other_class: True\n  n_samples_per_other_class: 3\n"
    )
    found = loaded(moved).dataset
    assert (found.use_garbage_class, found.n_samples_per_garbage_class) == (True, 3)


def test_v1_evaluates_a_quantized_file_as_it_is():
    text = v1_with(quantize="True").replace("model:\n", "model:\n  model_path: ..\\models\\yamnet_int8.tflite\n")
    assert loaded(text).general.operation_mode == "evaluation"
    floating = text.replace("yamnet_int8.tflite", "yamnet.h5")
    assert loaded(floating).general.operation_mode == "chain_eqe"


@pytest.mark.parametrize("value", ["True", "False"])
def test_collapsing_labels_has_no_effect_in_v1(value):
    text = text_of("v1").replace(
        "    only_keep_monolabel:", f"    collapse_to_monolabel: {value}\n    only_keep_monolabel:"
    )
    assert loaded(text).dataset.only_keep_monolabel
    found = fates(text.replace("name: esc10", "name: fsd50k"))["dataset_specific.fsd50k.collapse_to_monolabel"]
    assert found.fate is ImportFate.DEAD


@pytest.mark.parametrize(
    ("header", "fate", "note"),
    [
        ("filename,category,fold\na,x,1\nb,y,3\n", ImportFate.IGNORED, "has no effect: fold 3 is the test part"),
        ("filename,category\na,x\n", ImportFate.MAPPED, ""),
        (None, ImportFate.MAPPED, "has no effect if the table has a column fold"),
    ],
)
def test_the_report_says_whether_the_test_split_has_an_effect(tmp_path, header, fate, note):
    text = v1_with(csv_path=f"{tmp_path}/t.csv", audio_path=f"{tmp_path}/wav", test_split="0.3")
    if header is not None:
        (tmp_path / "t.csv").write_text(header, encoding="utf-8")
    found = fates(text)["dataset.test_split"]
    assert found.fate is fate
    assert note in found.note
    assert loaded(text).dataset.test_split == (0.3 if fate is ImportFate.MAPPED else 0.2)
