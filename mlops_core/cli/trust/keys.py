"""``mlops keys``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import json_option
from mlops_core.cli.output import print_json
from mlops_core.cli.streams import echo_line
from mlops_core.cli.trust.key_options import KEY_FILE, password_option, read_password

if TYPE_CHECKING:
    from pathlib import Path


@click.group("keys")
def command() -> None:
    """Create keys that sign bundles, and show public keys."""


@command.command("new")
@click.argument("file", type=KEY_FILE)
@password_option
@json_option
def new_key(*, file: Path, password_env: str | None, as_json: bool) -> None:
    """Write a new private key (ECDSA P-256, PEM) to FILE, and its public key beside it as NAME.pub.pem.

    Only the owner can read the private key. A file that exists is never overwritten.
    """
    from mlops_core.trust.bundles.keys import write_key_pair

    password = read_password(password_env)
    public, key = write_key_pair(file, password=password)
    if as_json:
        print_json({"private": str(file), "public": str(public), "key": key.key_id, "is_encrypted": bool(password)})
        return
    echo_line(f"private key: {file} ({'encrypted' if password else 'not encrypted; see --password-env'})")
    echo_line(f"public key:  {public}")
    echo_line(f"key id:      {key.key_id}")


@command.command("show")
@click.argument("file", type=KEY_FILE)
@json_option
def show_key(*, file: Path, as_json: bool) -> None:
    """Show the id of the public key in FILE, by which bundles and signatures name it."""
    from mlops_core.trust.bundles.keys import read_public_key

    key = read_public_key(file)
    if as_json:
        print_json({"public": str(file), "key": key.key_id})
        return
    echo_line(key.key_id)
