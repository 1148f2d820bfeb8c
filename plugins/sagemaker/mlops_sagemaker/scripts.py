"""The scripts ``run-pipeline`` and ``get-pipeline-definition``, for the deployment scripts of existing projects.

Flags, messages and exit codes are those of the SageMaker project templates. A module with ``get_pipeline(**kwargs)``
may return a `PipelineSubmission`, a pipeline of the SDK, or any object with ``definition``, ``upsert`` and ``start``.
If the module does not exist, the keywords (or the variable USECASE_NAME) name a use case.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_core import UsageError
from mlops_core.cli.streams import echo_line, escaped_streams
from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from mlops_sagemaker.service.pipelines import PipelineSubmission

Json = Any
AnyPipeline = Any
"""A `PipelineSubmission`, a pipeline of the SDK, or any object with ``definition``, ``upsert`` and ``start``."""

IMAGE_VARIABLE = "MLOPS_STEP_IMAGE"
_IGNORED = ("base_job_prefix", "sagemaker_project_name", "sagemaker_project_id", "sagemaker_project_arn")


def run_pipeline(arguments: Sequence[str] | None = None) -> int:
    """Create or update a pipeline, start it, wait for its end, and return the exit code."""
    parser = _run_parser()
    with escaped_streams():
        options = parser.parse_args(arguments)
    if options.module_name is None or options.role_arn is None:
        parser.print_help()
        return 2
    return _outermost(lambda: _run(options))


def get_pipeline_definition(arguments: Sequence[str] | None = None) -> int:
    """Write the definition of a pipeline to a file or standard output, and return the exit code."""
    parser = _definition_parser()
    with escaped_streams():
        options = parser.parse_args(arguments)
    if options.module_name is None:
        parser.print_help()
        return 2
    return _outermost(lambda: _write_definition(options))


def main_run_pipeline() -> None:
    """Run the console script ``run-pipeline``."""
    sys.exit(run_pipeline())


def main_get_pipeline_definition() -> None:
    """Run the console script ``get-pipeline-definition``."""
    sys.exit(get_pipeline_definition())


def load_pipeline(module_name: str, kwargs: dict[str, Json], *, role: str | None = None) -> AnyPipeline:
    """Return the pipeline of a module's ``get_pipeline``, or of a use case if the module does not exist.

    Raises:
        UsageError: the module has no ``get_pipeline``, or neither the module nor the use case exists.
        RunnerError: ``get_pipeline`` did not return a pipeline.
    """
    module = _import(module_name)
    if module is None:
        return use_case_pipeline(module_name, kwargs, role=role)
    function = getattr(module, "get_pipeline", None)
    if not callable(function):
        raise UsageError(f"module {module_name} has no function get_pipeline(**kwargs)")
    pipeline = function(**kwargs)
    missing = [name for name in ("definition", "upsert", "start") if not callable(getattr(pipeline, name, None))]
    if missing:
        raise RunnerError(
            f"{module_name}.get_pipeline returned {type(pipeline).__name__}, which has no {', '.join(missing)}"
        )
    return pipeline


def use_case_pipeline(module_name: str, kwargs: dict[str, Json], *, role: str | None = None) -> PipelineSubmission:
    """Return the pipeline of the use case that the keywords of the templates name.

    Raises:
        UsageError: the keywords name no use case, or contain an unknown key.
    """
    from mlops_core.runners import read_settings
    from mlops_sagemaker.bridge import compile_use_case
    from mlops_sagemaker.service.pipelines import PipelineSubmission
    from mlops_sagemaker.target import check_pipeline_name

    keywords = {name: value for name, value in kwargs.items() if name not in _IGNORED and value is not None}
    settings = read_settings()
    use_case = keywords.pop("usecase_name", None) or settings.use_case
    if not use_case:
        raise UsageError(
            f"no module '{module_name}', and no use case: create the module, pass usecase_name in --kwargs, "
            "or set USECASE_NAME"
        )
    region, bucket = keywords.pop("region", None), keywords.pop("default_bucket", None)
    name = keywords.pop("pipeline_name", None) or use_case.replace("_", "-")
    check_pipeline_name(name)
    compiled = compile_use_case(
        use_case,
        role=keywords.pop("role", None) or role,
        bucket=bucket,
        image=keywords.pop("image_uri", None) or settings.environ.get(IMAGE_VARIABLE),
        model_package_group=keywords.pop("model_package_group_name", None),
        config=keywords.pop("config", None),
        settings=keywords.pop("settings", None),
        parameters={key: _text(value) for key, value in (keywords.pop("parameters", None) or {}).items()},
    )
    if keywords:
        raise UsageError(f"--kwargs: unknown key '{next(iter(keywords))}' for a use case")
    return PipelineSubmission(name=name, compiled=compiled, region=region, bucket=bucket)


def read_struct(text: str | None, *, flag: str) -> Json:
    """Return the value of a JSON text or, as in the templates, a Python literal; None for None.

    Raises:
        UsageError: the text is neither.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        # Not the text itself, which may hold a secret and would be in the log of a build.
        raise UsageError(
            f"{flag} is neither JSON nor a Python literal: {type(error).__name__} in a text of {len(text)} characters"
        ) from error


# --- Actions of the scripts -------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> None:
    kwargs = _keywords(options.kwargs)
    tags = _tags(options, kwargs)
    pipeline = load_pipeline(options.module_name, kwargs, role=options.role_arn)
    click.echo("###### Creating/updating a SageMaker Pipeline with the following definition:")
    click.echo(json.dumps(json.loads(pipeline.definition()), indent=2, sort_keys=True))
    _check(pipeline)
    if options.dry_run:
        click.echo("###### Dry run: nothing was sent")
        return
    response = pipeline.upsert(role_arn=options.role_arn, description=options.description, tags=tags)
    click.echo("\n###### Created/Updated SageMaker Pipeline: Response received:")
    click.echo(str(response))
    execution = pipeline.start()
    click.echo(f"\n###### Execution started with PipelineExecutionArn: {execution.arn}")
    if options.no_wait:
        return
    _follow(pipeline, execution, options)


def _follow(pipeline: AnyPipeline, execution: Any, options: argparse.Namespace) -> None:
    from mlops_sagemaker.service.pipelines import PipelineSubmission, failure_of, publish_evaluation, wait_for

    click.echo("Waiting for the execution to finish...")
    if not hasattr(execution, "describe"):  # neither a PipelineSubmission nor of the SDK
        execution.wait()
        click.echo("\n#####Execution completed. Execution step details:")
        click.echo(str(execution.list_steps()))
        return
    description = wait_for(execution, timeout_s=options.timeout)
    steps = execution.list_steps()
    click.echo("\n#####Execution completed. Execution step details:")
    click.echo(json.dumps(steps, indent=2, default=str))
    if isinstance(pipeline, PipelineSubmission):
        folder = Path(options.artifacts_dir) if options.artifacts_dir else None
        count = publish_evaluation(pipeline, steps, folder=folder)
        click.echo(f"evaluation: {count} files" + (f" in {folder}" if folder else ""))
    failure = failure_of(description, steps)
    if failure:
        raise RunnerError(failure)


def _write_definition(options: argparse.Namespace) -> None:
    pipeline = load_pipeline(options.module_name, _keywords(options.kwargs))
    text = pipeline.definition()
    if options.file_name:
        Path(options.file_name).write_text(text, encoding="utf-8")
    else:
        click.echo(text)


def _check(pipeline: AnyPipeline) -> None:
    """Refuse an invalid definition before anything is sent; only compiled definitions are checked."""
    from mlops_sagemaker.checking import check_text
    from mlops_sagemaker.service.pipelines import PipelineSubmission

    faults = check_text(pipeline.definition()) if isinstance(pipeline, PipelineSubmission) else ()
    if faults:
        raise RunnerError(
            f"the definition has {len(faults)} fault{'s' if len(faults) > 1 else ''}; the first one: {faults[0]}"
        )


def _tags(options: argparse.Namespace, kwargs: dict[str, Json]) -> list[Json]:
    from mlops_sagemaker.service.tags import custom_tags, is_tag

    tags = read_struct(options.tags, flag="--tags") or []
    if not isinstance(tags, list) or not all(map(is_tag, tags)):
        raise UsageError("--tags is not a list of {'Key': ..., 'Value': ...}")
    module = _import(options.module_name)
    function = getattr(module, "get_pipeline_custom_tags", None)
    if not callable(function):
        return tags
    try:
        return custom_tags(function, tags, kwargs)
    except Exception as error:  # noqa: BLE001  a function of the project that calls the service; a project without tags still runs
        echo_line(f"Error getting project tags: {error}")
        return tags


def _keywords(text: str | None) -> dict[str, Json]:
    kwargs = read_struct(text, flag="--kwargs") or {}
    if not isinstance(kwargs, dict):
        raise UsageError("--kwargs is not a dict")
    return kwargs


def _import(name: str) -> ModuleType | None:
    """Return a module from the working directory or the environment; None if it does not exist."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _outermost(action: Callable[[], None]) -> int:
    with escaped_streams():
        try:
            action()
        except KeyboardInterrupt:
            click.echo("Exception: interrupted; an execution that was started continues")
            return 130
        except Exception as error:  # noqa: BLE001  the outermost function of a script: the templates' message and code
            echo_line(f"Exception: {error}")
            return 1
        return 0


# --- Flags ------------------------------------------------------------------------------------------------


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run-pipeline", description="Creates or updates and runs the pipeline for the pipeline script."
    )
    _add_module(parser)
    parser.add_argument(
        "-role-arn", "--role-arn", dest="role_arn", help="The role arn for the pipeline service execution role."
    )
    parser.add_argument("-description", "--description", dest="description", help="The description of the pipeline.")
    parser.add_argument(
        "-tags", "--tags", dest="tags", help="""List of dict strings of '[{"Key": "string", "Value": "string"}, ..]'"""
    )
    parser.add_argument("--no-wait", action="store_true", help="Start the execution without waiting for its end.")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="Maximum time to wait (default: no limit).")
    parser.add_argument(
        "--dry-run", action="store_true", help="Print and check the definition without sending anything."
    )
    parser.add_argument(
        "--artifacts-dir", metavar="FOLDER", help="Copy the evaluation to this folder when the execution has ended."
    )
    return parser


def _definition_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="get-pipeline-definition", description="Gets the pipeline definition for the pipeline script."
    )
    _add_module(parser)
    parser.add_argument(
        "-f", "--file-name", dest="file_name", help="The file to output the pipeline definition json to."
    )
    return parser


def _add_module(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--module-name", dest="module_name", help="The module name of the pipeline to import.")
    parser.add_argument(
        "-kwargs", "--kwargs", dest="kwargs", help="Dict string of keyword arguments for the pipeline generation."
    )
