"""``mlops import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from mlops_core.config_files.imported import ImportedConfig
    from mlops_core.config_files.loaded import LoadedConfig
    from mlops_core.use_cases.manager import UseCase


@click.command("import")
@click.argument("layout", metavar="FORMAT")
@click.argument("file", type=HomePath())
@use_case_option
@click.option("--output", "-o", type=HomePath(dir_okay=False), help="New file to write (default: standard output).")
@json_option
def command(*, layout: str, file: str, usecase: str | None, output: str | None, as_json: bool) -> int:
    """Convert another program's configuration to a user_config.yaml and report the result per key.

    FORMAT is a name that a use case knows, for example stm32. Without --usecase, the installed use cases are asked.
    Nothing is written when a key is refused.
    """
    if output is not None and Path(output).exists():
        raise UsageError(f"{output} exists and is not overwritten; name another file")
    use_case, imported = _imported(layout, Path(file), usecase)
    if as_json:
        print_json({"use_case": use_case.name, "layout": imported.layout, "keys": [k.to_json() for k in imported.keys]})
    else:
        _print_report(imported)
    imported.require_accepted()
    loaded = _validated(use_case, imported)
    if output is not None:
        Path(output).write_text(loaded.to_yaml(), encoding="utf-8")
        echo_line(f"wrote {output}: mlops run --usecase {use_case.name} --config {output}", err=True)
    return ExitCode.OK


def _imported(layout: str, file: Path, given: str | None) -> tuple[UseCase, ImportedConfig]:
    from mlops_core.config_files.yaml_source import read_yaml_file
    from mlops_core.settings import read_settings
    from mlops_core.use_cases.manager import load_use_case

    settings = read_settings()
    source = read_yaml_file(file, environ=settings.environ, is_foreign=True)
    named = given or settings.use_case
    found = []
    for name in (named,) if named else _installed():
        use_case = load_use_case(name)
        imported = use_case.import_config(source, layout=layout)
        if imported is not None:
            found.append((use_case, imported))
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(use_case.name for use_case, _ in found)
        raise UsageError(f"{names} can read {file}; choose with --usecase")
    raise UsageError(
        f"{named or 'no installed use case'} {'does not read' if named else 'reads'} the format '{layout}'"
    )


def _installed() -> list[str]:
    from mlops_core.use_cases.discovery import discover_use_cases

    return sorted({use_case.name for use_case in discover_use_cases()})


def _validated(use_case: UseCase, imported: ImportedConfig) -> LoadedConfig:
    from mlops_core.config_files.loading import validate_sources
    from mlops_core.config_files.yaml_source import read_yaml_file

    default = read_yaml_file(use_case.default_config_path(), environ={})
    return validate_sources(use_case.config_model(), [default, imported.source])


def _print_report(imported: ImportedConfig) -> None:
    print_table(
        ("line", "key", "", "becomes", "note"),
        [(item.line or "", item.key, item.fate, item.target, item.note) for item in imported.keys],
    )
    echo_line(imported.summary())
