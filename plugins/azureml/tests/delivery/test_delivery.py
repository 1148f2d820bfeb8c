"""CI files and infrastructure; their scripts are executed as far as they need neither Azure nor Docker."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlops_azureml.delivery.ci import ACTIONS, INSTALL, PROVIDERS, VARIABLES, Project, ci_file, render, template
from mlops_azureml.delivery.infrastructure import FILES, infrastructure_text, write_infrastructure
from mlops_azureml.settings import VARIABLES as SETTINGS

from mlops_core.errors import UsageError

AZ = """
import sys
with open("calls", "a") as stream:
    print("az", *sys.argv[1:], file=stream)
"""


def texts(value):
    """Yield all texts in a document."""
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("provider", PROVIDERS)
def test_ci_file_is_yaml_without_markers_and_secrets(provider):
    file = ci_file("TOY", provider=provider)
    data = yaml.safe_load(file.text)
    assert "<<" not in file.text
    assert not re.search(r"secrets\.|password|client_secret|connection.?string", file.text, re.IGNORECASE)
    assert 'mlops --workspace temp run --usecase "$USECASE_NAME" --runner azureml' in file.text
    assert any("wheels.txt" in text for text in texts(data))
    assert set(VARIABLES) <= set(file.variables)


def test_github_signs_in_without_a_secret_after_the_installation_and_pins_actions():
    data = yaml.safe_load(ci_file("TOY", provider="github").text)
    assert data["permissions"] == {"id-token": "write", "contents": "read"}
    steps = data["jobs"]["pipeline"]["steps"]
    names = [step.get("name") or step["uses"].partition("@")[0] for step in steps]
    assert names.index("Install") < names.index("azure/login") < names.index("Pipeline")
    assert "env" not in steps[names.index("Install")]
    assert set(steps[names.index("azure/login")]["with"]) == {"client-id", "tenant-id", "subscription-id"}
    for step in steps:
        if "uses" in step:
            action, _, commit = step["uses"].partition("@")
            assert ACTIONS[action][0] == commit
            assert re.fullmatch(r"[0-9a-f]{40}", commit)
    pipeline = steps[names.index("Pipeline")]["env"]
    assert set(pipeline) - {"AZURE_CLIENT_ID"} <= set(SETTINGS.values())  # each name is one that a run reads
    assert pipeline["BUILD_ID"] == "${{ github.run_id }}"


def test_azure_devops_signs_in_with_a_service_connection():
    data = yaml.safe_load(ci_file("TOY", provider="azure-devops").text)
    steps = data["jobs"][0]["steps"]
    login = next(step for step in steps if step.get("task") == "AzureCLI@2")
    assert login["inputs"]["azureSubscription"] == "$(AZURE_SERVICE_CONNECTION)"
    assert login["env"]["AZURE_TOKEN_CREDENTIALS"] == "AzureCliCredential"
    assert steps.index(next(step for step in steps if step.get("displayName") == "Install")) < steps.index(login)


def test_names_and_commands_that_a_shell_would_read_otherwise_are_refused():
    for name in ("a;b", "$(x)", "a b", "..", "a\nb", ""):
        with pytest.raises(UsageError, match="cannot be the name of a use case"):
            render("github", Project(use_case=name))
    with pytest.raises(UsageError, match="did you mean 'github'"):
        ci_file("TOY", provider="githb")
    with pytest.raises(UsageError, match="sets AZURE_CLIENT_SECRET, which names a secret"):
        ci_file("TOY", provider="github", install="AZURE_CLIENT_SECRET=abc pip install .")


def test_scripts_pass_shellcheck():
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    if not Path(shellcheck).exists():
        pytest.skip("shellcheck is not installed")
    script = f"#!/bin/bash\nset -euo pipefail\n{template('image.sh')}{template('pipeline.sh')}"
    done = subprocess.run([shellcheck, "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_image_is_built_in_the_registry_with_the_tag_of_the_package(toy, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, code in {"az": AZ, "mlops": "from mlops_core.cli import main; main()"}.items():
        path = tools / name
        path.with_suffix(".py").write_text(code)
        path.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{path}.py' \"$@\"\n")
        path.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "USECASE_NAME": "TOY",
        "MLOPS_STEP_IMAGE": "registry.azurecr.io/toy:1",
    }
    script = f'set -euo pipefail\n{template("image.sh")}\necho "$MLOPS_STEP_IMAGE"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.strip() == "registry.azurecr.io/toy:1"
    assert not Path("calls").exists()
    environ["MLOPS_STEP_IMAGE"] = ""
    missing = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environ)
    assert missing.returncode != 0
    assert "set it to REGISTRY.azurecr.io/REPOSITORY" in missing.stderr


# --- Infrastructure ---------------------------------------------------------------------------------------------


def test_infrastructure_is_hcl_whose_references_all_exist():
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    declared, text = set(), ""
    for name in FILES:
        content = infrastructure_text(name)
        text += content
        for kind, blocks in hcl2.loads(content).items():
            for block in blocks if isinstance(blocks, list) else []:
                declared |= set(_addresses(kind, block))
    used = set(re.findall(r"\b(azurerm_\w+\.\w+)\b", text)) | set(re.findall(r"\b((?:var|local)\.\w+)\b", text))
    assert used - declared == set()
    assert {name for name in declared if name.startswith("var.")} <= used


def _addresses(kind, block):
    for quoted, inner in block.items():
        label = quoted.strip('"')
        if kind in ("resource", "data"):
            yield from (f"{label}.{name.strip(chr(34))}" for name in inner if not name.startswith("__"))
        elif kind == "variable":
            yield f"var.{label}"
        elif kind == "locals" and not label.startswith("__"):
            yield f"local.{label}"


def test_clusters_scale_to_zero_and_no_secret_is_written():
    text = "".join(map(infrastructure_text, FILES))
    assert re.findall(r"min_node_count\s+= (\d+)", text) == ["0"]
    assert 'scale_down_nodes_after_idle_duration = "PT30S"' in text
    assert not re.search(r"password|admin_enabled\s+= true|client_secret", text)
    assert "api://AzureADTokenExchange" in text
    for name in ("SUBSCRIPTION_ID", "RESOURCE_GROUP_NAME", "WORKSPACE_NAME", "AZURE_TENANT_ID"):
        assert name in infrastructure_text("outputs.tf")


def test_terraform_accepts_the_format():
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("terraform is not installed")
    for name in FILES:
        done = subprocess.run(
            [terraform, "fmt", "-check", "-"],
            input=infrastructure_text(name),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_existing_files_are_replaced_only_when_asked(tmp_path):
    folder = tmp_path / "infrastructure"
    assert [path.name for path in write_infrastructure(folder)] == list(FILES)
    with pytest.raises(UsageError, match=r"main\.tf exists; --force replaces it"):
        write_infrastructure(folder)
    (folder / "main.tf").write_text("")
    write_infrastructure(folder, is_forced=True)
    assert (folder / "main.tf").read_text() == infrastructure_text("main.tf")
    assert INSTALL.startswith("pip install --no-index")
