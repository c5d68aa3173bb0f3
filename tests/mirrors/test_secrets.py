"""No secret reaches a service, wherever it stands; what only looks like one is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.machine.project import PROJECT
from trainer.mirrors.secrets import Redactor

PLANTED = "hunter2-hunter2"


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "HF_TOKEN", "MY_SECRET", "DB_PASSWORD", "SMTP_PASSWD", "openai_api_key"]
)
def test_the_value_of_a_secret_variable_is_replaced(name: str, tmp_path: Path) -> None:
    redactor = Redactor({name: PLANTED, "NETRC": str(tmp_path / "none")})
    given = {"a": [f"x{PLANTED}y", {PLANTED: 1}], "b": 0.5, "c": None}
    assert redactor.clean(given) == {"a": ["x[secret]y", {"[secret]": 1}], "b": 0.5, "c": None}


def test_a_short_value_is_no_secret(tmp_path: Path) -> None:
    redactor = Redactor({"TOKENIZERS_PARALLELISM": "false", "NETRC": str(tmp_path / "none")})
    assert redactor.text("true or false") == "true or false"


def test_a_password_in_netrc_is_replaced(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine a.example login me password {PLANTED}\n")
    assert Redactor({"NETRC": str(netrc)}).text(f"said {PLANTED}") == "said [secret]"


def test_a_netrc_that_is_none_is_passed_over(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("not { a netrc")
    assert Redactor({"NETRC": str(netrc)}).text("x") == "x"


def test_a_user_and_password_in_an_address_are_replaced() -> None:
    text = Redactor({}).text("http://me:pa55@host:8000/v1 and https://host:443/a@b")
    assert text == "http://[secret]@host:8000/v1 and https://host:443/a@b"


def test_every_line_of_a_long_secret_and_the_longer_of_two_are_replaced() -> None:
    redactor = Redactor({"SSH_KEY": "first-line-1\nsecond-line-2", "A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefghij"})
    assert redactor.text("second-line-2 abcdefghij") == "[secret] [secret]"


def test_paths_in_the_config_lose_the_way_to_the_project() -> None:
    redactor = Redactor({})
    assert redactor.config({"data": f"{PROJECT}/presets/a.jsonl", "own": "/data/b.jsonl"}) == {
        "data": "presets/a.jsonl",
        "own": "/data/b.jsonl",
    }
