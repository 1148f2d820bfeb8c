"""Options that name keys, and how the keys are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mlops_core.cli.options import HomePath
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.trust.bundles.keys import SigningKey, TrustedKeys

F = TypeVar("F", bound="Callable[..., object]")
KEY_FILE = HomePath(path_type=Path, dir_okay=False)


def password_option(function: F) -> F:
    """Add ``--password-env``: a password is never an argument, which other users can read."""
    return click.option(
        "--password-env",
        metavar="NAME",
        help="Environment variable that holds the password of the private key.",
    )(function)


def trusted_key_options(function: F) -> F:
    """Add ``--key`` and ``--trust``."""
    function = click.option(
        "--trust", "trust_file", type=KEY_FILE, metavar="FILE", help="YAML file that names trusted public keys."
    )(function)
    return click.option(
        "--key", "public_key", type=KEY_FILE, metavar="FILE", help="Public key (PEM) of the expected signer."
    )(function)


def read_password(variable: str | None) -> str:
    """Return the password in an environment variable; empty if none is named.

    Raises:
        UsageError: the variable is not set, or is empty.
    """
    return read_variable(variable, option="--password-env") if variable else ""


def read_variable(name: str, *, option: str) -> str:
    """Return the value of an environment variable that an option names.

    Raises:
        UsageError: it is not set, or is empty.
    """
    from mlops_core.settings import environment

    value = environment().get(name, "")
    if not value:
        raise UsageError(f"{option} {name}: the environment variable {name} is not set")
    return value


def read_signer(path: Path | None, variable: str | None, *, password_env: str | None) -> SigningKey | None:
    """Return the private key in a file or an environment variable; None if neither is named.

    Raises:
        UsageError: both are named, or the key cannot be read.
    """
    from mlops_core.trust.bundles.keys import parse_signing_key, permission_warning, read_signing_key

    if path is not None and variable:
        raise UsageError("--key and --key-env: give one of the two")
    if password_env and path is None and not variable:
        raise UsageError(f"--password-env {password_env}: there is no private key; give --key or --key-env")
    password = read_password(password_env)
    if path is not None:
        key = read_signing_key(path, password=password)
        warning = permission_warning(path)
        if warning:
            echo_line(f"mlops: warning: private key {warning}", err=True)
        return key
    if variable:
        pem = read_variable(variable, option="--key-env").encode(errors="replace")
        return parse_signing_key(pem, where=f"the environment variable {variable}", password=password)
    return None


def read_trusted_keys(public_key: Path | None, trust_file: Path | None) -> TrustedKeys | None:
    """Return the keys that ``--key`` and ``--trust`` name; None if neither is given.

    Raises:
        UsageError: both are given, or a key cannot be read.
        ConfigError: the trust file is not well formed.
    """
    if public_key is None and trust_file is None:
        return None
    from mlops_core.trust.bundles.keys import TrustedKeys, read_public_key, read_trust_file

    if public_key is not None and trust_file is not None:
        raise UsageError("--key and --trust: give one of the two")
    if trust_file is not None:
        return read_trust_file(trust_file)
    assert public_key is not None  # noqa: S101  for mypy: one of the two is given
    return TrustedKeys((read_public_key(public_key),))
