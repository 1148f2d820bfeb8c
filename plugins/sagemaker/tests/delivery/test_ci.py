"""CI files and step images; their commands are executed as far as they need neither AWS nor Docker.

To update the files after an intended change: MLOPS_UPDATE_GOLDEN=1 pytest plugins/sagemaker/tests/delivery/test_ci.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from mlops_sagemaker.delivery.ci import ACTIONS, INSTALL, PROVIDERS, SECRETS, Project, ci_file, render, template
from mlops_sagemaker.plugin import SAGEMAKER
from mlops_sagemaker.values.names import checked_name

from mlops_core.errors import UsageError
from mlops_core.runners.container.base_images import base_image
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
    pytest.importorskip("boto3", reason="the extra 'aws' is not installed")
    pytest.importorskip("moto", reason="the extra 'test' is not installed")
    from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

    with SageMakerEndpoint(tmp_path / "endpoint") as endpoint:
        client = endpoint.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client, {"AWS_ENDPOINT_URL": endpoint.url, **endpoint.credential.environment()}


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


def test_a_data_set_of_the_users_own_is_downloaded_and_used_by_the_pipeline(shell, s3):
    client, environ = s3
    command = "mkdir temp && printf 'xxx,short\nxxxxxxxx,long\n' > temp/words.csv && touch ../outside || true"
    shell(DATASET, DATASET_NAME="MyData", DOWNLOAD_COMMAND=command, **environ)
    listing = client.list_objects_v2(Bucket="bucket", Prefix="train/datasets/MyData/")["Contents"]
    assert [item["Key"].rpartition("/")[2] for item in listing] == [".mlops-dataset.json", "words.csv"]
    assert "train/datasets/MyData" in shell(RUN.replace("run-pipeline", "run-pipeline --dry-run", 1)) or "MyData" in (
        shell(RUN.replace("run-pipeline --module", "run-pipeline --dry-run --module"))
    )
    Path("dataset.yaml").unlink()
    out = shell(DATASET, code=1, DOWNLOAD_COMMAND=command, **environ)
    assert "DATASET_NAME: set it to the name" in out


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
    done = subprocess.run(
        [*MLOPS, "package", "-u", "TOY", "--runner", "sagemaker"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "holds other files (thesis.txt)" in done.stderr) == (2, True)
    assert list((tmp_path / "image").iterdir()) == [tmp_path / "image" / "thesis.txt"]


def texts_of_this_project():
    values = {"use_case": "AED", "base_image": base_image("3.11", environ={}), "module": STEP_IMAGE.module}
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
    command = [*MLOPS, "ci", "init", "-u", "toy", "--runner", "sagemaker", "--provider", provider, str(tmp_path)]
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


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_default_installation_takes_this_project_from_hashed_wheels_only(provider):
    commands = [line for text in scripts(yaml.safe_load(ci_file("AED", provider=provider).text)) for line in [text]]
    (command,) = [each for each in commands if "pip install" in each]
    assert command == INSTALL
    first, *_ = command.split(" && ")
    assert {"--no-index", "--require-hashes", "--no-deps", "--requirement"} <= set(first.split())
    words = [word for part in command.split(" && ") for word in part.split()[2:] if not word.startswith("-")]
    assert all("/" in word or word == "." for word in words), words  # folders and files, no name that an index resolves


def positions(text, *parts):
    return [text.index(part) for part in parts]


def test_credentials_come_after_the_installation():
    github = render("github", THIS_PROJECT)
    assert positions(github, "pip install", "configure-aws-credentials@", "secrets.") == sorted(
        positions(github, "pip install", "configure-aws-credentials@", "secrets.")
    )
    job = yaml.safe_load(github)["jobs"]["pipeline"]
    assert job["env"] == {"USECASE_NAME": "AED"}
    assert {name for step in job["steps"] for name in step.get("env", {})} >= set(SECRETS)
    gitlab = render("gitlab", THIS_PROJECT)
    order = ("unset OIDC_TOKEN", "pip install", '> "$AWS_WEB_IDENTITY_TOKEN_FILE"')
    assert positions(gitlab, *order) == sorted(positions(gitlab, *order))
    codebuild = render("codebuild", THIS_PROJECT)
    order = ("unset AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "pip install", "export AWS_CONTAINER_CREDENTIALS")
    assert positions(codebuild, *order) == sorted(positions(codebuild, *order))


def test_credentials_of_the_build_are_back_after_the_installation(tmp_path):
    commands = yaml.safe_load(render("codebuild", THIS_PROJECT))["phases"]["install"]["commands"]
    script = "\n".join(commands).replace(THIS_PROJECT.install, 'env > during; echo "${AWS_CONTAINER:-}"')
    script += '\nprintf %s "${AWS_CONTAINER_CREDENTIALS_RELATIVE_URI-unset}"'
    for uri, after in (("/v2/credentials/marked", "/v2/credentials/marked"), (None, "unset")):
        environ = {"PATH": os.environ["PATH"]} | ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": uri} if uri else {})
        done = subprocess.run(
            ["bash", "-euc", script], capture_output=True, text=True, check=True, env=environ, cwd=tmp_path
        )
        assert done.stdout.strip() == after
        assert "marked" not in (tmp_path / "during").read_text()


def test_actions_and_images_are_pinned():
    uses = [
        step["uses"]
        for step in yaml.safe_load(render("github", THIS_PROJECT))["jobs"]["pipeline"]["steps"]
        if "uses" in step
    ]
    assert sorted(each.partition("@")[0] for each in uses) == sorted(ACTIONS)
    assert all(re.fullmatch(r"[0-9a-f]{40}", each.partition("@")[2]) for each in uses)
    image = yaml.safe_load(render("gitlab", THIS_PROJECT))["pipeline"]["image"]
    assert re.fullmatch(r"python:3\.11-slim@sha256:[0-9a-f]{64}", image)
    (line,) = [line for line in texts_of_this_project()["Dockerfile"].splitlines() if line.startswith("FROM ")]
    assert line == f"FROM {image}"


def test_base_image_without_a_known_digest_is_refused_by_name():
    pinned = f"registry.example.org/python:3.14@sha256:{'a' * 64}"
    assert base_image("3.14", environ={"MLOPS_BASE_IMAGE": pinned}) == pinned
    with pytest.raises(UsageError, match="no base image is recorded for Python 3.14; set MLOPS_BASE_IMAGE=python:3.14"):
        base_image("3.14", environ={})
    with pytest.raises(UsageError, match="'python:3.11' is not pinned by a digest"):
        base_image("3.11", environ={"MLOPS_BASE_IMAGE": "python:3.11"})


@pytest.mark.parametrize(
    "name",
    [
        "X${{secrets.Y}}",
        "X${{ github.token }}",
        "X\nrun: evil",
        "X'; rm -rf / #",
        "X$(id)",
        "X`id`",
        "../X",
        "a..b",
        "X/Y",
        "-X",
        "",
        "X" * 200,
    ],
)
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_name_that_is_more_than_a_name_reaches_no_file(provider, name):
    with pytest.raises(UsageError, match="cannot be the name of a use case"):
        ci_file(name, provider=provider)
    with pytest.raises(UsageError, match="cannot be the name of a use case"):
        render(provider, Project(use_case=name))


@pytest.mark.parametrize("name", ["AED", "ROAD_SIGN", "my-use.case2", "a"])
def test_plain_name_is_returned(name):
    assert checked_name(name, what="use case") == name


@pytest.mark.parametrize(
    ("install", "words"),
    [
        ("pip install --index-url https://me:hunter2@host/simple x", "is a URL with a password"),
        ("PIP_TOKEN=hunter2 pip install .", "sets PIP_TOKEN, which names a secret"),
    ],
)
def test_secret_in_the_install_command_is_refused(install, words):
    with pytest.raises(UsageError, match=f"--install {words}") as caught:
        ci_file("AED", provider="github", install=install)
    assert "hunter2" not in str(caught.value)


def test_variable_of_the_service_in_the_install_command_is_kept():
    install = 'PIP_TOKEN="$INDEX_TOKEN" pip install --constraint=constraints.txt .'
    assert install in ci_file("AED", provider="codebuild", install=install).text


def test_name_that_is_more_than_a_name_reaches_no_dockerfile(tmp_path):
    evil = replace(find_use_case("AED"), name="X; curl evil | sh")
    with pytest.raises(UsageError, match="the name would be a part of a script"):
        write_image_folder(evil, STEP_IMAGE, tmp_path / "image")
    assert not (tmp_path / "image").exists()


@pytest.mark.slow_suite
@pytest.mark.slow
def test_wheels_of_the_image_are_installed_by_their_hashes(tmp_path):
    """The first command of the Dockerfile and of the CI files, without an index."""
    pytest.importorskip("mlops_aed")
    folder = tmp_path / "image"
    write_image_folder(find_use_case("AED"), STEP_IMAGE, folder)
    lines = (folder / "wheels.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in lines] == ["mlops-aed", "mlops-sagemaker", "mlops-usecases"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target"]
    options = ["--no-index", "--no-deps", "--require-hashes", "--find-links", folder / "wheels", "--requirement"]
    subprocess.run([*pip, tmp_path / "site", *options, folder / "wheels.txt"], check=True)
    assert (tmp_path / "site" / "mlops_core" / "__init__.py").is_file()
    wheel = next((folder / "wheels").glob("mlops_aed*.whl"))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("mlops_aed/added.py", "")
    done = subprocess.run(
        [*pip, tmp_path / "other", *options, folder / "wheels.txt"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


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
