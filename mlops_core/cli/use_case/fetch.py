"""``mlops fetch``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_core.cli.options import SEED, HomePath, chosen_use_case, config_options, json_option, use_case_option
from mlops_core.cli.output import format_size, print_json, run_observer
from mlops_core.cli.runner_options import RunnerCommand, argument_of
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.datasets.catalogue import Progress
    from mlops_core.runners.plugin import LoadedArchive, RunnerOptions
    from mlops_core.runners.remote.object_store import Bucket
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.records import DatasetRecord
    from mlops_core.workspace.store import Store


def _default_runner(_: click.Context, arguments: Sequence[str]) -> str:
    """Return the runner whose object store ``--to`` names, else ``local``."""
    from mlops_core.runners.discovery import LOCAL, runners_that

    scheme, separator, _rest = argument_of(arguments, "--to").partition("://")
    if not separator:
        return LOCAL
    names = runners_that(lambda plugin: scheme in plugin.url_schemes)
    if not names:
        raise UsageError(f"--to: no installed runner stores data at {scheme}://; install the plugin of one that does")
    return names[0]


@click.command("fetch", cls=RunnerCommand, default_runner=_default_runner)
@use_case_option
@config_options
@click.option("--dataset", metavar="NAME", help="Data set of the catalogue; short for --set dataset.name=NAME.")
@click.option("--name", metavar="NAME", help="Name of a data set of your own, with --from or --command-file.")
@click.option(
    "--from",
    "url",
    metavar="URL",
    help="Fetch it from this address; archives are unpacked.",
)
@click.option("--sha256", metavar="DIGEST", help="Checksum of the file at this address.")
@click.option(
    "--command-file",
    metavar="FILE",
    type=HomePath(dir_okay=False),
    help="Fetch it with this script: bash runs it in an empty folder, where it may write; ./temp is the result.",
)
@click.option(
    "--to",
    "target",
    metavar="URL",
    help="Make the data set complete in an object store, SCHEME://BUCKET/PREFIX/: send missing files.",
)
@click.option("--verify", "is_verified", is_flag=True, help="With --to: compare every object, not only the manifest.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Random seed of generated data.")
@click.option("--offline", "is_offline", is_flag=True, help="Refuse to fetch from the network.")
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    /,
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    dataset: str | None,
    name: str | None,
    url: str | None,
    sha256: str | None,
    command_file: str | None,
    target: str | None,
    is_verified: bool,
    runner: str,
    runner_options: RunnerOptions,
    seed: int,
    is_offline: bool,
    as_json: bool,
) -> None:
    """Fetch the data set of a use case without running it.

    With --to, make it complete in an object store: nothing is sent, or even fetched, when the manifest there says that
    it is complete. An upload that was cut off is resumed; the manifest is written last.

    A data set of your own needs no plugin: --name with --from or --command-file. Runs use it with the settings that are
    printed, which can also be written to user_config.yaml.

    With --from and --to, but without --name, load a raw archive, a file or an address with or without a signature, into
    folders that runs read in place, where the runner of the object store supports it: labels are converted by the use
    case, and the variables that name the folders are printed.
    """
    from mlops_core.api import prepare_run, workspace_path
    from mlops_core.runners.discovery import load_runner
    from mlops_core.workspace.store import Store

    if target and url and not (name or sha256 or command_file) and _loads_archives(runner):
        if dataset or is_verified or is_offline:
            raise UsageError("a raw archive, loaded with --from and --to, takes no --dataset, --verify and --offline")
        request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides, seed=seed)
        home = workspace_path(context["workspace"])
        _print_loaded(_load(request, url, target, home, runner, runner_options), as_json=as_json)
        return
    if target is None and (is_verified or runner != "local"):
        raise UsageError("--verify and --runner need an address: --to URL")
    changes = (*overrides, f"dataset.name={json.dumps(dataset)}") if dataset else overrides
    source = _own_source(name, url=url, sha256=sha256, command_file=command_file, dataset=dataset)
    changes = (*changes, *source)
    request = prepare_run(chosen_use_case(usecase), config=config, overrides=changes, seed=seed, is_offline=is_offline)
    if name is not None:
        _require_own_name(name, request)
    observer = run_observer()
    with Store(workspace_path(context["workspace"])) as store, request.config.redactor().errors():
        if target is None:
            record, more = _fetch(request, store, observer.fetch_progress())
        else:
            bucket = load_runner(runner).open_bucket(target, runner_options)
            record, more = _provide(request, store, observer.fetch_progress(), target, bucket, is_verified=is_verified)
    observer.close()
    _print(record, more, as_json=as_json)
    if source and not as_json:
        echo_line("use it with: " + " ".join(f"--set {shlex.quote(each)}" for each in source))


def _own_source(
    name: str | None, *, url: str | None, sha256: str | None, command_file: str | None, dataset: str | None
) -> tuple[str, ...]:
    """Return the overrides that describe a data set of the user's own; none without one.

    Raises:
        UsageError: options contradict each other, or one is missing.
    """
    if name is None and url is None and command_file is None and sha256 is None:
        return ()
    if name is None or (url is None) == (command_file is None):
        raise UsageError("a data set of your own needs --name NAME and one of --from URL and --command-file FILE")
    if dataset is not None:
        raise UsageError("--dataset names a data set of the catalogue, --name one of your own; use one of the two")
    if sha256 is not None and url is None:
        raise UsageError("--sha256 is the checksum of a file that is fetched with --from URL")
    script = None if command_file is None else str(Path(command_file).absolute())
    given = {"url": url, "sha256": sha256, "command_file": script}
    source = {key: value for key, value in given.items() if value is not None}
    return (f"dataset.name={json.dumps(name)}", f"dataset.source={json.dumps(source)}")


def _loads_archives(runner: str) -> bool:
    from mlops_core.runners.discovery import load_runner
    from mlops_core.runners.plugin import Ability

    return Ability.LOAD in load_runner(runner).abilities


def _load(
    request: RunRequest, source: str, target: str, home: Path, runner: str, options: RunnerOptions
) -> LoadedArchive:
    from mlops_core.runners.discovery import load_runner
    from mlops_core.workspace.store import Store

    observer = run_observer()
    with Store(home) as store, request.config.redactor().errors():
        loaded = load_runner(runner).load_archive(request, source, target, options, store=store, observer=observer)
    observer.close()
    return loaded


def _print_loaded(loaded: LoadedArchive, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(loaded))
        return
    echo_line(f"{_files(loaded.files)} loaded, with labels, in {loaded.place}")
    for name, value in loaded.variables.items():
        echo_line(f"export {name}={shlex.quote(value)}")


def _require_own_name(name: str, request: RunRequest) -> None:
    taken = {entry.name.casefold(): entry.name for entry in request.use_case.datasets(request.config.model)}
    if known := taken.get(name.casefold()):
        raise UsageError(
            f"--name: '{known}' is a data set of the catalogue of {request.use_case.name}; fetch it with --dataset "
            f"{known}, or give yours another name"
        )


def _fetch(request: RunRequest, store: Store, progress: Progress) -> tuple[DatasetRecord, dict[str, Any]]:
    from mlops_core.runners.dataset_source import fetch_source

    source = fetch_source(
        request.use_case,
        request.dataset_choice(),
        store=store,
        seed=request.seed,
        is_offline=request.is_offline,
        progress=progress,
    )
    return source.record, {"was_there": source.was_there}


def _provide(
    request: RunRequest, store: Store, progress: Progress, target: str, bucket: Bucket, *, is_verified: bool
) -> tuple[DatasetRecord, dict[str, Any]]:
    from mlops_core.runners.remote.datasets import provide_dataset

    provided = provide_dataset(request, target, store=store, bucket=bucket, progress=progress, is_verified=is_verified)
    state = {"was_there": provided.was_there, "sent": provided.sent, "removed": provided.removed}
    return provided.record, {**state, "place": str(provided.place)}


def _print(record: DatasetRecord, more: dict[str, Any], *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json({**asdict(record), **more})
        return
    what = "already complete" if more["was_there"] else "fetched"
    if "place" in more and not more["was_there"]:
        what = f"{more['sent']} of {_files(record.files)} sent"
        what += f", {more['removed']} removed" if more["removed"] else ""
    kind = " generated data," if record.is_generated else ""
    echo_line(
        f"{record.name}: {what},{kind} {_files(record.files)}, {format_size(record.size_bytes)}, "
        f"digest {record.digest[:12]}, in {more.get('place', record.path)}"
    )


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
