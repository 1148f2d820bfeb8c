"""``mlops sagemaker infrastructure``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlops_core.cli.options import HomePath, installed_use_case, use_case_option
from mlops_core.cli.streams import echo_line


@click.command("infrastructure")
@use_case_option
@click.option(
    "--ci",
    "provider",
    type=click.Choice(["codepipeline", "github"]),
    default="codepipeline",
    show_default=True,
    help="CI service: CodePipeline and CodeBuild, or a role for GitHub Actions.",
)
@click.option("--rules", type=HomePath(dir_okay=False, path_type=Path), metavar="FILE", help="Event rules to include.")
@click.option("--settings", type=HomePath(dir_okay=False, path_type=Path), metavar="FILE", help="Settings file.")
@click.option("--output", "-o", type=HomePath(dir_okay=False, path_type=Path), metavar="FILE", help="File to write.")
def infrastructure_command(
    *, usecase: str | None, provider: str, rules: Path | None, settings: Path | None, output: Path | None
) -> None:
    """Write one CloudFormation template with what a use case needs in an account.

    Artifact bucket, least-privilege roles, image repository, CI and event rules. Its parameters are named as the
    environment variables that they become, its outputs as those to set.
    """
    from mlops_core import UsageError
    from mlops_core.runners import read_settings, write_atomically
    from mlops_core.watching import read_rules, rules_for
    from mlops_sagemaker.delivery.infrastructure import infrastructure
    from mlops_sagemaker.settings import load_settings
    from mlops_sagemaker.triggers.rules import event_rules

    use_case = installed_use_case(usecase)
    loaded = load_settings(settings, environ=read_settings().environ)
    made = event_rules(rules_for(read_rules(rules), use_case)) if rules else ()
    text = json.dumps(infrastructure(use_case, loaded, provider=provider, rules=made), indent=2) + "\n"
    if output is None:
        echo_line(text.rstrip("\n"))
        return
    try:
        write_atomically(output, text)
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written: {error.strerror}; name another file") from None
    echo_line(
        f"{output}: create it with aws cloudformation deploy --template-file {output} --capabilities CAPABILITY_IAM"
    )
