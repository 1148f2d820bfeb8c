"""CI files for CodeBuild, GitHub Actions and GitLab that train, evaluate and register the model of a use case.

The files are rendered from the folder ``templates``; all three run the same shell scripts, which are templates too.
Data sets come from the catalogue by name; no command is read from a variable and evaluated. Core and this package are
installed from wheels in the project, by their hashes, before there are credentials; no name of this project is taken
from an index. Actions are pinned by commit, the image by digest.
"""

from __future__ import annotations

import importlib.resources
import re
import sys
from dataclasses import dataclass

import yaml

from mlops_core import UsageError
from mlops_core.runners import CiFile, did_you_mean, read_settings
from mlops_core.runners.container.base_images import base_image
from mlops_core.runners.remote.secrets import names_secret, reason_for
from mlops_sagemaker.values.names import checked_name

SECRETS = (
    "ARTIFACT_BUCKET",
    "AWS_REGION",
    "SAGEMAKER_PIPELINE_ROLE_ARN",
    "SAGEMAKER_PROJECT_ARN",
    "SAGEMAKER_PROJECT_ID",
    "SAGEMAKER_PROJECT_NAME",
    "SAGEMAKER_PROJECT_NAME_ID",
    "AWS_DEV_ACCOUNT_NUMBER",
)
"""Variables that the CI service must provide; the names are those of the SageMaker project templates."""
PROVIDERS = {
    "codebuild": ("buildspec.yml", "buildspec.yml"),
    "github": (".github/workflows/pipeline.yml", "github.yml"),
    "gitlab": (".gitlab-ci.yml", "gitlab.yml"),
}
"""Path of the file in a project, and its template, by provider."""
ACTIONS = {
    "actions/checkout": ("11bd71901bbe5b1630ceea73d27597364c9af683", "v4.2.2"),
    "actions/setup-python": ("a26af69be951a213d495a4c3e4e4022e16d87065", "v5.6.0"),
    "actions/upload-artifact": ("ea165f8d65b6e75b540449e92b4886f43607fa02", "v4.6.2"),
    "aws-actions/configure-aws-credentials": ("b47578312673ae6fa5b5096b330d9fbac3d116df", "v4.2.1"),
}
"""Commit and release of each action. ``git ls-remote https://github.com/<action> <release>`` prints the commit."""
FOLDER = "mlops-image"
"""The folder in a project that `mlops package` writes, with the wheels of core, this package and the use case."""
INSTALL = (
    f"pip install --no-index --no-deps --require-hashes --find-links {FOLDER}/wheels --requirement {FOLDER}/wheels.txt"
    f" && pip install --constraint {FOLDER}/constraints.txt {FOLDER}/wheels/*.whl && pip install --no-deps ."
)
"""Installs the wheels by their hashes and from no index, what they need in the recorded versions, and the project."""
_INSTALL_NOTE = (
    "# Before the first build: `mlops package --usecase <<use_case-name>> --output mlops-image`, and commit the folder."
)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(?![\"']?\$)(\S+)")
"""A variable and its value in a command, unless the value is that of another variable."""
_SCRIPTS = {"dataset": ("dataset.sh",), "image-and-pipeline": ("image.sh", "pipeline.sh")}
"""Scripts that replace a marker in a template, by marker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The project that a CI file is written for.

    Attributes:
        use_case: name of the use case.
        install: command that installs core, this package and the plugin of the use case.
        python: version of Python, for example ``3.11``.
    """

    use_case: str
    install: str = INSTALL
    python: str = "3.11"


def ci_file(use_case: str, *, provider: str, install: str | None = None) -> CiFile:
    """Return the CI file of a use case.

    Args:
        use_case: name of the use case.
        provider: one of `PROVIDERS`.
        install: command that installs the project; None for `INSTALL`.

    Raises:
        UsageError: the provider is unknown.
    """
    if provider not in PROVIDERS:
        hint = did_you_mean(provider, PROVIDERS) or ";"
        raise UsageError(f"unknown CI provider '{provider}'{hint} providers: {', '.join(PROVIDERS)}")
    path, _ = PROVIDERS[provider]
    checked_name(use_case, what="use case")
    if reason := _secret_in(install or ""):
        raise UsageError(f"--install {reason}, and the file is in the repository; use a variable of the CI service")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = render(provider, Project(use_case=use_case, install=install or INSTALL, python=python))
    return CiFile(path=path, text=text, variables=(*SECRETS, "STEP_IMAGE_REPOSITORY or MLOPS_STEP_IMAGE"))


def render(provider: str, project: Project) -> str:
    """Return the text of the CI file of a provider.

    Raises:
        UsageError: the name of the use case cannot be written to a script, or no base image is known.
    """
    name = checked_name(project.use_case, what="use case")
    values = {
        "use_case": _scalar(name),
        "use_case-name": name,
        "install": _scalar(project.install),
        "python": _scalar(checked_name(project.python, what="version of Python")),
        **{action: f"{action}@{commit} # {release}" for action, (commit, release) in ACTIONS.items()},
    }
    text = template(PROVIDERS[provider][1])
    if "<<base-image>>" in text:
        values["base-image"] = base_image(project.python, environ=read_settings().environ)
    blocks = {
        "install-note": [_filled(_INSTALL_NOTE, values)] if project.install == INSTALL else [],
        "variables": [f"{each}: ${{{{ secrets.{each} }}}}" for each in SECRETS],
        **{marker: _script(marker) for marker in _SCRIPTS},
    }
    lines: list[str] = []
    for line in text.splitlines():
        marker = line.strip().removeprefix("<<").removesuffix(">>")
        if marker in blocks and line.strip() == f"<<{marker}>>":
            indent = line[: len(line) - len(line.lstrip())]
            lines += [f"{indent}{each}" if each else each for each in blocks[marker]]
        else:
            lines.append(_filled(line, values))
    return "\n".join(lines) + "\n"


def _secret_in(command: str) -> str:
    """Return why a command must not be written to a file; empty if it holds no secret."""
    assigned = (
        f"sets {name}, which names a secret" for name, value in _ASSIGNMENT.findall(command) if names_secret(name)
    )
    return reason_for("install", command) or next(assigned, "")


def template(name: str) -> str:
    """Return the text of a file in the folder ``templates``."""
    files = importlib.resources.files("mlops_sagemaker.delivery")
    return (files / "templates" / name).read_text(encoding="utf-8")


def _script(marker: str) -> list[str]:
    return "".join(template(name) for name in _SCRIPTS[marker]).splitlines()


def _filled(line: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        line = line.replace(f"<<{name}>>", value)
    return line


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar, quoted where necessary."""
    return yaml.safe_dump(text, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
