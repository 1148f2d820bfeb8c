"""CI files for CodeBuild, GitHub Actions and GitLab that train, evaluate and register the model of a use case.

The files are rendered from the folder ``templates``; all three run the same shell scripts, which are templates too.
Data sets come from the catalogue by name; no command is read from a variable and evaluated.
"""

from __future__ import annotations

import importlib.resources
import sys
from dataclasses import dataclass

import yaml

from mlops_core import UsageError
from mlops_core.runners import CiFile, did_you_mean

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
INSTALL = "pip install --upgrade mlops-usecases mlops-sagemaker ."
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
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = render(provider, Project(use_case=use_case, install=install or INSTALL, python=python))
    return CiFile(path=path, text=text, variables=(*SECRETS, "STEP_IMAGE_REPOSITORY or MLOPS_STEP_IMAGE"))


def render(provider: str, project: Project) -> str:
    """Return the text of the CI file of a provider."""
    values = {
        "use_case": _scalar(project.use_case),
        "use_case-name": project.use_case,
        "install": _scalar(project.install),
        "python": _scalar(project.python),
        "python-version": project.python,
    }
    lines: list[str] = []
    for line in template(PROVIDERS[provider][1]).splitlines():
        marker = line.strip().removeprefix("<<").removesuffix(">>")
        if marker in _SCRIPTS and line.strip() == f"<<{marker}>>":
            lines += _indented(marker, line[: len(line) - len(line.lstrip())])
        else:
            lines.append(_filled(line, values))
    return "\n".join(lines) + "\n"


def template(name: str) -> str:
    """Return the text of a file in the folder ``templates``."""
    files = importlib.resources.files("mlops_sagemaker.delivery")
    return (files / "templates" / name).read_text(encoding="utf-8")


def _indented(marker: str, indent: str) -> list[str]:
    script = "".join(template(name) for name in _SCRIPTS[marker])
    return [f"{indent}{line}" if line else line for line in script.splitlines()]


def _filled(line: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        line = line.replace(f"<<{name}>>", value)
    return line


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar, quoted where necessary."""
    return yaml.safe_dump(text, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
