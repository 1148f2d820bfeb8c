"""CI files for GitHub Actions and Azure DevOps that train, evaluate and register the model of a use case.

The files are rendered from the folder ``templates``; both run the same shell scripts, which are templates too. No
secret is stored: the services sign in by federation. Core and this package are installed from wheels in the project, by
their hashes and before there is a login; actions are pinned by commit.
"""

from __future__ import annotations

import importlib.resources
import re
import sys
from dataclasses import dataclass

import yaml

from mlops_core import UsageError
from mlops_core.runners import CiFile, did_you_mean
from mlops_core.runners.remote.secrets import names_secret, reason_for

VARIABLES = ("AZURE_TENANT_ID", "SUBSCRIPTION_ID", "RESOURCE_GROUP_NAME", "WORKSPACE_NAME")
"""Variables of the workspace that the CI service must provide; none is a secret."""
_OPTIONAL = (
    "DATA_STORE_NAME",
    "PIPELINE_CPU_COMPUTE_NAME",
    "TRAINING_GPU_COMPUTE_NAME",
    "MODEL_BASE_NAME",
    "INPUT_IMAGE_DATA_PATH",
    "INPUT_LABEL_DATA_PATH",
)
PROVIDERS = {
    "github": (".github/workflows/azureml.yml", "github.yml"),
    "azure-devops": ("azure-pipelines.yml", "azure-pipelines.yml"),
}
"""Path of the file in a project, and its template, by provider."""
ACTIONS = {
    "actions/checkout": ("11bd71901bbe5b1630ceea73d27597364c9af683", "v4.2.2"),
    "actions/setup-python": ("a26af69be951a213d495a4c3e4e4022e16d87065", "v5.6.0"),
    "actions/upload-artifact": ("ea165f8d65b6e75b540449e92b4886f43607fa02", "v4.6.2"),
    "azure/login": ("a457da9ea143d694b1b9c7c869ebb04ebe844ef5", "v2.3.0"),
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
    "# Before the first build: `mlops package --runner azureml --usecase <<use_case-name>> --output mlops-image`, and "
    "commit it."
)
_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*\Z")
_LONGEST = 128
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(?![\"']?\$)(\S+)")
"""A variable and its value in a command, unless the value is that of another variable."""
_SCRIPTS = {"image": "image.sh", "pipeline": "pipeline.sh"}


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
        UsageError: the provider is unknown, or a name or the command cannot be written to a file.
    """
    if provider not in PROVIDERS:
        hint = did_you_mean(provider, PROVIDERS) or ";"
        raise UsageError(f"unknown CI provider '{provider}'{hint} providers: {', '.join(PROVIDERS)}")
    if reason := _secret_in(install or ""):
        raise UsageError(f"--install {reason}, and the file is in the repository; use a variable of the CI service")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = render(provider, Project(use_case=use_case, install=install or INSTALL, python=python))
    login = "AZURE_CLIENT_ID" if provider == "github" else "AZURE_SERVICE_CONNECTION"
    return CiFile(
        path=PROVIDERS[provider][0],
        text=text,
        variables=(login, *VARIABLES, "STEP_IMAGE_REPOSITORY or MLOPS_STEP_IMAGE"),
    )


def render(provider: str, project: Project) -> str:
    """Return the text of the CI file of a provider.

    Raises:
        UsageError: the name of the use case cannot be written to a script.
    """
    name = _checked_name(project.use_case)
    values = {
        "use_case": _scalar(name),
        "use_case-name": name,
        "install": _scalar(project.install),
        "python": _scalar(project.python),
        "python-text": project.python,
        **{action: f"{action}@{commit} # {release}" for action, (commit, release) in ACTIONS.items()},
    }
    blocks = {
        "install-note": [_filled(_INSTALL_NOTE, values)] if project.install == INSTALL else [],
        "variables": [f"{each}: ${{{{ vars.{each} }}}}" for each in (*VARIABLES, *_OPTIONAL)],
        **{marker: template(script).splitlines() for marker, script in _SCRIPTS.items()},
    }
    lines: list[str] = []
    for line in template(PROVIDERS[provider][1]).splitlines():
        marker = line.strip().removeprefix("<<").removesuffix(">>")
        if marker in blocks and line.strip() == f"<<{marker}>>":
            indent = line[: len(line) - len(line.lstrip())]
            lines += [f"{indent}{each}" if each else each for each in blocks[marker]]
        else:
            lines.append(_filled(line, values))
    return "\n".join(lines) + "\n"


def template(name: str) -> str:
    """Return the text of a file in the folder ``templates``."""
    files = importlib.resources.files("mlops_azureml.delivery")
    return (files / "templates" / name).read_text(encoding="utf-8")


def _checked_name(name: str) -> str:
    """Return a name that is safe wherever it is written: in a path, a script, a workflow.

    Raises:
        UsageError: it has other characters than letters, digits and single marks between them.
    """
    if len(name) > _LONGEST or not _NAME.match(name):
        raise UsageError(
            f"{name[:_LONGEST]!r} cannot be the name of a use case in a file that is executed; expected letters and "
            f"digits, joined by '.', '-' and '_', at most {_LONGEST} characters"
        )
    return name


def _secret_in(command: str) -> str:
    """Return why a command must not be written to a file; empty if it holds no secret."""
    assigned = (
        f"sets {name}, which names a secret" for name, value in _ASSIGNMENT.findall(command) if names_secret(name)
    )
    return reason_for("install", command) or next(assigned, "")


def _filled(line: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        line = line.replace(f"<<{name}>>", value)
    return line


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar, quoted where necessary."""
    return yaml.safe_dump(text, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
