"""Configuration: every fault at once, with file, line and key, before anything runs."""

import math
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from mlops_core import Section, UseCaseConfig
from mlops_core.config import normalise_path
from mlops_core.config_files.loading import load_config
from mlops_core.config_files.yaml_source import SIZE_LIMIT_BYTES
from mlops_core.errors import ConfigError
from mlops_core.settings import read_settings


class Train(Section):
    epochs: int = Field(default=1, ge=1, le=100)
    mode: Literal["fast", "slow"] = "fast"
    password: str = ""
    sizes: tuple[int, ...] = (1, 2)
    rate: float = 0.1
    limit: Annotated[float, Field(allow_inf_nan=True)] = math.inf


class Data(Section):
    path: str | None = None


class Config(UseCaseConfig):
    dataset: Data = Data()
    train: Train = Train()


def load(tmp_path, text, *overrides, **environ):
    path = tmp_path / "user_config.yaml"
    path.write_text(text)
    return load_config(Config, default=None, path=path, overrides=overrides, environ=environ)


def test_values_come_from_default_then_file_then_overrides(tmp_path):
    default = tmp_path / "default.yaml"
    default.write_text("train:\n  epochs: 2\n  mode: slow\n")
    user = tmp_path / "user.yaml"
    user.write_text("train:\n  epochs: 3\n")
    loaded = load_config(Config, default=default, path=user, overrides=["train.sizes=[7]"], environ={})
    assert (loaded.model.train.epochs, loaded.model.train.mode, loaded.model.train.sizes) == (3, "slow", (7,))


def test_all_faults_are_reported_at_once_with_their_lines(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "train:\n  epoch: 3\n  epochs: 500\n  mode: medium\n  sizes: [1, x]\n")
    problems = caught.value.problems
    assert len(problems) == 4
    text = "\n".join(problems)
    assert "user_config.yaml: train.epoch: unknown key; did you mean 'epochs'?" in text
    assert "train.epochs: 500: input should be less than or equal to 100 (line 3)" in text
    assert "train.mode: 'medium': input should be 'fast' or 'slow' (line 4)" in text
    assert "train.sizes[1]: 'x': input should be a valid integer" in text


def test_a_fault_of_an_override_names_the_override(tmp_path):
    with pytest.raises(ConfigError, match=r"--set train.epochs=0: train.epochs: 0: input should be greater"):
        load(tmp_path, "", "train.epochs=0")


@pytest.mark.parametrize("text", ["''", "' '", "${DATA}", "${DATA:-}"])
def test_an_empty_path_of_the_data_does_not_select_other_data(tmp_path, text):
    with pytest.raises(ConfigError, match=r"user_config\.yaml: dataset\.path: is empty; expected a folder"):
        load(tmp_path, f"dataset:\n  path: {text}\n", DATA="")
    with pytest.raises(ConfigError, match=r"--set dataset\.path='': dataset\.path: is empty"):
        load(tmp_path, "", "dataset.path=''")
    with pytest.raises(ConfigError, match=r"--set dataset\.path= is empty; expected a folder"):
        load(tmp_path, "", "dataset.path=")
    assert load(tmp_path, "dataset: {path: null}\n").model.dataset.path is None


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1e400"])
def test_a_number_must_be_finite_unless_its_field_says_otherwise(tmp_path, number):
    with pytest.raises(ConfigError, match=r"train\.rate: -?(nan|inf): input should be a finite number"):
        load(tmp_path, f"train: {{rate: {number}}}\n")
    assert not math.isfinite(load(tmp_path, f"train: {{limit: {number}}}\n").model.train.limit)


@pytest.mark.parametrize("text", ["x", "=1", "a..b=1", "a b=1", "train.epochs = [1"])
def test_a_malformed_override_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="--set"):
        load(tmp_path, "", text)


def test_variables_are_expanded_and_must_be_set(tmp_path):
    loaded = load(tmp_path, "train:\n  password: pre-${PASSWORD}-$${X}\n", PASSWORD="s3cret")
    assert loaded.model.train.password == "pre-s3cret-${X}"
    assert "s3cret" not in loaded.to_yaml()
    with pytest.raises(
        ConfigError, match=r"train.password needs the environment variable NOPE, which is not set \(line 2\)"
    ):
        load(tmp_path, "train:\n  password: ${NOPE}\n")
    with pytest.raises(ConfigError, match="only environment variables are expanded"):
        load(tmp_path, "train:\n  password: ${now:%Y}\n")


@pytest.mark.parametrize(
    ("environ", "password", "saved"),
    [({}, "pre-x-y", "pre-x-y"), ({"A": ""}, "pre-x-y", "pre-x-y"), ({"A": "s3"}, "pre-s3-y", "pre-${A}-y")],
)
def test_a_variable_may_have_a_default_which_is_saved_where_it_is_used(tmp_path, environ, password, saved):
    loaded = load(tmp_path, "train:\n  password: pre-${A:-x}-${B:-y}\n  epochs: ${C:-7}\n", **environ)
    assert loaded.model.train.password == password
    assert loaded.model.train.epochs == 7
    if environ.get("A"):
        assert loaded.references.texts["train.password"] == saved
        assert "s3" not in loaded.to_yaml()
    assert "train.epochs" not in loaded.references.texts


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases expanded"),
        ("train: &t\n  x: *t\n", "aliases expanded|found undefined alias"),
        ("[" * 5000, "not YAML|levels"),
        ("- a\n- b\n", r"expected a mapping of sections at the top level \(line 1\)"),
        ("train:\n  epochs: 1\n  epochs: 2\n", r"is set twice, first on line 2 \(line 3\)"),
        ("train:\n\tepochs: 1\n", r"\(line 2\)"),
        ("train: !!python/object/apply:os.system ['true']\n", "tag"),
        ("train: {epochs: !!int x}\n", "is not a valid value"),
        ("a: b: c\n", r"not YAML.*\(line 1\)"),
    ],
)
def test_what_is_dangerous_or_ambiguous_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    with pytest.raises(ConfigError, match=f"50,000,000 bytes; a configuration has at most {SIZE_LIMIT_BYTES:,}"):
        load_config(Config, default=None, path=path, environ={})


def test_missing_folder_and_binary_files_are_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="no file"):
        load_config(Config, default=None, path=tmp_path / "none.yaml", environ={})
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(Config, default=None, path=tmp_path, environ={})
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(Config, default=None, path=tmp_path / "binary.yaml", environ={})


def test_an_empty_file_means_the_defaults(tmp_path):
    assert load(tmp_path, "# nothing\n").model == Config()


@settings(deadline=None)
@given(
    st.integers(1, 100),
    st.sampled_from(["fast", "slow"]),
    st.text(
        st.characters(codec="utf-8", exclude_characters="$\r\x85\u2028\u2029", exclude_categories=("Cs", "Cc")),
        max_size=20,
    ),
)
def test_the_configuration_as_used_loads_as_the_same_model(tmp_path_factory, epochs, mode, password):
    model = Config(train=Train(epochs=epochs, mode=mode, password=password))
    path = tmp_path_factory.mktemp("round") / "c.yaml"
    from mlops_core.config_files.loaded import LoadedConfig

    path.write_text(LoadedConfig(model=model, path=None).to_yaml(), encoding="utf-8")
    assert load_config(Config, default=None, path=path, environ={}).model == model


def test_the_environment_is_read_in_one_place():
    settings = read_settings({"MLOPS_HOME": "/x", "USECASE_NAME": "AED"})
    assert (str(settings.home), settings.use_case) == ("/x", "AED")
    assert str(read_settings({}).home) == ".mlops"


def test_backslashes_of_paths_are_turned():
    assert normalise_path(r"..\datasets\x") == "../datasets/x"
