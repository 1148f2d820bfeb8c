"""The command line when nobody reads it, when its streams are closed, and what --json prints when a call is refused."""

import json
import os
import shlex
import subprocess
import sys

import pytest

MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
CODES = {
    "list": 0,
    "run -u TOY": 0,
    "run -u TOY --param q_acc=0.9 --set training.bias=100": 3,
    "run -u TOY --set training.behaviour=raise": 4,
    "run -u NOPE": 2,
    "plan -u TOY --json": 0,
}


def shell(line, workspace, **environ):
    """Run a line of bash in which ``mlops`` is the command; return the codes of its commands, output and errors."""
    program = shlex.join([*MLOPS, "--workspace", str(workspace)])
    script = f'mlops() {{ {program} "$@"; }}\n{line}\necho "codes ${{PIPESTATUS[@]}}" >&3'
    reading, writing = os.pipe()
    done = subprocess.run(
        ["bash", "-c", script.replace(">&3", f">&{writing}")],
        capture_output=True,
        text=True,
        check=False,
        pass_fds=[writing],
        env={**os.environ, **environ},
        timeout=120,
    )
    os.close(writing)
    with os.fdopen(reading) as stream:
        codes = [int(code) for code in stream.read().split()[1:]]
    return codes, done.stdout, done.stderr


@pytest.mark.representatives("command", "end")
@pytest.mark.parametrize("command", CODES)
@pytest.mark.parametrize("end", ["2>&1 | true", ">&-", "2>&-", ">&- 2>&- <&-"])
def test_the_exit_code_is_the_commands_own_with_and_without_a_reader(toy, workspace, command, end):
    codes, _, errors = shell(f"mlops {command} {end}", workspace)
    assert codes[0] == CODES[command], errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    if CODES[command] == 2 and "2>" not in end:
        assert errors.count("mlops: error:") == 1


def test_a_reader_of_the_first_lines_gets_them(toy, workspace):
    codes, out, _ = shell("mlops describe -u TOY | head -n 1", workspace)
    assert codes[0] == 0
    assert out.count("\n") == 1


def test_a_closed_stream_is_not_replaced_by_a_file_of_the_workspace(toy, workspace):
    codes, _, _ = shell("mlops run -u TOY >&- 2>&-", workspace)
    assert codes == [0]
    codes, out, _ = shell("mlops runs list --json", workspace)
    assert [run["status"] for run in json.loads(out)] == ["accepted"]
    assert codes == [0]


def test_an_endless_output_ends_when_its_reader_has_gone(toy, workspace, tmp_path):
    shell("mlops run -u TOY", workspace)
    for number in range(2000):
        (tmp_path / f"file-{number}").touch()
    files = "file-{0..1999}"
    codes, out, errors = shell(f"mlops predict -u TOY --spelling lines {files} 2>/dev/null | head -n 1", workspace)
    assert codes[0] == 0, errors
    assert out == "f i l\n"


def test_an_output_that_is_lost_for_another_reason_is_an_error(toy, workspace):
    codes, _, errors = shell("mlops list > /dev/full", workspace)
    assert codes == [4]
    assert "standard output is incomplete: No space left on device" in errors
    codes, _, _ = shell("mlops run -u NOPE > /dev/full", workspace)
    assert codes == [2]


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("MLOPS_HOME='~nosuch/x' python_mlops runs list", "MLOPS_HOME: ~nosuch/x: the home folder of ~nosuch"),
        ("mlops run -u TOY --set 'dataset.path=~nosuch/data'", "dataset.path: ~nosuch/data: the home folder"),
        ("mlops plan -u TOY --set 'dataset.path=~nosuch/data'", "dataset.path: ~nosuch/data: the home folder"),
        ("mlops fetch -u TOY --set 'dataset.path=~nosuch/data'", "dataset.path: ~nosuch/data: the home folder"),
        ("mlops datasets check -u TOY --set 'dataset.path=~nosuch/data'", "dataset.path: ~nosuch/data"),
    ],
)
def test_the_home_of_a_user_who_does_not_exist_is_a_usage_error(toy, workspace, line, named):
    codes, _, errors = shell(line.replace("python_mlops", shlex.join(MLOPS)), workspace)
    assert codes == [2]
    assert named in errors
    assert errors.count("mlops: error:") == 1


# --- --json -----------------------------------------------------------------------------------------------

REFUSED = {
    "run -u NOPE --json": 2,
    "run -u TOY --set a.b=1 --json": 2,
    "run -u TOY --json --nope": 2,
    "runs list --json=1": 2,
    "run -u TOY --set training.bias=x --set features.scale=99 --json": 2,
    "run --resume nope --json": 2,
    "plan -u TOY --param nope=1 --json": 2,
    "plan -u TOY --set dataset.path=/nowhere --json": 5,
    "describe -u NOPE --json": 2,
    "fetch -u TOY --set dataset.path=/nowhere --json": 5,
    "why nope train --json": 2,
    "predict -u TOY /etc/hosts --json": 2,
    "runs show nope --json": 2,
    "runs list --json --limit x": 2,
    "runs compare a b --json": 2,
    "models show -u TOY --json": 2,
    "models approve 1 -u TOY --why x --json": 2,
    "datasets show nope -u TOY --json": 2,
    "datasets check nope -u TOY --json": 2,
    "gc --keep x --json": 2,
    "gate selftest -u NOPE --json": 2,
    "parity -u NOPE --json": 2,
    "import stm32 /nowhere --json": 2,
    "nope --json": 2,
    "plugin check NOPE --json": 2,
    "matrix --json --nope": 2,
    "compile -u NOPE --json": 2,
    "doctor --json --nope": 2,
}


@pytest.mark.parametrize("command", REFUSED)
def test_a_refused_call_prints_one_json_document(toy, workspace, command):
    codes, out, errors = shell(f"mlops {command}", workspace)
    assert codes == [REFUSED[command]], errors
    error = json.loads(out)["error"]
    assert error["code"] == REFUSED[command]
    assert error["kind"].endswith("Error")
    assert error["message"].splitlines()[0] in errors
    assert "\n  " not in error["message"] or error["problems"]


def test_all_problems_of_a_configuration_are_in_the_document(toy, workspace):
    line = "mlops run -u TOY --set training.bias=x --set features.scale=99 --json"
    _, out, _ = shell(line, workspace)
    assert len(json.loads(out)["error"]["problems"]) == 2


def test_a_defect_is_a_document_too(toy, workspace, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import mlops_core.workspace.runs as runs\nruns.RunStore.newest = lambda *a, **k: 1 / 0\n"
    )
    path = f"{os.environ['PYTHONPATH']}:{tmp_path}"
    codes, out, _ = shell("mlops runs list --json", workspace, PYTHONPATH=path)
    assert codes == [1]
    assert json.loads(out)["error"]["kind"] == "ZeroDivisionError"


def test_a_result_that_is_printed_already_stays_the_only_document(toy, workspace, tmp_path):
    (tmp_path / "empty").mkdir()
    codes, out, _ = shell(f"mlops run -u TOY --set dataset.path={tmp_path / 'empty'} --json", workspace)
    assert codes == [5]
    assert json.loads(out)["exit_code"] == 5


def test_an_argument_after_two_dashes_asks_for_nothing(toy, workspace):
    codes, out, _ = shell("mlops predict -u TOY -- --json", workspace)
    assert codes == [5]  # it is the name of a file, which is missing
    assert out == ""


@pytest.mark.representatives(2)
@pytest.mark.parametrize("encoding", ["iso8859-5", "cp1252", "ascii", "utf-16"])
def test_json_is_a_document_in_every_encoding_of_the_output(encoding):
    """What an encoding lacks would be written in Python's way, which is not JSON's: ``\\xe9``, ``\\U0001f600``."""
    code = (
        "from mlops_core.cli.streams import StandardStreams as S; s = S()\nfrom mlops_core.cli.output import print_json"
    )
    code += "\nprint_json(['\\u00e9', '\\U0001f600', '\\u0416']); s.close()"
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environ)
    text = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    assert json.loads(text) == ["\u00e9", "\U0001f600", "\u0416"]
