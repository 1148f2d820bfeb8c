"""Kinds of output that a use case adds to ``mlops predict``: options, help, formats, and the combinations refused."""

import json
import os
import subprocess
import sys

import pytest

MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


@pytest.fixture
def predict(toy, workspace, call):
    def told(*arguments, code=0, stdin=b"", **environ):
        if not stdin:
            found, out, err = call("--workspace", workspace, "predict", *arguments, **environ)
            assert found == code, err
            return out + err if code else out
        done = subprocess.run(
            [*MLOPS, "--workspace", str(workspace), "predict", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env={**os.environ, **environ},
            check=False,
        )
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode() if not code else done.stdout.decode() + done.stderr.decode()

    return told


@pytest.fixture
def model(ran):
    """A registered model of TOY."""


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("apple", "pear")]
    for path in paths:
        path.touch()
    return paths


def test_an_output_of_the_use_case_is_written_with_its_options(predict, model, files):
    assert predict("-u", "TOY", "--spelling", "lines", *files) == "a p p\np e a\n"
    out = predict("-u", "TOY", "--spelling=lines", "--letters", 2, "--upper-case", "--prefix", "> ", *files)
    assert out == "> A P\n> P E\n"
    assert predict("--count", "number", *files, USECASE_NAME="toy") == "2\n"


def test_json_selects_the_json_format_of_an_output(predict, model, files):
    documents = json.loads(predict("-u", "TOY", "--spelling", "lines", "--json", *files))
    assert [document["letters"] for document in documents] == [["a", "p", "p"], ["p", "e", "a"]]
    assert documents[0]["classes"] == ["long", "short"]
    assert json.loads(predict("-u", "TOY", "--spelling", "json", "--json", *files)) == documents
    assert "--json cannot be combined with --spelling words; leave one of them out" in predict(
        "-u", "TOY", "--spelling", "words", "--json", *files, code=2
    )
    assert "--count has no such format; it has: number" in predict(
        "-u", "TOY", "--count", "number", "--json", *files, code=2
    )


def test_standard_input_is_read_only_by_outputs_that_read_it(predict, model):
    assert predict("-u", "TOY", "--spelling", "lines", "-", stdin=b"word") == "w o r\n"
    assert "no file -" in predict("-u", "TOY", "--count", "number", "-", code=5)
    assert "no file -" in predict("-u", "TOY", "-", code=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--letters", "2"), "--letters needs --spelling, which is not set"),
        (("--upper-case",), "--upper-case needs --spelling, which is not set"),
        (("--count", "number", "--prefix", "x"), "--prefix needs --spelling, which is not set"),
        (("--count", "number", "--spelling", "lines"), "--spelling and --count exclude each other"),
        (("--count", "number", "--top", "2"), "--top cannot be combined with --count"),
        (("--events", "table"), "predict has no option --events for the use case TOY; see: mlops predict"),
        (("--leters", "2"), "has no option --leters for the use case TOY; did you mean '--letters'?"),
        (("--spelling", "list"), "'list' is not one of 'lines', 'json'"),
        (("--spelling", "lines", "--letters", "0"), "0 is not in the range x>=1"),
    ],
)
def test_an_option_that_has_no_effect_is_refused_by_name(predict, files, options, message):
    assert message in predict("-u", "TOY", *options, *files, code=2)


def test_an_option_of_a_use_case_is_refused_when_none_is_chosen(predict, files):
    err = predict("--letters", "2", *files, code=2, USECASE_NAME="")
    assert "predict has no option --letters; set --usecase if a use case adds it" in err


def test_a_missing_file_is_named_before_a_model_is_loaded(predict, files):
    assert "no file" in predict("-u", "TOY", "--spelling", "lines", files[0] / "missing", code=5)


def test_files_that_exist_are_answered_and_missing_ones_named(predict, model, files):
    out = predict("-u", "TOY", "--spelling", "lines", files[0], files[0] / "missing", files[1], code=5)
    assert out.startswith("a p p\np e a\n")
    assert f"no file {files[0] / 'missing'}" in out


@pytest.mark.skipif(os.name != "posix", reason="names of files are text elsewhere")
def test_a_name_that_is_not_text_is_written_with_its_bytes(predict, model, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9")
    path.touch()
    assert "caf\\xe9" in predict("-u", "TOY", path)
    assert json.loads(predict("-u", "TOY", "--json", path))[0]["path"].endswith("caf\\xe9")
    assert f"no file {tmp_path}/gone\\xff" in predict("-u", "TOY", tmp_path / os.fsdecode(b"gone\xff"), code=5)


def test_a_failure_in_the_function_of_an_output_names_plugin_output_and_line(predict, model, files):
    err = predict("-u", "TOY", "--count", "number", *files, files[0], code=6)
    for word in ("use case 'TOY'", "output 'count' failed", "ZeroDivisionError: cannot count so far", "spelling.py:"):
        assert word in err


def test_help_shows_the_options_of_the_chosen_use_case_only(predict):
    neutral = predict("--help", USECASE_NAME="")
    assert "--letters" not in neutral
    assert "--model" in neutral
    for arguments, environ in ((("--help", "-u", "toy"), {}), (("--help",), {"USECASE_NAME": "TOY"})):
        out = predict(*arguments, **environ)
        own, added = out.split("Options of the use case 'TOY':")
        assert "--model" in own
        assert "--letters" not in own
        for text in ("--spelling [lines|json|words]", "--letters", "[default: 3; x>=1]", "--upper-case", "--count"):
            assert text in added


def test_help_works_without_the_plugin_and_says_why_its_options_are_missing(predict):
    out = " ".join(predict("--help", USECASE_NAME="TOYS").split())
    assert "--model" in out
    assert "The options of the use case are not shown: no use case 'TOYS'" in out
