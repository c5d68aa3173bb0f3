"""One real server for all tests of this folder: `python app.py --port N` with a finished run."""

from __future__ import annotations

import functools
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import warm as warming
from tests.builders import finished, write_run

PROJECT = Path(__file__).resolve().parents[2]
START_S = 60.0


@dataclass
class Server:
    port: int
    outputs: Path
    process: subprocess.Popen[Any]

    def ask(
        self, method: str, path: str, body: str | bytes | None = None, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers. Headers may replace Host: ask("GET", "/", Host="evil.com")."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Host": f"127.0.0.1:{self.port}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            return answer.status, text, {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def call(self, name: str, *data: Any, **headers: str) -> list[Any]:
        """What a function of the page returns, as a browser would ask for it that has asked for nothing yet."""
        return self.call_as(uuid.uuid4().hex, name, *data, **headers)

    def call_as(self, session: str, name: str, *data: Any, **headers: str) -> list[Any]:
        """The same for the browser of that session: for each new one Gradio copies the whole page.

        What this one was told before, Gradio may leave out.
        """
        body, sent = json.dumps({"data": data, "session_hash": session}), {"Content_Type": "application/json"} | headers
        status, text, _ = self.ask("POST", f"/gradio_api/call/{name}", body, **sent)
        assert status == 200, text
        event = json.loads(text)["event_id"]
        status, text, _ = self.ask("GET", f"/gradio_api/call/{name}/{event}", **headers)
        kind, _, rest = text.rpartition("event: ")[2].partition("\n")
        assert (status, kind) == (200, "complete"), text
        found: list[Any] = json.loads(rest.removeprefix("data: "))
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(folder: Path, pages: Path | None = None, **environment: str) -> Server:
    """Waits until it answers; the caller ends it. pages: the socket of a process that holds Gradio, to be forked from.

    Without it `python app.py --port N` starts as it does for everybody.
    """
    port, outputs = free_port(), folder / "outputs"
    env = os.environ | {"ONEGRPO_OUTPUTS": str(outputs), "ONEGRPO_STATE": str(folder / "state")} | environment
    arguments = ["--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process: subprocess.Popen[Any]
        if pages is not None:
            process = warming.Forked(["app", *arguments], log.fileno(), PROJECT, env, pages)
        else:
            process = subprocess.Popen(
                warming.app(env, *arguments),
                cwd=PROJECT,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # as a terminal would: Ctrl-C is for it alone
            )
    server = Server(port, outputs, process)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "server.log").read_text()
        try:
            if server.ask("GET", "/")[0] == 200:
                return server
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise AssertionError((folder / "server.log").read_text())


def end_server(server: Server) -> int:
    """The exit code after a Ctrl-C."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGINT)
    try:
        return server.process.wait(20)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        raise


@functools.cache
def page() -> Any:
    """The page as this process would build it: its names, in the order of a tick's values."""
    from trainer.ui import server as serving

    serving.set_environment("127.0.0.1")
    from trainer.ui.page import Page

    return Page()


def look(server: Server, here: str, run: str = "", language: str = "en", **chosen: Any) -> dict[str, Any]:
    """What a browser that was told nothing yet is told when it turns to a tab; what was skipped is left out.

    chosen: values of the tab's inputs by the name of the attribute that holds the component; else their first value.
    """
    known = page()
    given = []
    for tab in known.tabs:
        names = {id(made): name for name, made in vars(tab).items()}
        given += [chosen.get(names.get(id(made), ""), made.value) for made in tab.inputs]
    values = server.call("turn", run, language, here, None, *given)
    told = dict(zip(known.names, values, strict=False))
    return {name: value for name, value in told.items() if not _is_skipped(value)}


def _is_skipped(value: Any) -> bool:
    """An update that changes nothing; Gradio adds empty properties to that of gr.HTML."""
    return isinstance(value, dict) and value.get("__type__") == "update" and not value.keys() - {"__type__", "props"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pages: Path | None) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    outputs = folder / "outputs"
    outputs.mkdir()
    write_run(outputs, "tiny-1", finished(), title="A <b>small</b> one")
    # What a careless shell may have set must not open anything.
    running = start_server(
        folder,
        pages,
        GRADIO_ALLOWED_PATHS="/",
        GRADIO_SHARE="1",
        GRADIO_MCP_SERVER="1",
        GRADIO_SERVER_NAME="0.0.0.0",
    )
    yield running
    end_server(running)
