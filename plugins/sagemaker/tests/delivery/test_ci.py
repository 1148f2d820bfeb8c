"""CI files and step images; their commands are executed as far as they need neither AWS nor Docker.

To update the files after an intended change: MLOPS_UPDATE_GOLDEN=1 pytest plugins/sagemaker/tests/delivery/test_ci.py
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from mlops_sagemaker.delivery.ci import PROVIDERS, SECRETS, Project, render, template
from mlops_sagemaker.plugin import SAGEMAKER

from mlops_core.runners.container.packaging import _template, constraints, image_tag, write_image_folder
from mlops_core.use_cases.discovery import find_use_case

ROOT = Path(__file__).parents[4]
ENTRYPOINTS = ROOT / "entrypoints"
THIS_PROJECT = Project(
    use_case="AED", install="pip install --upgrade --constraint constraints.txt . ./plugins/sagemaker ./plugins/aed"
)
STEP_IMAGE = SAGEMAKER.container_image()
DATASET, IMAGE, RUN = template("dataset.sh"), template("image.sh"), template("pipeline.sh")
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
ENVIRONMENT = {
    "USECASE_NAME": "TOY",
    "ARTIFACT_BUCKET": "bucket",
    "AWS_REGION": "eu-west-1",
    "SAGEMAKER_PIPELINE_ROLE_ARN": "arn:aws:iam::123456789012:role/Role",
    "SAGEMAKER_PROJECT_NAME": "words",
    "SAGEMAKER_PROJECT_ID": "p-1",
    "SAGEMAKER_PROJECT_NAME_ID": "words-p-1",
    "MLOPS_STEP_IMAGE": "image:1",
}
AWS = """
import sys
with open("calls", "a") as stream:
    print("aws", *sys.argv[1:], file=stream)
"""
DOCKER = """
import sys
with open("calls", "a") as stream:
    print("docker", *sys.argv[1:], file=stream)
"""


@pytest.fixture
def shell(toy, tmp_path):
    """Return a function that runs a shell script; `aws` and `docker` only record their calls."""
    tools = tmp_path / "bin"
    tools.mkdir()
    programs = {
        "aws": AWS,
        "docker": DOCKER,
        "mlops": "from mlops_core.cli import main; main()",
        "run-pipeline": "from mlops_sagemaker.scripts import main_run_pipeline as m; m()",
    }
    for name, code in programs.items():
        path = tools / name
        path.with_suffix(".py").write_text(code)
        path.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{path}.py' \"$@\"\n")  # its path may have spaces
        path.chmod(0o755)
    (tools / "python").symlink_to(sys.executable)

    def run(script, *, code=0, **environ):
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **ENVIRONMENT, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", **environ},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def calls():
    return Path("calls").read_text().splitlines() if Path("calls").exists() else []


@pytest.fixture
def s3(tmp_path):
    """Yield an S3 client of an endpoint with a bucket, and the variables to access it."""
    boto3 = pytest.importorskip("boto3", reason="the extra 'aws' is not installed")
    pytest.importorskip("moto", reason="the extra 'test' is not installed")
    from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    with SageMakerEndpoint(tmp_path / "endpoint") as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint.url, region_name="us-east-1", **keys)
        client.create_bucket(Bucket="bucket")
        yield client, {"AWS_ENDPOINT_URL": endpoint.url, **{name.upper(): value for name, value in keys.items()}}


def keys_of(client):
    listing = client.list_objects_v2(Bucket="bucket", Prefix="train/datasets/words/")
    return {item["Key"]: item["LastModified"] for item in listing.get("Contents", ())}


def test_data_set_in_the_bucket_is_completed_only_if_necessary(shell, s3):
    client, environ = s3
    place = "train/datasets/words"
    shell(DATASET, **environ)
    first = keys_of(client)
    assert sorted(first) == [f"{place}/.mlops-dataset.json", f"{place}/words.csv"]
    shutil.rmtree("temp")
    shell(DATASET, **environ)
    assert keys_of(client) == first
    assert not Path("temp/datasets/words/words.csv").exists()  # not even fetched
    for name in first:
        client.delete_object(Bucket="bucket", Key=name)
    client.put_object(Bucket="bucket", Key=f"{place}/words.csv", Body=b"half")
    shell(DATASET, **environ)
    assert sorted(keys_of(client)) == sorted(first)
    assert client.get_object(Bucket="bucket", Key=f"{place}/words.csv")["Body"].read() != b"half"


def test_pipeline_gets_the_variables_of_the_ci_service(shell):
    out = shell(RUN.replace("run-pipeline", "run-pipeline --dry-run"))
    definition = json.loads(out[out.index("{") : out.rindex("}") + 1])
    defaults = {item["Name"]: item.get("DefaultValue") for item in definition["Parameters"]}
    assert defaults["ArtifactBucket"] == "bucket"
    assert defaults["ModelPackageGroupName"] == "words-p-1"
    assert defaults["StepImage"] == "image:1"
    assert defaults["ExecutionRole"] == ENVIRONMENT["SAGEMAKER_PIPELINE_ROLE_ARN"]


def test_missing_image_is_reported_with_the_variable_to_set(shell):
    assert "set it to an ECR repository" in shell(IMAGE, code=1, MLOPS_STEP_IMAGE="")


@pytest.mark.slow
def test_image_is_built_from_the_packaged_folder_and_pushed_with_its_own_tag(shell):
    pytest.importorskip("mlops_aed")
    repository = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/steps"
    out = shell(
        f'{IMAGE}\necho "$MLOPS_STEP_IMAGE"', MLOPS_STEP_IMAGE="", STEP_IMAGE_REPOSITORY=repository, USECASE_NAME="AED"
    )
    image = out.splitlines()[-1]
    # In a process of its own, as the command is: this one may have imported and installed more.
    code = (
        "from mlops_core.runners.container.packaging import image_tag; from mlops_sagemaker.plugin import SAGEMAKER;"
        "from mlops_core.use_cases.discovery import find_use_case;"
        "print(image_tag(find_use_case('AED'), SAGEMAKER.container_image()))"
    )
    assert image == f"{repository}:{shell(f'{sys.executable!r} -c {code!r}').strip()}"
    assert [call for call in calls() if call.startswith("docker")] == [
        "docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        f"docker build --tag {image} image",
        f"docker push {image}",
    ]
    assert Path("image/Dockerfile").is_file()


@pytest.mark.slow
def test_wheels_contain_core_the_plugin_and_the_compiled_code(tmp_path):
    pytest.importorskip("mlops_aed")
    wheels = write_image_folder(find_use_case("AED"), STEP_IMAGE, tmp_path / "image")
    assert [wheel.name.partition("-")[0] for wheel in wheels] == ["mlops_aed", "mlops_sagemaker", "mlops_usecases"]
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / "site")
            top = {name.partition("/")[0] for name in archive.namelist()}
        package = {"mlops_usecases": "mlops_core"}.get(wheel.name.partition("-")[0], wheel.name.partition("-")[0])
        assert all(name.startswith((package, wheel.name.partition("-")[0])) for name in top)
    program = (
        "from mlops_core.use_cases.manager import load_use_case; from mlops_core.steps.source_code import CodeIndex;"
        "from mlops_core.runners.container.request import code_digest; import mlops_aed;"
        "use_case = load_use_case('AED'); pipeline = use_case.pipeline(use_case.load_config().model);"
        "digests = [code_digest(use_case, step, code=CodeIndex()) for step in pipeline.steps];"
        "print(mlops_aed.__file__, *digests, sep='\\n')"
    )

    def digests(path):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(path)},
        )
        return done.stdout.splitlines()

    packed, installed = digests(tmp_path / "site"), digests("")
    assert packed[0].startswith(str(tmp_path))
    assert packed[1:] == installed[1:]


def test_versions_are_pinned_except_for_installations_from_a_folder(tmp_path):
    pinned = dict(line.split("==") for line in constraints().split())
    assert pinned["pydantic"]
    assert "mlops-usecases" not in pinned


def test_metadata_left_by_a_build_is_not_mistaken_for_an_installation(tmp_path, monkeypatch):
    info = tmp_path / "mlops_usecases.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mlops-usecases\nVersion: 0.1.0\n")
    before = image_tag(find_use_case("AED"), STEP_IMAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "mlops-usecases" not in constraints()
    assert image_tag(find_use_case("AED"), STEP_IMAGE) == before


def test_folder_with_other_files_is_not_changed(toy, tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "thesis.txt").write_text("mine")
    done = subprocess.run([*MLOPS, "package", "-u", "TOY"], capture_output=True, text=True, check=False)
    assert (done.returncode, "holds other files (thesis.txt)" in done.stderr) == (2, True)
    assert list((tmp_path / "image").iterdir()) == [tmp_path / "image" / "thesis.txt"]


def texts_of_this_project():
    values = {"use_case": "AED", "python": "3.11", "module": STEP_IMAGE.module}
    return {
        "buildspec.yml": render("codebuild", THIS_PROJECT),
        "github-workflow.yml": render("github", THIS_PROJECT),
        "Dockerfile": _template("Dockerfile", values),
        "run_step.py": _template("run_step.py", values),
    }


@pytest.mark.parametrize("name", ["buildspec.yml", "github-workflow.yml", "Dockerfile", "run_step.py"])
def test_files_of_this_project_equal_the_output_of_the_commands(name):
    path, text = ENTRYPOINTS / name, texts_of_this_project()[name]
    if os.environ.get("MLOPS_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def scripts(data):
    """Yield the commands of a CI file."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key in ("run", "commands", "script", "before_script", "after_script"):
                yield from [value] if isinstance(value, str) else value
            else:
                yield from scripts(value)
    elif isinstance(data, list):
        for item in data:
            yield from scripts(item)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_ci_file_is_yaml_with_valid_shell_scripts(toy, tmp_path, provider):
    command = [*MLOPS, "ci", "init", "-u", "toy", "--provider", provider, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path = tmp_path / PROVIDERS[provider][0]
    assert f"{path}: written" in done.stdout
    assert all(name in done.stdout for name in SECRETS)
    commands = list(scripts(yaml.safe_load(path.read_text())))
    assert len(commands) >= 3
    for script in commands:
        subprocess.run(["bash", "-n", "-c", script], check=True)
        assert "eval " not in script
    assert "TOY" in path.read_text()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "exists; --force replaces it" in done.stderr) == (2, True)
    subprocess.run([*command, "--force"], capture_output=True, check=True)


def test_github_workflow_assumes_a_role_and_stores_no_key():
    text = render("github", THIS_PROJECT)
    data = yaml.safe_load(text)
    assert data["permissions"] == {"id-token": "write", "contents": "read"}
    assert "AWS_SECRET_ACCESS_KEY" not in text


def test_shellcheck_reports_nothing(tmp_path):
    program = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    if not Path(program).is_file():
        pytest.skip("shellcheck is not installed (the extra 'test' has it)")
    for name, script in {"dataset": DATASET, "image": IMAGE, "run": RUN}.items():
        path = tmp_path / f"{name}.sh"
        path.write_text(f"#!/bin/bash\nset -euo pipefail\n{script}")
        subprocess.run([program, str(path)], check=True)
