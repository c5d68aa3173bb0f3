"""No secret reaches a service, wherever it stands; what only looks like one is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.machine.project import PROJECT
from trainer.machine.secrets import Redactor, is_secret

PLANTED = "hunter2-hunter2"


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "HF_TOKEN", "MY_SECRET", "DB_PASSWORD", "SMTP_PASSWD", "openai_api_key", "GITLAB_PAT"]
)
def test_the_value_of_a_secret_variable_is_replaced(name: str, tmp_path: Path) -> None:
    redactor = Redactor({name: PLANTED, "NETRC": str(tmp_path / "none")})
    given = {"a": [f"x{PLANTED}y", {PLANTED: 1}], "b": 0.5, "c": None}
    assert redactor.clean(given) == {"a": ["x[secret]y", {"[secret]": 1}], "b": 0.5, "c": None}


def test_a_short_value_is_no_secret(tmp_path: Path) -> None:
    redactor = Redactor({"TOKENIZERS_PARALLELISM": "false", "NETRC": str(tmp_path / "none")})
    assert redactor.text("true or false") == "true or false"


def test_a_plain_word_and_code_that_looks_like_a_query_stay() -> None:
    text = "training goes on if a&&key=b?token=c:d"
    assert Redactor({"AWS_PROFILE": "training", "DESKTOP_SESSION": "training"}).text(text) == text


def test_a_password_in_netrc_is_replaced(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine a.example login me password {PLANTED}\n")
    assert Redactor({"NETRC": str(netrc)}).text(f"said {PLANTED}") == "said [secret]"


def test_a_netrc_that_is_none_is_passed_over(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("not { a netrc")
    assert Redactor({"NETRC": str(netrc)}).text("x") == "x"


def test_a_user_and_password_in_an_address_are_replaced() -> None:
    text = Redactor({}).text("http://me:p@55@host:8000/v1, ssh://token@host and https://host:443/a@b?x=1&api_key=k")
    assert text == "http://[secret]@host:8000/v1, ssh://[secret]@host and https://host:443/a@b?x=1&api_key=[secret]"


def test_the_password_of_a_variables_address_is_met_alone_and_decoded() -> None:
    redactor = Redactor({"DATABASE_URL": "postgres://me:p4ss%21word@host/db"})
    assert redactor.text("p4ss!word p4ss%21word") == "[secret] [secret]"


def test_a_setting_that_holds_a_key_is_replaced_and_one_that_names_something_stays() -> None:
    kept = {"api_key_env": "OPENAI_API_KEY", "eos_token": "<|endoftext|>", "tokenizer": "builtin/letters"}
    given = {"params": {"api_key": PLANTED, **kept}, "trl": {"hub_token": PLANTED}}
    assert Redactor({}).config(given) == {"params": {"api_key": "[secret]", **kept}, "trl": {"hub_token": "[secret]"}}


@pytest.mark.parametrize("secret", [True, False])
def test_names_that_are_secret_and_names_that_only_look_like_it(secret: bool) -> None:
    names = {
        True: "GITHUB_PAT PAT AZURE_PAT_2 deploypat DB_PASS PASSPHRASE MYSQL_PWD DB_PW SENTRY_DSN AWS_REGION "
        "LDAP_BINDPW ROOTPW_2 SESSION_ID XSRF_COOKIE ONEGRPO_AUTH npm_config__auth AUTHORIZATION SLACK_WEBHOOK_URL "
        "GH_CREDS REDISCLI_AUTH "
        "AZURE_STORAGE_CONNECTION_STRING GOOGLE_APPLICATION_CREDENTIALS",
        False: "PATH LD_LIBRARY_PATH PYTHONPATH PATHEXT PWD OLDPWD PATTERN DISPATCH COMPAT GIT_AUTHOR_NAME XAUTHORITY "
        "HOME HF_HOME LANG OMP_NUM_THREADS CUDA_VISIBLE_DEVICES SSL_CERT_FILE TMPDIR USER",
    }[secret].split()
    assert [name for name in names if is_secret(name, "x") is not secret] == []


@pytest.mark.parametrize("secret", [True, False])
def test_values_that_hold_a_password_and_values_that_only_look_like_it(secret: bool) -> None:
    values = {
        True: [
            *("postgres://u:p@h/db", "redis://:p@h:1", "http://u:p@proxy:3128", "u:p@proxy:3128", "https://t0ken@h/r"),
            *("postgresql+psycopg2://u:p/q@h/db", "amqp://h1,amqp://u:p@h2", "host=h password=p", "Server=h;Pwd=p;"),
            *("jdbc:mysql://h/d?user=u&password=p", "https://h/x?v=1&sig=abc", "sudo API_KEY=x make"),
            *("https://h/cb#access_token=a", "https://h/?auth=a", "https://hooks.slack.com/services/T0/B0/a"),
            *("https://discord.com/api/webhooks/1/a", "https://api.telegram.org/bot123:A/send", '{"private_key": "a"}'),
            *("-----BEGIN PRIVATE KEY-----\na", "hf_" + "aB3" * 8, "sk-proj-" + "a" * 24, "ghp_" + "a" * 36),
        ],
        False: [
            *("http://proxy:3128", "https://h/@user", "/usr/bin:/bin", "me@h.example", "git@h:o/r", "a:b", "https://h:443/"),
            *("rs=0:di=01;34:*.tar=01", "localhost,127.0.0.1,::1", "expandable_segments:True", "https://h/?a=1&b=2"),
            *("/data/hf_models_cache_of_everybody", "task-one-two-three-four-five", "https://h/?author=me"),
        ],
    }[secret]  # fmt: skip
    assert [value for value in values if is_secret("X", value) is not secret] == []


def test_every_line_of_a_long_secret_and_the_longer_of_two_are_replaced() -> None:
    redactor = Redactor({"SSH_KEY": "first-line-1\nsecond-line-2", "A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefghij"})
    assert redactor.text("second-line-2 abcdefghij") == "[secret] [secret]"


def test_paths_in_the_config_lose_the_way_to_the_project() -> None:
    redactor = Redactor({})
    assert redactor.config({"data": f"{PROJECT}/presets/a.jsonl", "own": "/data/b.jsonl"}) == {
        "data": "presets/a.jsonl",
        "own": "/data/b.jsonl",
    }
