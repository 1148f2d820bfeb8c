"""What is a secret, and how it is taken out of texts."""

import json
import urllib.parse

import pytest

from mlops_core.redaction import REDACTED, Redactor, is_secret_key, names_secret, redact_urls


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "api_token",
        "MY_TOKEN",
        "hfToken",
        "SSH_PASSPHRASE",
        "password",
        "dbPassword",
        "AWS_SECRET_ACCESS_KEY",
        "api-key",
        "apiKeys",
        "access_tokens",
        "client_secret",
        "credentials",
        "privateKey",
        "PGPASSWORD",
        "userpassword",
        "private_key_pem",
        "Authorization",
        "session_cookie",
        "connectionString",
        "smtp_pass",
        "deploy_keys",
        "ssh-key",
    ],
)
def test_names_of_secrets(name):
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "tokens",
        "max_tokens",
        "tokenizer",
        "key",
        "keys",
        "primary_key",
        "password_file",
        "token_count",
        "secret_name",
        "DB_URL",
        "epochs",
        "pad_token",
        "low_pass",
        "authorization_url",
        "api_key_id",
        "secret_arn",
    ],
)
def test_names_of_other_things(name):
    assert not names_secret(name)


def test_a_key_below_a_section_of_secrets_is_one():
    assert is_secret_key("credentials.user")
    assert is_secret_key("services[2].api_token")
    assert not is_secret_key("training.optimizer")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pass@host/a", f"https://{REDACTED}@host/a"),
        ("clone https://ghp_1@host/a.git failed", f"clone https://{REDACTED}@host/a.git failed"),
        ("postgresql+psycopg://u:p%2F@h:5432/d", f"postgresql+psycopg://{REDACTED}@h:5432/d"),
        ("postgres://u:p/w@h/d", f"postgres://{REDACTED}@h/d"),
        ("https://h/k?X-Amz-Date=1&X-Amz-Signature=ab&x=1", f"https://h/k?X-Amz-Date=1&X-Amz-Signature={REDACTED}&x=1"),
        ("https://h/k?sv=1&sig=a%3D", f"https://h/k?sv=1&sig={REDACTED}"),
        ("https://h/k#access_token=ab", f"https://h/k#access_token={REDACTED}"),
        ("https://h/k?token=ab", f"https://h/k?token={REDACTED}"),
    ],
)
def test_the_secret_parts_of_an_address_are_replaced(text, shown):
    assert redact_urls(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://host/a@v1",
        "https://host:8080/a@v1",
        "ssh://git@host/a.git",
        "https://${USER}:${PASSWORD}@host/a",
        "https://host/k?page=2&size=10",
        "mail me@example.org",
    ],
)
def test_other_addresses_stay(text):
    assert redact_urls(text) == text


@pytest.mark.parametrize("size", range(1, 12))
def test_a_value_across_the_ends_of_chunks_is_replaced(size):
    data = b"begin s3cr3t middle s3cr3t"
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert b"".join(Redactor({"s3cr3t": "${X}"}).chunks(chunks)) == b"begin ${X} middle ${X}"


SHOWN_BY = {
    "str": str,
    "repr": repr,
    "a tuple with other quotes": lambda value: repr((value, "it's")),
    "a text with both quotes": lambda value: repr(f'it\'s "{value}"'),
    "JSON": json.dumps,
    "JSON in UTF-8": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON in JSON": lambda value: json.dumps(json.dumps({"key": value})),
    "a path": urllib.parse.quote,
    "a query": lambda value: urllib.parse.urlencode({"q": value}),
    "one line": lambda value: " ".join(value.split()),
}


@pytest.mark.parametrize(
    "value", ["pa\"ss\\wo'rd", "pässwört-1", "first\n  second line", "p ss&x=1/2", "tab\tbed", "50%+more"]
)
@pytest.mark.parametrize("shown_by", SHOWN_BY)
def test_a_value_that_was_escaped_or_quoted_is_replaced(value, shown_by):
    text = f"before {SHOWN_BY[shown_by](value)} after"
    shown = Redactor({value: "${X}"}).text(text)
    assert "${X}" in shown
    assert b"${X}" in b"".join(Redactor({value: "${X}"}).chunks([text.encode()]))
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def fail():
    raise OSError(2, "s3cr3t", "/s3cr3t")


def fail_again():
    try:
        fail()
    except OSError as error:
        raise ValueError("at s3cr3t") from error


def test_exceptions_and_their_causes_lose_the_values():
    with pytest.raises(ValueError, match=r"^at \$\{X\}$") as raised, Redactor({"s3cr3t": "${X}"}).errors():
        fail_again()
    assert "s3cr3t" not in str(raised.value.__cause__)


def test_local_paths_and_short_values_are_no_secrets(tmp_path):
    assert not Redactor({str(tmp_path): "${X}"})
    assert not Redactor({"abc": "${X}"})
    assert not Redactor({"full": "${MODE}"}, unnamed=["full"])
