"""The route that serves exports, in Gradio's own app: what it gives, what it refuses, and to whom."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from trainer.run.rundir import RunDir
from trainer.ui import exported


def app(auth: Any = None) -> Any:
    """Gradio's app of an empty page, with the route."""
    import gradio as gr
    from gradio.routes import App

    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.HTML("page")
    made = App.create_app(blocks, app_kwargs={"routes": exported.routes()})
    if auth is not None:
        made.auth = auth
        blocks.auth, blocks.auth_message = auth, None
    return made


class Client:
    """Asks the app as a browser does; keeps its cookies."""

    def __init__(self, made: Any) -> None:
        self.transport = httpx.ASGITransport(made)
        self.cookies = httpx.Cookies()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            address = "http://127.0.0.1"
            async with httpx.AsyncClient(transport=self.transport, base_url=address, cookies=self.cookies) as client:
                answer = await client.request(method, path, **options)
                self.cookies = client.cookies
                return answer

        return asyncio.run(once())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)


@pytest.fixture
def run(make_run: Callable[..., RunDir]) -> RunDir:
    run = make_run("tiny-1")
    folder = run.exports / "merged-2"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(3_000_000))
    (folder / ".hidden").write_text("no")
    (folder / "link").symlink_to(run.spec)
    return run


def test_a_file_of_an_export_is_given_as_an_attachment(run: RunDir) -> None:
    address = exported.address("tiny-1", "merged-2", "model.safetensors")
    client = Client(app())
    answer = client.get(address)
    assert answer.status_code == 200
    assert answer.content == (run.exports / "merged-2" / "model.safetensors").read_bytes()
    assert answer.headers["content-disposition"] == 'attachment; filename="model.safetensors"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.ask("HEAD", address).headers["content-length"] == "3000000"
    assert client.ask("POST", address).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/exports/tiny-1/merged-2/.hidden",
        "/exports/tiny-1/merged-2/link",
        "/exports/tiny-1/merged-2/nothing",
        "/exports/tiny-1/merged-2/..%2f..%2fspec.json",
        "/exports/tiny-1/merged-2/%2e%2e/%2e%2e/spec.json",
        "/exports/tiny-1/..%2f/spec.json",
        "/exports/tiny-1/%2e%2e/spec.json",
        "/exports/tiny-1/%2fetc/passwd",
        "/exports/%2e%2e/outputs/spec.json",
        "/exports/tiny-1%2f../merged-2/model.safetensors",
        "/exports/other-1/merged-2/model.safetensors",
        "/exports/tiny-1/merged-2/model.safetensors%00",
        "/exports/tiny-1/merged-2",
        "/exports/tiny-1/",
        "/exports//tiny-1/merged-2/model.safetensors",
    ],
)
def test_nothing_else_is_given(run: RunDir, path: str) -> None:
    answer = Client(app()).get(path)
    assert answer.status_code in (404, 405), answer.text[:200]
    assert "builtin/tiny-qwen3" not in answer.text


def test_a_run_that_is_a_link_is_not_followed(run: RunDir, tmp_path: Path) -> None:
    (run.path.parent / "linked").symlink_to(run.path)
    assert Client(app()).get("/exports/linked/merged-2/model.safetensors").status_code == 404


def test_with_a_password_only_who_logged_in_is_given_it(run: RunDir) -> None:
    made = app({"me": "a-long-password"})
    address = exported.address("tiny-1", "merged-2", "model.safetensors")
    client = Client(made)
    assert client.get(address).status_code == 401
    assert client.get(address, headers={"cookie": f"access-token-{made.cookie_id}=guessed"}).status_code == 401
    assert client.get(address, headers={"cookie": f"access-token-unsecure-{made.cookie_id}="}).status_code == 401
    done = client.ask("POST", "/login", data={"username": "me", "password": "a-long-password"})
    assert done.status_code == 200
    assert client.get(address).status_code == 200
    client.get("/logout")
    assert client.get(address).status_code == 401


def test_gradio_still_asks_for_a_login_as_the_route_does() -> None:
    from gradio import routes

    source = inspect.getsource(routes.App.create_app)
    for part in (
        'f"access-token-{app.cookie_id}"',
        'f"access-token-unsecure-{app.cookie_id}"',
        "return app.tokens.get(token)",
        "(app.auth is None and app.auth_dependency is None) or user is not None",
    ):
        assert part in source, part


def test_a_refusal_is_in_the_browsers_language() -> None:
    client = Client(app())
    assert client.get("/exports/none/merged-2/x.bin").text == "there is no such file of an export\n"
    korean = client.get("/exports/none/merged-2/x.bin", headers={"accept-language": "ko-KR,ko;q=0.9"})
    assert (korean.status_code, korean.text) == (404, "내보낸 파일 중에 그런 파일이 없습니다\n")
