"""The files by which a CI service trains, judges and registers a use case: CodeBuild, GitHub Actions, GitLab.

All three run the same shell commands; only what stands around them differs. Data sets come from the catalogue by name;
no command is taken from a variable and evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ARTIFACTS = "/tmp/ml"  # noqa: S108  the place that the projects' artifacts name
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
"""What the service must know of the account; the names are those of the SageMaker project templates."""
INSTALL = 'pip install --upgrade "mlops-sagemaker" .'
DATASET = """\
DATASET_NAME="$(mlops describe --usecase "$USECASE_NAME" --json |
  python -c 'import json, sys; print(json.load(sys.stdin)["dataset"])')"
# Nothing is fetched or sent when the manifest there, which is written last, says that the data set is complete.
mlops --workspace temp fetch --usecase "$USECASE_NAME" --region "$AWS_REGION" \\
  --to "s3://$ARTIFACT_BUCKET/train/datasets/$DATASET_NAME/"
"""
IMAGE = """\
if [ -z "${MLOPS_STEP_IMAGE:-}" ]; then
  : "${STEP_IMAGE_REPOSITORY:?set it to an ECR repository, or MLOPS_STEP_IMAGE to an image that exists}"
  mlops package --usecase "$USECASE_NAME" --output image
  MLOPS_STEP_IMAGE="$STEP_IMAGE_REPOSITORY:$(mlops package --usecase "$USECASE_NAME" --tag)"
  export MLOPS_STEP_IMAGE
  aws ecr get-login-password --region "$AWS_REGION" |
    docker login --username AWS --password-stdin "${STEP_IMAGE_REPOSITORY%%/*}"
  docker build --tag "$MLOPS_STEP_IMAGE" image
  docker push "$MLOPS_STEP_IMAGE"
fi
"""
RUN = """\
TAGS="$(printf '[{"Key": "sagemaker:project-name", "Value": "%s"}, {"Key": "sagemaker:project-id", "Value": "%s"}]' \\
  "$SAGEMAKER_PROJECT_NAME" "$SAGEMAKER_PROJECT_ID")"
KWARGS="$(printf '{"%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s"}' \\
  usecase_name "$USECASE_NAME" \\
  region "$AWS_REGION" \\
  role "$SAGEMAKER_PIPELINE_ROLE_ARN" \\
  default_bucket "$ARTIFACT_BUCKET" \\
  pipeline_name "$SAGEMAKER_PROJECT_NAME_ID" \\
  model_package_group_name "$SAGEMAKER_PROJECT_NAME_ID" \\
  base_job_prefix "$SAGEMAKER_PROJECT_NAME_ID" \\
  sagemaker_project_name "$SAGEMAKER_PROJECT_NAME")"
run-pipeline --module-name pipelines.stm.pipeline --role-arn "$SAGEMAKER_PIPELINE_ROLE_ARN" \\
  --tags "$TAGS" --kwargs "$KWARGS" --artifacts-dir /tmp/ml
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What the files are written for.

    Attributes:
        use_case: its name.
        install: the command that installs core and the plugin.
        python: version of Python, such as ``3.11``.
    """

    use_case: str
    install: str = INSTALL
    python: str = "3.11"


class _Script(str):
    """A text that YAML shows as a block."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Keeps the order, and shows scripts as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002  PyYAML's
        """Indent lists below their key, as these files are written by hand."""
        return super().increase_indent(flow, indentless=False)


_Dumper.add_representer(
    _Script, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def codebuild(project: Project) -> str:
    """Return ``buildspec.yml``."""
    data = {
        "version": 0.2,
        "env": {"shell": "bash", "variables": {"USECASE_NAME": project.use_case}},
        "phases": {
            "install": {"runtime-versions": {"python": project.python}, "commands": [project.install]},
            "pre_build": {"commands": [_strict(DATASET)]},
            "build": {"commands": [_strict(IMAGE + RUN)]},
        },
        "artifacts": {"files": [f"{ARTIFACTS}/**/*"], "name": "ml"},
    }
    return _dumped(data, f"CodeBuild: trains, judges and registers {project.use_case}.")


def github(project: Project) -> str:
    """Return a workflow of GitHub Actions; it assumes a role with OIDC, no key is stored."""
    environment = {name: f"${{{{ secrets.{name} }}}}" for name in SECRETS}
    steps = [
        {"uses": "actions/checkout@v4"},
        {"uses": "actions/setup-python@v5", "with": {"python-version": project.python}},
        {
            "uses": "aws-actions/configure-aws-credentials@v4",
            "with": {
                "role-to-assume": "${{ secrets.AWS_OIDC_ROLE_ARN || secrets.SAGEMAKER_PIPELINE_ROLE_ARN }}",
                "aws-region": "${{ secrets.AWS_REGION }}",
            },
        },
        {"name": "Install", "run": project.install},
        {"name": "Data set", "run": _strict(DATASET)},
        {"name": "Image and pipeline", "run": _strict(IMAGE + RUN)},
        {
            "uses": "actions/upload-artifact@v4",
            "if": "always()",
            "with": {"name": "ml", "path": ARTIFACTS, "if-no-files-found": "ignore"},
        },
    ]
    data = {
        "name": project.use_case,
        "on": {"push": {"branches": ["main"]}, "workflow_dispatch": {}},
        "permissions": {"id-token": "write", "contents": "read"},
        "concurrency": {"group": f"pipeline-{project.use_case}"},
        "jobs": {
            "pipeline": {
                "runs-on": "ubuntu-latest",
                "env": {
                    "USECASE_NAME": project.use_case,
                    "STEP_IMAGE_REPOSITORY": "${{ vars.STEP_IMAGE_REPOSITORY }}",
                    "MLOPS_STEP_IMAGE": "${{ vars.MLOPS_STEP_IMAGE }}",
                    **environment,
                },
                "defaults": {"run": {"shell": "bash"}},
                "steps": steps,
            }
        },
    }
    return _dumped(data, f"GitHub Actions: trains, judges and registers {project.use_case}.")


def gitlab(project: Project) -> str:
    """Return ``.gitlab-ci.yml``; the project sets the variables of `SECRETS`, and AWS_ROLE_ARN, assumed with OIDC."""
    token = "$CI_PROJECT_DIR/.oidc-token"  # noqa: S105  a path
    data = {
        "pipeline": {
            "image": f"python:{project.python}",
            "rules": [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"}],
            "id_tokens": {"OIDC_TOKEN": {"aud": "sts.amazonaws.com"}},
            "variables": {"USECASE_NAME": project.use_case, "AWS_WEB_IDENTITY_TOKEN_FILE": token},
            "before_script": ['printf %s "$OIDC_TOKEN" > "$AWS_WEB_IDENTITY_TOKEN_FILE"', project.install],
            "script": [_strict(DATASET), _strict(IMAGE + RUN)],
            "after_script": [f"mkdir -p ml && cp -r {ARTIFACTS}/. ml/ || true"],
            "artifacts": {"name": "ml", "paths": ["ml/"], "when": "always"},
        }
    }
    return _dumped(data, f"GitLab CI: trains, judges and registers {project.use_case}.")


PROVIDERS: Mapping[str, tuple[str, Callable[[Project], str]]] = {
    "codebuild": ("buildspec.yml", codebuild),
    "github": (".github/workflows/pipeline.yml", github),
    "gitlab": (".gitlab-ci.yml", gitlab),
}
"""Provider -> file, and the function that writes its text."""


def _strict(script: str) -> _Script:
    """Let a script end at its first failing command, also within a pipe."""
    return _Script(f"set -euo pipefail\n{script}")


def _dumped(data: Mapping[str, Any], title: str) -> str:
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return f"# {title} Written by `mlops ci init`; edit it as you like.\n{text}"
