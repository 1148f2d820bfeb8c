"""``mlops verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, json_option
from mlops_core.cli.output import print_json
from mlops_core.cli.streams import echo_line, is_interactive
from mlops_core.cli.trust.key_options import read_trusted_keys, trusted_key_options
from mlops_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from mlops_core.trust.bundles.keys import TrustedKeys
    from mlops_core.trust.bundles.verification import BundleReport

_MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "bold red"), "not checked": ("not checked", "yellow")}
_SIGNATURE_LIMIT_BYTES = 64 << 20


@click.command("verify")
@click.argument("bundle", type=HomePath(path_type=Path), metavar="BUNDLE")
@trusted_key_options
@click.option("--allow-unsigned", is_flag=True, help="Accept a bundle that is not signed, with a warning.")
@click.option(
    "--no-recompute", is_flag=True, help="Check bytes and statements only; read no predictions, compute no metrics."
)
@click.option(
    "--require-recomputed",
    is_flag=True,
    help="Exit with 3 unless split, predictions, metrics and verdict were all checked again.",
)
@click.option(
    "--model",
    type=HomePath(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Also compare the files of a model with those that were signed.",
)
@json_option
def command(
    *,
    bundle: Path,
    public_key: Path | None,
    trust_file: Path | None,
    allow_unsigned: bool,
    no_recompute: bool,
    require_recomputed: bool,
    model: Path | None,
    as_json: bool,
) -> int:
    """Check a bundle that mlops bundle wrote, here or elsewhere; no workspace is needed.

    Signature, digests, split, predictions, approvals and the verdict are checked from the bundle alone, metrics with
    the plugin if it is installed; what could not be checked is listed with the reason. With --model, BUNDLE may also be
    the signature of a model (model.sig), in OpenSSF Model Signing format. Exit code 0: verified, 3: not verified.
    """
    keys = read_trusted_keys(public_key, trust_file)
    if _is_model_signature(bundle):
        return _verify_signature(bundle, keys, model, as_json=as_json)
    from mlops_core.trust.bundles.verification import verify_bundle

    report = verify_bundle(bundle, keys=keys, allows_unsigned=allow_unsigned, recomputes=not no_recompute, model=model)
    is_enough = report.is_verified and (report.is_recomputed or not require_recomputed)
    if as_json:
        print_json({**report.to_json(), "is_recomputed": report.is_recomputed})
    else:
        _print(report, is_recomputation_required=require_recomputed)
    return ExitCode.OK if is_enough else ExitCode.REJECTED


def _print(report: BundleReport, *, is_recomputation_required: bool) -> None:
    """Print the checks as a list for a reviewer."""
    version = f", model version {report.model_version}" if report.model_version is not None else ""
    if report.run_id:
        echo_line(f"{report.path}: {report.use_case} run {report.run_id}{version}")
    else:
        echo_line(f"{report.path}")
    for warning in report.warnings:
        echo_line(f"warning: {warning}")
    _print_checks([(check.name, str(check.outcome), check.detail) for check in report.checks])
    if not report.is_verified:
        echo_line(f"NOT VERIFIED: {report.mismatch}")
        return
    if is_recomputation_required and not report.is_recomputed:
        echo_line(f"NOT VERIFIED: not checked, and required: {', '.join(report.not_checked)}")
        return
    signer = f", signed with {report.key}" if report.key else ", not signed"
    rest = f"; NOT CHECKED: {', '.join(report.not_checked)}" if report.not_checked else ""
    echo_line(f"verified{signer}{rest}")


def _print_checks(rows: list[tuple[str, str, str]]) -> None:
    from mlops_core.control_characters import escape_line

    if not is_interactive(sys.stdout):
        width = max(len(name) for name, _, _ in rows)
        for name, outcome, detail in rows:
            echo_line(f"  {_MARKS[outcome][0]:<11}  {name:<{width}}  {detail}")
        return
    from rich.table import Table
    from rich.text import Text

    from mlops_core.cli.terminal import EscapingConsole

    table = Table.grid(padding=(0, 2))
    for name, outcome, detail in rows:
        mark, style = _MARKS[outcome]
        table.add_row(Text(f"  {mark}", style=style), Text(name), Text(escape_line(detail), overflow="fold"))
    EscapingConsole(sys.stdout).print(table)


def _is_model_signature(path: Path) -> bool:
    """Return whether a file is JSON, as the signature of a model is; a bundle begins with a name."""
    from mlops_core.reading import open_regular

    try:
        with open(open_regular(path), "rb") as stream:  # noqa: PTH123  a descriptor
            return stream.read(64).lstrip()[:1] == b"{"
    except (OSError, ValueError):
        return False


def _verify_signature(path: Path, keys: TrustedKeys | None, model: Path | None, *, as_json: bool) -> int:
    """Compare a model folder with a signature, and print the result.

    Raises:
        UsageError: the key or the folder is missing, or something cannot be read.
    """
    from mlops_core.reading import read_bytes
    from mlops_core.trust.bundles.envelopes import EvidenceFaultError
    from mlops_core.trust.bundles.model_signing import compare_model_folder, verify_model_signature

    if keys is None or model is None:
        raise UsageError(f"{path} is the signature of a model; give its folder with --model, and --key or --trust")
    signer, difference = "", ""
    try:
        content = read_bytes(path, limit_bytes=_SIGNATURE_LIMIT_BYTES)
        key, files, ignored = verify_model_signature(content, keys)
        signer = f"{key.name} ({key.key_id})"
        difference = compare_model_folder(model, files, ignored=ignored, signature=path)
    except EvidenceFaultError as error:
        difference = str(error)
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}") from error
    if as_json:
        data = {"is_verified": not difference, "mismatch": difference, "model": str(model), "key": signer}
        print_json({"format": "mlops-model-verification/1", **data})
    else:
        echo_line(f"NOT VERIFIED: {difference}" if difference else f"verified: {model}, signed with {signer}")
    return ExitCode.REJECTED if difference else ExitCode.OK
