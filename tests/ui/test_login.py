"""Where the password comes from, and that tries at the same moment do not get past the limit. In Gradio's own app."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from trainer.console import flags
from trainer.errors import SpecError
from trainer.ui import login
from trainer.ui import server as serving

PASSWORD = "a-long-password"
HOST = "http://127.0.0.1:7860"


@pytest.fixture(scope="module")
def app() -> Any:
    """Gradio's app of an empty page behind this page's middleware, with a password."""
    import gradio as gr
    from gradio.routes import App

    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.HTML("page")
    made = App.create_app(blocks, app_kwargs={"middleware": serving._middleware("127.0.0.1", 7860, locked=True)})
    made.auth = {"me": PASSWORD}
    blocks.auth, blocks.auth_message = [("me", PASSWORD)], login.rule()
    return made


def post(app: Any, passwords: list[str], address: str = "192.0.2.1", language: str = "en") -> list[httpx.Response]:
    """The answers to these passwords, all tried at the same moment."""

    async def at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, client=(address, 40000))
        async with httpx.AsyncClient(
            transport=transport, base_url=HOST, headers={"accept-language": language}
        ) as client:
            asked = (client.post("/login", data={"username": "me", "password": each}) for each in passwords)
            return await asyncio.gather(*asked)

    return asyncio.run(at_once())


def statuses(answers: list[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


def test_of_many_tries_at_once_only_a_few_are_looked_at_and_time_lets_in_again(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookies = post(app, [PASSWORD])[0].cookies
    tried = statuses(post(app, ["wrong"] * 100 + [PASSWORD] * 5))
    assert tried.count(400) == login.MOST_WRONG
    assert tried.count(429) == len(tried) - login.MOST_WRONG
    refused = post(app, [PASSWORD], language="ko")[0]
    assert refused.status_code == 429
    assert "비밀번호를 10번" in refused.text
    assert 0 < int(refused.headers["retry-after"]) <= login.WINDOW_S + 1
    assert refused.headers["x-frame-options"] == "DENY"
    assert statuses(post(app, [PASSWORD], "192.0.2.2")) == [200]  # somebody else
    later = time.monotonic() + login.WINDOW_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert statuses(post(app, [PASSWORD])) == [200]

    async def config() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST, cookies=cookies) as client:
            return (await client.get("/config")).status_code

    assert asyncio.run(config()) == 200  # who was in stayed in


def test_a_right_password_uses_up_no_try_and_gives_none_back(app: Any) -> None:
    def tried(*passwords: str) -> list[int]:
        return statuses(post(app, list(passwords), "192.0.2.3"))

    assert tried(*["wrong"] * 9) == [400] * 9
    for _ in range(12):
        assert tried(PASSWORD) == [200]
    assert tried("wrong") + tried("wrong") == [400, 429]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_addresses_that_one_machine_can_take_count_together(one: str, other: str, same: bool) -> None:
    assert (login._network((one, 1)) == login._network((other, 1))) is same
    assert login._network(None) == ""


def test_who_asks_is_who_is_connected_whatever_a_header_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from uvicorn import Config

    for name in ("FORWARDED_ALLOW_IPS", "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    serving.set_environment("127.0.0.1")
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])

    config = Config(inner, log_config=None)
    config.load()
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"203.0.113.7")]}
    asyncio.run(config.loaded_app(scope, None, None))  # type: ignore[arg-type]
    assert seen == [("127.0.0.1", 1)]


def test_gradio_still_looks_at_passwords_at_one_door_only() -> None:
    from gradio import routes

    source = inspect.getsource(routes)
    assert source.count("app.auth[username]") == source.count("await app.auth(") == 1


# ---------------------------------------------------------------------------------- where it comes from


def test_the_flag_is_warned_of_the_file_comes_next_and_the_variable_is_inherited_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "login"
    file.write_bytes(b"\xef\xbb\xbfme:in a file\r\n")
    file.chmod(0o600)
    places = []
    for auth, path in (("me:flag", str(file)), (None, str(file)), (None, None)):
        monkeypatch.setenv("ONEGRPO_AUTH", "me:variable")
        places.append(login.chosen(auth, path))
        assert "ONEGRPO_AUTH" not in os.environ
    assert places == [("--auth", "me:flag"), (f"--auth-file {file}", "me:in a file"), ("ONEGRPO_AUTH", "me:variable")]
    said = capsys.readouterr().err
    assert "in ps: set ONEGRPO_AUTH" in said
    assert said.count("\n") == 1
    assert "me:" not in said
    assert login.chosen(None, None) is None
    monkeypatch.setenv("ONEGRPO_AUTH", "")
    assert login.chosen(None, None) is None
    file.chmod(0o644)
    login.chosen(None, str(file))
    assert f"chmod 600 {file}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"", "one line"),
        (b"\n", "one line"),
        (b"me:a\nme:b\n", "one line"),
        ("me:pass".encode("utf-16"), "one line"),
        ("me:비밀".encode("cp949"), "one line"),
        (b"me:" + b"x" * 5000, "one line"),
        (b"me\n", "needs a user and a password"),
        (b":only-a-password\n", "needs a user and a password"),
    ],
)
def test_a_file_without_a_password_is_refused_by_name_and_never_quoted(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "login"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(SpecError, match=said) as refused:
        serving.serve("127.0.0.1", 7860, None, str(file))
    assert f"--auth-file {file}" in str(refused.value)
    assert "me:b" not in str(refused.value)


def test_a_folder_for_a_file_and_two_passwords_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        login.chosen(None, str(tmp_path))
    names = (
        "preset",
        "resume",
        "set",
        "name",
        "checkpoint",
        "force",
        "headless",
        "dry_run",
        "list_presets",
        "queue",
        "recipe",
        "list_recipes",
    )
    given = argparse.Namespace(**dict.fromkeys(names), auth="a:b", auth_file="x")
    assert "--auth-file" in str(flags.conflict(given))
