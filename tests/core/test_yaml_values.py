"""Values of YAML files: the meaning of YAML 1.2, and a refusal where YAML 1.1 has another one."""

from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from mlops_core import ImportedConfig, ImportedKey, ImportFate, Section, UseCaseConfig, YamlSource
from mlops_core.config_files.loaded import LoadedConfig
from mlops_core.config_files.loading import load_config, validate_sources
from mlops_core.config_files.yaml_source import read_yaml_text
from mlops_core.errors import ConfigError


class Inner(Section):
    count: int = 0
    rate: Annotated[float, Field(allow_inf_nan=True)] = 0.0
    name: str = ""
    names: tuple[str, ...] = ()
    either: str | int | float = 0
    is_on: bool = False
    options: dict[str, Any] = {}
    numbered: dict[int, str] = {}
    flags: dict[int, bool] = {}
    rates: dict[float, int] = {}


class Config(UseCaseConfig):
    inner: Inner = Inner()
    other: Inner = Inner()


def load(tmp_path, text, *overrides, **environ):
    path = tmp_path / "user_config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(Config, default=None, path=path, overrides=overrides, environ=environ)


AMBIGUOUS = [
    *(("count", text) for text in ("010", "0300", "007", "08", "1:30", "1_000", "0b11", "0o17", "yes", "off", "true")),
    *(("rate", text) for text in ("010", "1:30.5", "1_0.5", "on", "true")),
    *(("name", text) for text in ("no", "NO", "Off", "010", "2024-01-02", "1:30", "1_000")),
    *(("either", text) for text in ("00010", "00001", "yes", "12:34:56", "1_0")),
    *(("options", text) for text in ("{a: yes}", "{a: [010]}")),
]


@pytest.mark.parametrize(("key", "text"), AMBIGUOUS)
def test_what_two_readers_read_differently_is_refused_with_its_line(tmp_path, key, text):
    with pytest.raises(ConfigError, match=rf"user_config.yaml: inner.{key}.*\(line 2\)") as caught:
        load(tmp_path, f"inner:\n  {key}: {text}\n")
    assert "quote it" in str(caught.value) or "expected a number" in str(caught.value)
    with pytest.raises(ConfigError, match=f"--set inner.{key}="):
        load(tmp_path, "", f"inner.{key}={text}")


@pytest.mark.parametrize(("key", "text"), [item for item in AMBIGUOUS if item[0] not in ("options", "either")])
def test_variables_follow_the_same_rules_without_showing_their_value(tmp_path, key, text):
    with pytest.raises(ConfigError, match="quote it|valid integer|valid number") as caught:
        load(tmp_path, f"inner:\n  {key}: ${{X_TOKEN}}\n", X_TOKEN=text)
    assert "${X_TOKEN}" in str(caught.value)


@pytest.mark.parametrize("text", ["'010'", '"1_000"', "'٣'", "${X:-010}", "'${X:-1_0}'", "!!int '010'", "!!int 0300"])
@pytest.mark.parametrize("key", ["count", "rate"])
def test_a_quoted_or_tagged_number_is_plain_or_refused(tmp_path, key, text):
    with pytest.raises(ConfigError, match=rf"user_config.yaml: inner.{key}.*\(line 2\)"):
        load(tmp_path, f"inner:\n  {key}: {text}\n")
    plain = load(tmp_path, "inner:\n  count: '3'\n  rate: ' 1e-3 '\n", "other.count='4'").model
    assert (plain.inner.count, plain.inner.rate, plain.other.count) == (3, 0.001, 4)


def test_a_key_that_is_a_list_is_refused_with_its_line(tmp_path):
    message = r"user_config\.yaml: inner has a mapping or a list as a key; expected a name \(line 2\)"
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, "inner:\n  ? [a, b]\n  : 1\n")


def test_names_of_classes_and_countries_are_refused_each_by_itself(tmp_path):
    with pytest.raises(ConfigError, match=r"inner.names\[1\]: NO is false in YAML 1.1 and text in YAML 1.2; quote it"):
        load(tmp_path, "inner:\n  names: [DE, NO]\n")
    assert len(_problems(tmp_path, "inner:\n  names: [yes, no]\n")) == 2


def _problems(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count: 0x1F", {"count": 31}),
        ("count: 1e3", {"count": 1000}),
        ("rate: 1e-3", {"rate": 0.001}),
        ("rate: .inf", {"rate": float("inf")}),
        ("is_on: yes", {"is_on": True}),
        ("is_on: off", {"is_on": False}),
        ("names: ['010', \"no\", y, n]", {"names": ("010", "no", "y", "n")}),
        ("name: !!str 010", {"name": "010"}),
        ("either: 1e3", {"either": 1000.0}),
        ("options: {00010: cat, no: dog}", {"options": {"00010": "cat", "no": "dog"}}),
    ],
)
def test_what_every_reader_agrees_on_has_that_value(tmp_path, text, expected):
    model = load(tmp_path, f"inner:\n  {text}\n").model.inner
    assert {name: getattr(model, name) for name in expected} == expected


def test_a_number_where_text_is_expected_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="inner.name: 1.1: input should be a valid string; quote it"):
        load(tmp_path, "inner: {name: 1.10}\n")


def test_an_ambiguous_default_that_the_user_overrides_does_not_count(tmp_path):
    default = tmp_path / "default.yaml"
    default.write_text("inner: {name: no, names: [yes]}\n")
    path = tmp_path / "user.yaml"
    path.write_text("inner: {name: other}\n")
    loaded = load_config(Config, default=default, path=path, overrides=["inner.names=[a]"], environ={})
    assert (loaded.model.inner.name, loaded.model.inner.names) == ("other", ("a",))


def test_merge_keys_take_what_a_mapping_does_not_set_itself(tmp_path):
    text = (
        "x-base: &base {count: 1, name: a, rate: 0.5}\n"
        ".more: &more {count: 7, is_on: true}\n"
        "inner: &inner\n  <<: [*base, *more]\n  name: b\n"
        "other:\n  <<: *inner\n  rate: 2.5\n"
    )
    model = load(tmp_path, text).model
    assert (model.inner.count, model.inner.name, model.inner.rate, model.inner.is_on) == (1, "b", 0.5, True)
    assert (model.other.count, model.other.name, model.other.rate) == (1, "b", 2.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inner:\n  <<: 3\n", "merges something other than a mapping"),
        ("inner: &i\n  <<: *i\n", "aliases expanded|undefined alias"),
        ("inner:\n  <<: {count: 1}\n  <<: {count: 2}\n", "is set twice"),
        ("x-b: &b {nope: 1}\ninner:\n  <<: *b\n", r"inner.nope: unknown key.*\(line 1\)"),
    ],
)
def test_wrong_merges_are_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


# --- Files of other programs -------------------------------------------------------------------------------


def convert(source):
    keys = (
        ImportedKey(key="ids", line=1, fate=ImportFate.MAPPED, target="inner.names"),
        ImportedKey(key="n", line=2, fate=ImportFate.MAPPED, target="inner.count"),
        ImportedKey(key="flag", line=3, fate=ImportFate.MAPPED, target="inner.is_on"),
        ImportedKey(key="labels", line=4, fate=ImportFate.REFUSED, note="is wrong"),
    )
    given = {"names": [str(item) for item in source.data.get("ids", [])], "count": source.data.get("n", 0)}
    given["is_on"] = source.data.get("flag", False)
    converted = YamlSource(name=source.name, data={"inner": given})
    return ImportedConfig(layout="old", source=converted, keys=keys).with_notes_of(source)


@pytest.mark.parametrize("text", ["ids: [00010]", "ids: [1.10]", "ids: [0x1F, a]", "ids: [1e3]", "n: 010", "n: 1:30"])
def test_a_converted_value_that_its_program_may_read_differently_is_refused(text):
    imported = convert(read_yaml_text(text, name="old.yaml", environ={}, is_foreign=True))
    with pytest.raises(ConfigError, match="old.yaml: inner.*quote it"):
        validate_sources(Config, [imported.source])


def test_a_truth_value_of_a_foreign_file_stays_one():
    imported = convert(read_yaml_text("flag: yes\nn: 0x1F\nids: [a]\n", name="old.yaml", environ={}, is_foreign=True))
    model = validate_sources(Config, [imported.source]).model
    assert (model.inner.is_on, model.inner.count, model.inner.names) == (True, 31, ("a",))


def test_a_refused_key_of_a_foreign_file_says_what_is_ambiguous():
    imported = convert(read_yaml_text("labels: [yes, no]\n", name="old.yaml", environ={}, is_foreign=True))
    with pytest.raises(ConfigError, match="labels: is wrong; yes is true in YAML 1.1 and text in YAML 1.2; quote it"):
        imported.require_accepted()


def test_a_secret_of_a_foreign_file_stays_a_reference():
    text = "ids: ['${MY_TOKEN}', b]\n"
    imported = convert(read_yaml_text(text, name="old.yaml", environ={"MY_TOKEN": "s3cret"}, is_foreign=True))
    loaded = validate_sources(Config, [imported.source])
    assert "s3cret" not in loaded.to_yaml()
    assert yaml.safe_load(loaded.to_yaml())["inner"]["names"] == ["${MY_TOKEN}", "b"]


# --- The configuration as it is saved ----------------------------------------------------------------------


def test_saved_texts_are_texts_for_every_reader(tmp_path):
    texts = ("1e3", "010", "08", "0o17", "yes", "2024-01-02", "1:30", "null", "~", "${HOME}", "$${X}", "<<", "=", "")
    model = Config(inner=Inner(names=texts, either="1e3"))
    saved = LoadedConfig(model=model, path=None).to_yaml()
    assert load(tmp_path, saved, HOME="/elsewhere").model == model
    assert yaml.safe_load(saved)["inner"]["either"] == "1e3"


def test_secrets_are_saved_as_references_wherever_they_are(tmp_path):
    options = "{a.b: '${API_KEY}', c: [{d: '${API_KEY}'}]}"
    text = f"inner: {{name: 'a-${{API_KEY}}', names: [x, '${{API_KEY}}'], options: {options}}}"
    loaded = load(tmp_path, text, API_KEY="s3cret")
    saved = loaded.to_yaml()
    assert "s3cret" not in saved
    assert load(tmp_path, saved, API_KEY="other").model.inner == Inner(
        name="a-other", names=("x", "other"), options={"a.b": "other", "c": [{"d": "other"}]}
    )
    assert "s3cret" not in str(loaded.comparable_sections())


def test_a_secret_that_is_overridden_is_none_any_more(tmp_path):
    default = tmp_path / "default.yaml"
    default.write_text("inner: {name: '${API_KEY}'}\n")
    loaded = load_config(Config, default=default, path=None, overrides=["inner.name=x"], environ={"API_KEY": "s3cret"})
    assert yaml.safe_load(loaded.to_yaml())["inner"]["name"] == "x"


def test_a_wrong_secret_is_not_shown(tmp_path):
    with pytest.raises(ConfigError, match=r"inner.count: \$\{API_KEY\}: input should be a valid integer") as caught:
        load(tmp_path, "inner: {count: '${API_KEY}'}\n", API_KEY="s3cret")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["010", "01", "1_0", "'+01'", "' 1'"])
def test_a_key_that_is_a_number_of_another_spelling_is_refused_with_its_line(tmp_path, name):
    with pytest.raises(ConfigError, match=r"inner.numbered.*expected a number in plain digits.*\(line 4\)"):
        load(tmp_path, f"inner:\n  numbered:\n    1: a\n    {name}: b\n")


def test_values_below_keys_that_are_numbers_follow_the_same_rules(tmp_path):
    inner = load(tmp_path, "inner: {numbered: {1: a}, flags: {2: yes}, rates: {1: 2, 0.5: 3}}").model.inner
    assert (inner.numbered, inner.flags, inner.rates) == ({1: "a"}, {2: True}, {1.0: 2, 0.5: 3})
    with pytest.raises(ConfigError, match="rates.1.0: true is a truth value"):
        load(tmp_path, "inner: {rates: {1.0: true}}")
