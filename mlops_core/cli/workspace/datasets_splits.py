"""``mlops datasets splits``: the split manifests of runs and model versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import chosen_use_case, json_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.quantities import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.datasets.split_differences import SplitDifference

_SHOWN = 10
_SHORT_DIGEST = 12
_NAMES = {"digest": "content"}


@click.group("splits")
def command() -> None:
    """Compare the split manifests of runs and model versions."""


@command.command("diff")
@click.argument("earlier", metavar="A")
@click.argument("later", metavar="B")
@click.option("--usecase", "-u", help="Use case; A and B are then model versions: numbers or aliases.")
@click.option(
    "--split", "reference", metavar="STEP.OUTPUT", help="The manifest to compare, where a run has more than one."
)
@json_option
@click.pass_obj
def diff_splits(
    context: dict[str, str | None],
    *,
    earlier: str,
    later: str,
    usecase: str | None,
    reference: str | None,
    as_json: bool,
) -> None:
    """Show what differs between the splits of A and B, and what A trains on that B tests.

    A and B are runs (an id, the beginning of one, or 'latest'), split.csv files, folders that hold one, or, with
    --usecase, model versions.
    """
    from mlops_core.datasets.split_differences import compare_splits
    from mlops_core.errors import UsageError

    found = [_manifest(context, text, usecase=usecase, reference=reference) for text in (earlier, later)]
    owners = [owner for owner, _ in found]
    if all(owners) and owners[0] != owners[1]:
        raise UsageError(f"{earlier} is a run of {owners[0]}, {later} of {owners[1]}; expected runs of one use case")
    difference = compare_splits(*(folder for _, folder in found))
    if as_json:
        print_json(difference.to_json())
        return
    _print(difference, (earlier, later))


def _manifest(
    context: dict[str, str | None], text: str, *, usecase: str | None, reference: str | None
) -> tuple[str, Path]:
    """Return the use case, empty for a file, and the folder with the manifest that the user means."""
    from mlops_core.api import workspace_path
    from mlops_core.datasets.splits import SPLIT_FILE
    from mlops_core.errors import UsageError, did_you_mean
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    path = Path(text)
    if not usecase and path.name == SPLIT_FILE and path.is_file():
        return "", path.parent
    if not usecase and (path / SPLIT_FILE).is_file():
        return "", path
    with Store(workspace_path(context["workspace"])) as store:
        run = Registry(store).version(chosen_use_case(usecase), text).run_id if usecase else text
        record = store.runs.load(run)
        manifests = {
            f"{step.name}.{output}": store.artifacts.path(digest)
            for step in record.steps
            for output, digest in step.outputs.items()
            if store.artifacts.has(digest) and (store.artifacts.path(digest) / SPLIT_FILE).is_file()
        }
    if not manifests:
        raise UsageError(
            f"run {record.run_id} has no split manifest in the workspace; pass the {SPLIT_FILE} that its engine stored"
        )
    if reference is None and len(manifests) == 1:
        return record.use_case, next(iter(manifests.values()))
    if reference in manifests:
        return record.use_case, manifests[reference]
    hint = f"no split manifest '{reference}'{did_you_mean(reference, manifests)}; " if reference else ""
    raise UsageError(f"run {record.run_id}: {hint}choose one with --split: {', '.join(manifests)}")


def _print(difference: SplitDifference, names: tuple[str, str]) -> None:
    if difference.is_equal:
        echo_line(f"the splits are equal: digest {difference.digests[0][:_SHORT_DIGEST]}")
    else:
        shown = [f"{name} {digest[:_SHORT_DIGEST]}" for name, digest in zip(names, difference.digests, strict=True)]
        echo_line(f"digests: {shown[0]}, {shown[1]}")
    print_table(("part", *names), [(part or "no part", *counts) for part, counts in difference.counts.items()])
    _print_samples("added", difference.added)
    _print_samples("removed", difference.removed)
    for field in ("part", "label", "group", "digest"):
        changed = [one for one in difference.changed if one.field == field]
        _print_samples(
            f"another {_NAMES.get(field, field)}",
            [f"{one.sample}: {_value(one.earlier, field)} -> {_value(one.later, field)}" for one in changed],
        )
    _print_samples(
        f"trained on in {names[0]}, tested in {names[1]}",
        [
            leak.tested
            if leak.trained == leak.tested
            else f"{leak.tested}: {leak.reason} as {leak.trained} ({leak.part})"
            for leak in difference.leaks
        ],
    )
    if not difference.leaks:
        echo_line(f"no test sample of {names[1]} is trained on in {names[0]}")


def _value(text: str, field: str) -> str:
    return text[:_SHORT_DIGEST] if field == "digest" else text or "no part"


def _print_samples(title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    echo_line(f"{title}: {counted(len(lines), 'sample')}")
    for line in lines[:_SHOWN]:
        echo_line(f"    {line}")
    if len(lines) > _SHOWN:
        echo_line(f"    and {len(lines) - _SHOWN} more (--json shows all)")
