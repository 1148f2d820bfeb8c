"""``mlops bundle``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_core.cli.options import HomePath, json_option
from mlops_core.cli.output import print_json
from mlops_core.cli.streams import echo_line
from mlops_core.cli.trust.key_options import KEY_FILE, password_option, read_signer
from mlops_core.quantities import format_size


@click.command("bundle")
@click.argument("subject", metavar="RUN|MODEL")
@click.option("--usecase", "-u", metavar="NAME", help="Use case of MODEL, a version number or an alias such as 'best'.")
@click.option(
    "--output",
    "-o",
    required=True,
    type=HomePath(path_type=Path),
    metavar="FILE",
    help="Bundle to write, for example bundle.tar; an existing file is replaced.",
)
@click.option("--key", "key_file", type=KEY_FILE, metavar="FILE", help="Private key (PEM) that signs the bundle.")
@click.option("--key-env", metavar="NAME", help="Environment variable that holds the private key (PEM).")
@password_option
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    *,
    subject: str,
    usecase: str | None,
    output: Path,
    key_file: Path | None,
    key_env: str | None,
    password_env: str | None,
    as_json: bool,
) -> None:
    """Write the evidence of a run or a model version to one signed archive, which mlops verify checks anywhere.

    RUN is a run id, the beginning of one, or 'latest'. With --usecase, MODEL is a version number or an alias. The
    bundle holds configuration, digests of the code, environment, split, predictions, metrics, verdict, approvals and
    the signature of the model, but not the model. The same state and key give the same bytes.
    """
    from mlops_core.api import workspace_path
    from mlops_core.trust.bundles.bundle import find_subject, write_bundle
    from mlops_core.workspace.store import Store

    key = read_signer(key_file, key_env, password_env=password_env)
    with Store(workspace_path(context["workspace"])) as store:
        found = find_subject(store, subject, use_case=usecase or "")
        notes = write_bundle(store, found, output, key=key)
    if key is None:
        notes = ("the bundle is not signed, so anybody could have written it; sign it with --key", *notes)
    for note in notes:
        echo_line(f"mlops: warning: {note}", err=True)
    record, size = found.record, output.stat().st_size
    version = None if found.version is None else found.version.version
    if as_json:
        print_json(
            {
                "bundle": str(output),
                "size_bytes": size,
                "run_id": record.run_id,
                "use_case": record.use_case,
                "model_version": version,
                "key": key.key_id if key else None,
                "warnings": list(notes),
            }
        )
        return
    what = "" if version is None else f", model version {version}"
    echo_line(f"{output}: {record.use_case} run {record.run_id}{what}, {record.verdict and record.verdict.outcome}")
    signed = f"signed with {key.key_id[:12]}" if key else "not signed"
    echo_line(
        f"  {format_size(size)}, {signed}; check it with: mlops verify {output}{' --key PUBLIC.pem' if key else ''}"
    )
