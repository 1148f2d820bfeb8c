"""Secrets of a configuration and the definition that everybody in the account can read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[4] / "tests"
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
MARK = "q7Zx"
VARIABLES = {
    "MY_TOKEN": f"{MARK}-1",
    "SSH_PASSPHRASE": f"{MARK}-2",
    "DB_URL": f"postgresql://admin:{MARK}3@db.example.org/words",
    "PLAIN": f"{MARK}-plain",
    "LIMIT": "7",
}
PYTHONPATH = f"{TESTS / 'toy'}{os.pathsep}{TESTS / 'secrets'}"


def compiled(tmp_path, config):
    (tmp_path / "user_config.yaml").write_text(config)
    done = subprocess.run(
        [*MLOPS, "--verbose", "compile", "-u", "LEAKY", "--runner", "sagemaker", "--config", "user_config.yaml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **VARIABLES, "PYTHONPATH": PYTHONPATH},
    )
    assert MARK not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("header", "Bearer ${MY_TOKEN}"),
        ("several[0]", "${SSH_PASSPHRASE}"),
        ("database", "${DB_URL}"),
        ("user", "${PLAIN}"),
        ("api_token", f"{MARK}-literal"),
        ("repository", f"https://me:{MARK}@example.org/words.git"),
        ("presigned", f"https://s3.example.org/words.csv?X-Amz-Signature={MARK}"),
    ],
)
def test_a_secret_that_a_step_reads_is_refused_by_its_key(tmp_path, key, value):
    text = f"[{value!r}]" if key.endswith("]") else repr(value)
    done = compiled(tmp_path, f"access: {{{key.partition('[')[0]}: {text}}}\n")
    assert done.returncode == 2
    assert f"access.{key} is a secret that step 'train' reads" in done.stderr


def test_numbers_and_local_paths_from_the_environment_are_compiled(tmp_path):
    done = compiled(tmp_path, "access: {limit: '${LIMIT}', user: '${HOME}'}\n")
    assert done.returncode == 0, done.stderr
