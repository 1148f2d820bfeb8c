"""No secret reaches a definition, whatever it comes from; a value that only resembles one does."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlops_sagemaker.compiler.definition import compile_pipeline
from mlops_sagemaker.compiler.secrets import check_definition_texts
from mlops_sagemaker.settings import load_settings

from mlops_core.api import prepare_run
from mlops_core.errors import ConfigError
from mlops_core.runners.remote.secrets import names_secret, reason_for

MARK = "marked-c0ffee-secret"
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_password",
        "userpassword",
        "PASSPHRASE",
        "SSH_PASSPHRASE",
        "api_token",
        "apiToken",
        "MY_TOKEN",
        "api_key",
        "apikey",
        "APIKey",
        "client_secret",
        "credentials",
        "private_key",
        "private-key",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "PGPASSWORD",
        "private_key_pem",
        "Authorization",
        "session_cookie",
        "connectionString",
        "smtp_pass",
        "deploy_keys",
        "ssh-key",
    ],
)
def test_name_of_a_secret_is_recognised(name):
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "group_key",
        "key",
        "KmsKeyId",
        "max_tokens",
        "TOKENIZERS_PARALLELISM",
        "pad_token",
        "secret_arn",
        "password_file",
        "token_length",
        "AWS_ACCESS_KEY_ID",
        "tokenizer",
        "low_pass",
        "authorization_url",
        "api_key_id",
        "",
    ],
)
def test_name_that_only_resembles_a_secret_is_not_one(name):
    assert not names_secret(name)


@pytest.mark.parametrize(
    "value",
    [
        f"postgres://user:{MARK}@host/db",
        f"git+https://x:{MARK}@github.com/a/b",
        f"https://bucket.s3.amazonaws.com/key?X-Amz-Algorithm=x&X-Amz-Signature={MARK}",
        f"https://account.blob.core.windows.net/c?sv=1&sig={MARK}",
        f"see https://host/path?token={MARK} for it",
        f"-----BEGIN RSA PRIVATE KEY-----\n{MARK}",
    ],
)
def test_value_with_a_secret_in_it_is_recognised_under_any_key(value):
    assert reason_for("address", value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("address", "https://host/path?page=2"),
        ("address", "s3://bucket/key"),
        ("address", "ssh://git@host/repository"),
        ("token", ""),
        ("token", 5),
        ("token", {"Get": "Parameters.token"}),
        ("secret", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db"),
        ("password", "{{resolve:secretsmanager:db}}"),
    ],
)
def test_reference_and_plain_address_are_no_secrets(key, value):
    assert reason_for(key, value) == ""


@pytest.mark.parametrize(
    "setting",
    [
        f"steps.train.environment.API_TOKEN={MARK}",
        f"steps.train.environment.DB_URL='postgres://u:{MARK}@host/db'",
        f"steps.train.raw.Arguments.HyperParameters.password={MARK}",
        f"account.tags.client_secret={MARK}",
        f"steps.preprocess.environment.SOURCE='https://host/x?X-Amz-Signature={MARK}'",
    ],
)
def test_secret_in_a_setting_is_refused_without_showing_it(compiled, setting):
    with pytest.raises(ConfigError, match="everybody in the account can read") as caught:
        compiled(settings=[setting])
    assert MARK not in str(caught.value)


def test_secret_in_additional_steps_is_refused(compiled):
    function = "arn:aws:lambda:eu-west-1:111122223333:function:f"
    step = f"{{Name: n, Type: Lambda, FunctionArn: '{function}', Arguments: {{token: X}}}}"
    with pytest.raises(ConfigError, match=r"Arguments\.token .*is a secret"):
        compiled(settings=[f"raw_steps=[{step.replace('X', MARK)}]"])
    reference = step.replace("token: X", "token_arn: 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:t'")
    compiled(settings=[f"raw_steps=[{reference}]"])


@pytest.mark.parametrize("variable", ["MY_TOKEN", "SSH_PASSPHRASE", "SIGNING_KEY", "DB_PASSWORD"])
def test_value_of_a_variable_with_a_secret_is_refused_under_any_key(toy, tmp_path, variable):
    settings = tmp_path / "sagemaker.yaml"
    settings.write_text(f"steps:\n  train:\n    environment:\n      HARMLESS: x-${{{variable}}}\n")
    done = subprocess.run(
        [*MLOPS, "compile", "-u", "TOY", "--runner", "sagemaker", "--settings", str(settings), "-o", "definition.json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, variable: MARK},
    )
    assert (done.returncode, MARK in done.stdout + done.stderr) == (2, False)
    assert variable in done.stderr
    assert not Path("definition.json").exists()


def test_short_value_of_a_variable_with_a_secret_is_refused(toy, tmp_path):
    path = tmp_path / "sagemaker.yaml"
    path.write_text("steps:\n  train:\n    environment:\n      HARMLESS: ${MY_TOKEN}\n")
    with pytest.raises(ConfigError, match=r"steps.train.environment.HARMLESS \(\$\{MY_TOKEN\}\) is a secret"):
        load_settings(path, environ={"MY_TOKEN": "abc"})


def test_setting_from_a_variable_without_a_secret_is_used(toy, tmp_path):
    path = tmp_path / "sagemaker.yaml"
    path.write_text("account:\n  bucket: ${ARTIFACT_BUCKET}\n")
    assert load_settings(path, environ={"ARTIFACT_BUCKET": "my-bucket"}).account.bucket == "my-bucket"


def test_secret_in_a_parameter_is_refused(toy):
    request = prepare_run("TOY")
    secret = replace(request, parameters={**request.parameters, "api_token": MARK})
    with pytest.raises(ConfigError, match="parameter 'api_token' is a secret"):
        compile_pipeline(secret, load_settings())


@pytest.mark.parametrize(
    "content", [{"api_token": MARK}, {"source": f"https://u:{MARK}@host/x"}, {"token": {"value": MARK}}]
)
def test_literal_secret_in_the_configuration_of_a_step_is_refused(toy, content):
    request = prepare_run("TOY")
    sections = request.config.sections()
    sections["training"] |= content

    class Config:
        secrets = {}

        def sections(self):
            return sections

    with pytest.raises(ConfigError, match=r"training\.\S+ is a .* that step 'train' reads") as caught:
        compile_pipeline(replace(request, config=Config()), load_settings())
    assert MARK not in str(caught.value)


def test_value_that_is_cut_into_several_arguments_is_found():
    request = '{"config": {"training": {"note": "' + "x" * 300 + MARK + '"}}}'
    pieces = [f"--request={request[start : start + 20]}" for start in range(0, len(request), 20)]
    step = {"Name": "train", "Arguments": {"AlgorithmSpecification": {"ContainerArguments": pieces}}}
    with pytest.raises(ConfigError, match="contains the value of the environment variable MY_TOKEN"):
        check_definition_texts({"Steps": [step]}, {"MY_TOKEN": MARK})
    check_definition_texts({"Steps": [step]}, {"NOTE": MARK})
