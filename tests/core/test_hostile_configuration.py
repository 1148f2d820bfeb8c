"""A configuration that is a device, a pipe or a bomb is refused by name, in bounded time and memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_core.config import UseCaseConfig
from mlops_core.config_files.loading import load_config
from mlops_core.config_files.yaml_source import read_yaml_file, read_yaml_text, read_yaml_value
from mlops_core.errors import ConfigError


class Scaled(UseCaseConfig):
    scale: float = 1


def read(text):
    return read_yaml_text(text, name="c.yaml", environ={})


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/urandom"])
def test_a_device_is_refused_by_name(path):
    with pytest.raises(ConfigError, match=f"{path} cannot be read: it is not a regular file; expected a YAML"):
        read_yaml_file(Path(path), environ={})


def test_a_named_pipe_without_a_writer_is_refused_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="c.yaml cannot be read: it is not a regular file"):
        read_yaml_file(tmp_path / "c.yaml", environ={})


def test_the_output_of_a_command_that_a_shell_passes_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"training: {epochs: 3}\n")
    os.close(writing)
    assert read_yaml_file(Path(f"/dev/fd/{reading}"), environ={}).data == {"training": {"epochs": 3}}
    os.close(reading)


def test_the_output_of_a_command_is_read_once_by_a_use_case_that_reads_other_layouts_too():
    reading, writing = os.pipe()
    os.write(writing, b"scale: 7.5\n")
    os.close(writing)
    path = Path(f"/dev/fd/{reading}")
    loaded = load_config(Scaled, default=None, path=path, environ={}, convert=lambda source: None)
    assert loaded.model.scale == 7.5
    with pytest.raises(ConfigError, match=f"{path} is empty; expected a YAML configuration, which a pipe holds only"):
        read_yaml_file(path, environ={})
    os.close(reading)


def test_an_endless_file_is_read_up_to_the_limit_only(tmp_path):
    with (tmp_path / "c.yaml").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ConfigError, match="c.yaml has 1,099,511,627,776 bytes; a configuration has at most 1,048,576"):
        read_yaml_file(tmp_path / "c.yaml", environ={})
    with pytest.raises(ConfigError, match="is not the name of a file"):
        read_yaml_file(Path("a\0b"), environ={})


@pytest.mark.parametrize("configuration", ["/dev/zero", "/dev"])
def test_the_command_line_refuses_a_device_as_a_configuration(toy, tmp_path, configuration):
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "run", "-u", "TOY", "-c", configuration]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


@pytest.mark.parametrize(
    "number",
    ["0x" + "f" * 20_000, "0o" + "7" * 20_000, "9" * 20_000, "-" + "9" * 500, "1e" + "9" * 500, "1." + "0" * 500],
)
@pytest.mark.parametrize("form", ["a: {}", "a: !!int '{}'", "a: !!float '{}'", "a: [1, {}]"])
def test_a_number_that_is_too_long_is_refused_by_its_key(number, form):
    with pytest.raises(ConfigError, match=r"c\.yaml: a(\[1\])? is not a valid value: .*\(line 1\)") as caught:
        read(form.format(number))
    assert "!!" in form or "expected at most 400" in str(caught.value)


def test_a_long_number_in_an_override_is_refused():
    with pytest.raises(ConfigError, match="a number of 5,002 characters; expected at most 400"):
        read_yaml_value("0x" + "f" * 5_000, key="a", name="--set")


def test_the_longest_number_that_a_float_needs_is_read():
    assert read(f"a: {'9' * 309}\nb: 0x{'f' * 64}\nc: 1.7976931348623157e308").data == {
        "a": int("9" * 309),
        "b": int("f" * 64, 16),
        "c": 1.7976931348623157e308,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 20_000, "nested too deeply"),
        ("{a: " * 20_000, "nested too deeply"),
        ("- " * 20_000, "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, "50 levels"),
        ("a: &a [*a]", "50 levels"),
        ("a: &a\n  <<: *a\n", "50 levels"),
        ("".join(f"k{n}: 1\n" for n in range(26_000)), "more than 50,000 values"),
        (
            "a: &a {" + ", ".join(f"k{n}: 1" for n in range(500)) + "}\nb:\n  <<: [" + ", ".join(["*a"] * 200) + "]\n",
            "50,000 values",
        ),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)),
            "50,000 values",
        ),
        ('a: "\\Uffffffff"', "not YAML"),
        ('a: "\\ud800"', "holds a NUL character, or half of a letter"),
        ('a: "x\\0y"', "holds a NUL character, or half of a letter"),
        ("a: !!timestamp '9999999-99-99'", "is not a valid value"),
        ("a: !!python/object/apply:os.system [x]", "has the tag"),
    ],
)
def test_a_bomb_or_nonsense_is_refused_by_name(text, message):
    with pytest.raises(ConfigError, match=f"c.yaml: .*({message})"):
        read(text)
