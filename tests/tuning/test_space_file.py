"""The file of a search space: the existing format is read, and each fault is named with its line."""

import math

import pytest

from mlops_core import RangeKind, TunedParameter
from mlops_core.errors import ConfigError
from mlops_core.tuning.space_file import read_space_file

PARAMETERS = (
    TunedParameter(name="learning_rate", key="training.learning_rate", minimum=1e-6, maximum=0.5),
    TunedParameter(name="image_size", key="training.image_size", type="integer", minimum=32, maximum=2048),
    TunedParameter(name="model_size", key="training.size", type="string", choices=("small", "medium")),
    TunedParameter(name="number_of_epochs", key="training.epochs", type="integer", minimum=1, maximum=1000),
    TunedParameter(name="optimizer", key="training.optimizer", type="string", choices=("sgd", "adam", "adamw")),
)
FILE = """\
search_space:
  - learning_rate:
      type: uniform
      min_value: 0.0001
      max_value: 0.01
    image_size:
      type: choice
      values: [640, 800]
    model_size:
      type: choice
      values: [small, medium]
    number_of_epochs:
      type: choice
      values: [50]
  - learning_rate:
      type: loguniform
      min_value: -9
      max_value: -2
    optimizer: {type: choice, values: [sgd, adam, adamw]}
"""


def read(tmp_path, text):
    path = tmp_path / "config_search_space.yml"
    path.write_text(text)
    return read_space_file(path, PARAMETERS)


def faults(tmp_path, text):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    return str(refused.value)


def test_the_existing_format_with_several_sub_spaces_is_read(tmp_path):
    first, second = read(tmp_path, FILE).subspaces
    assert list(first) == ["learning_rate", "image_size", "model_size", "number_of_epochs"]
    assert first["image_size"].values == (640, 800)
    assert second["learning_rate"].kind is RangeKind.LOG_UNIFORM
    assert second["learning_rate"].minimum == pytest.approx(math.exp(-9))


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    (tmp_path / "other.yml").write_bytes(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode())
    assert read_space_file(tmp_path / "other.yml", PARAMETERS) == read(tmp_path, FILE)


def test_limits_of_loguniform_that_are_meant_as_values_are_refused_with_the_other_name(tmp_path):
    message = faults(tmp_path, FILE.replace("-9", "0.0001").replace("-2", "0.01"))
    assert "search_space[1].learning_rate may be 1.0001 to 1.01005, since the limits of loguniform are exp" in message
    assert "for values from 0.0001 to 0.01 write type: log_uniform (line 15)" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "learning_rate:",
            "learning_rat:",
            "learning_rat is no parameter that can be tuned; did you mean 'learning_rate'?",
        ),
        ("type: uniform", "type: unifrom", "has the type 'unifrom'; did you mean 'uniform'? (line 3)"),
        ("min_value: 0.0001", "minimum: 0.0001", "minimum is not a key of type uniform"),
        (
            "max_value: 0.01\n",
            "max_value: 0.00001\n",
            "is empty: min_value 0.0001 is not below max_value 1e-05 (line 2)",
        ),
        ("max_value: 0.01\n", "max_value: ten\n", "needs max_value: a number, not 'ten' (line 5)"),
        ("values: [640, 800]", "values: 640", "needs values: a list of numbers or texts, not 640 (line 6)"),
        ("values: [640, 800]", "values: [640, 16]", "may be 16, which is not a whole number from 32 to 2048 (line 6)"),
        ("values: [50]", "values: []", "number_of_epochs has no values"),
        ("values: [50]", "values: [5.5]", "number_of_epochs may be 5.5, which is not a whole number from 1"),
        ("values: [50]", "values: [010]", "values[0] 010 is 8 in YAML 1.1 and 10 in YAML 1.2"),
        (
            "type: loguniform\n      min_value: -9\n      max_value: -2",
            "type: lognormal\n      mu: 3\n      sigma: 0.1",
            "learning_rate has mu: 3, around 20.0855, which is not a number from",
        ),
        ("search_space:", "search_spaces:", "search_spaces is unknown; did you mean 'search_space'? (line 1)"),
        (
            "{type: choice, values: [sgd, adam, adamw]}",
            "{type: choice, values: [rmsprop]}",
            "'rmsprop', which is not one of sgd",
        ),
        ("{type: choice, values: [sgd, adam, adamw]}", "sgd", "has the type missing; expected one of choice"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, old, new, expected):
    assert expected in faults(tmp_path, FILE.replace(old, new, 1))


def test_all_faults_are_reported_at_once(tmp_path):
    message = faults(tmp_path, FILE.replace("learning_rate:", "rate:", 1).replace("[50]", "[5000]"))
    assert "has 2 faults" in message
    assert "(line 2)" in message
    assert "(line 12)" in message


@pytest.mark.parametrize(
    "text", ["", "search_space: {}\n", "search_space: []\n", "search_space: [1]\n", "[1]\n", "a: [\n"]
)
def test_other_documents_are_refused_in_one_line(tmp_path, text):
    assert "config_search_space.yml" in faults(tmp_path, text)


def test_a_logarithm_of_zero_is_refused(tmp_path):
    text = FILE.replace("type: loguniform\n      min_value: -9", "type: log_uniform\n      min_value: 0")
    message = faults(tmp_path, text.replace("max_value: -2", "max_value: 0.1"))
    assert "is logarithmic and begins at 0; expected min_value above 0 (line 15)" in message
