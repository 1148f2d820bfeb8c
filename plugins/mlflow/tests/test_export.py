import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parents[3] / "tests" / "toy"

SCRIPT = """\
import json, sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps(model.predict(pandas.DataFrame({"path": sys.argv[2:]}))))
"""


def test_an_exported_model_says_how_mlflow_loads_it(workspace):
    import yaml

    workspace.mlops("run", "--usecase", "TOY")
    workspace.mlops("models", "export", "--usecase", "TOY", "best", "exported", "--format", "mlflow")
    description = yaml.safe_load((workspace.folder / "exported" / "MLmodel").read_text())
    assert description["flavors"]["python_function"]["loader_module"] == "mlops_mlflow.pyfunc"
    assert "mlops-toy==0.1.0" in (workspace.folder / "exported" / "requirements.txt").read_text()
    assert json.loads((workspace.folder / "exported" / "mlops-model.json").read_text())["use_case"] == "TOY"


def test_the_loader_answers_as_predict_does(workspace):
    files = []
    for name in ("a", "a much longer name"):
        files.append(workspace.folder / name)
        files[-1].write_text("x")
    workspace.mlops("run", "--usecase", "TOY")
    workspace.mlops("models", "export", "--usecase", "TOY", "best", "exported", "--format", "mlflow")
    answers = json.loads(workspace.mlops("predict", "--usecase", "TOY", "--json", *files).stdout)
    expected = [{key: value for key, value in answer.items() if key != "path"} for answer in answers]
    code = (
        "import json, sys; from pathlib import Path; from mlops_mlflow.pyfunc import _load_pyfunc\n"
        "class Frame(dict):\n"
        "    columns = property(lambda self: list(self))\n"
        "print(json.dumps(_load_pyfunc(sys.argv[1]).predict(Frame(path=sys.argv[2:]))))"
    )
    command = [sys.executable, "-c", code, str(workspace.folder / "exported"), *map(str, files)]
    environ = {**os.environ, "PYTHONPATH": str(TOY)}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    assert json.loads(result.stdout) == expected


@pytest.mark.slow_suite
def test_mlflow_loads_an_exported_model(workspace):
    pytest.importorskip("pandas")
    file = workspace.folder / "a long enough name"
    file.write_text("x")
    workspace.mlops("run", "--usecase", "TOY")
    workspace.mlops("models", "export", "--usecase", "TOY", "best", "exported", "--format", "mlflow")
    answers = json.loads(workspace.mlops("predict", "--usecase", "TOY", "--json", file).stdout)
    expected = [{key: value for key, value in answer.items() if key != "path"} for answer in answers]
    command = [sys.executable, "-c", SCRIPT, str(workspace.folder / "exported"), str(file)]
    environ = {**os.environ, "PYTHONPATH": str(TOY)}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    assert json.loads(result.stdout.splitlines()[-1]) == expected
