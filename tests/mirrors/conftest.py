"""Runs with log.mirrors = ["wandb"], a worker without a model, and the networks they can meet: all on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.records import log_lines
from trainer import launch, mirrors
from trainer.machine import notes
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity
from trainer.run.events import EventWriter
from trainer.run.records import RunStartedEvent
from trainer.run.rundir import RunDir, outputs_dir
from trainer.spec import Log, RunSpec

KEY = "0123456789abcdef" * 3
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def own_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings, key or proxy of the machine; offline unless the test has a network."""
    for name in ("WANDB_MODE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens


@pytest.fixture
def mirrored(spec: RunSpec) -> RunDir:
    """A run that asks for the mirror."""
    plan: Any = {"optimizer_steps": 4}
    env = {"python": "3.11", "packages": {"trl": "1.14.2"}, "commit": "abc", "gpus": []}
    wished = spec.model_copy(update={"log": Log(mirrors=["wandb"])})
    return RunDir.create(outputs_dir(), "mirrored-1", wished, plan, env)


@dataclass
class Told:
    """What is known after a run."""

    rundir: RunDir
    exit_code: int | None
    events: list[dict[str, Any]]
    mirror: dict[str, Any]
    delay_s: float
    """From the mirror's start to the first step."""

    @property
    def alert(self) -> dict[str, Any]:
        (alert,) = [event for event in self.events if event["kind"] == "alert" and event["key"].startswith("mirror_")]
        return alert


def wait(condition: Callable[[], bool], seconds: float = WAIT_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def told(rundir: RunDir, handle: launch.WorkerHandle) -> Told:
    """Wait for the worker, then for its mirror."""
    wait(lambda: handle.poll() is not None)
    wait(lambda: not mirrors.at_work(rundir, handle.attempt))
    events = [event for event in log_lines(rundir.events) if event["attempt"] == handle.attempt]
    at = {event["kind"]: event["t"] for event in reversed(events)}
    delay_s = at.get("step", 0.0) - at["run_started"]
    return Told(rundir, handle.poll(), events, read_json(rundir.mirror) or {}, delay_s)


@pytest.fixture
def train(mirrored: RunDir, start: Callable[..., launch.WorkerHandle]) -> Callable[..., Told]:
    """train("finish"): the whole life of a worker of that character, and of its mirror."""

    def run(character: str = "finish") -> Told:
        return told(mirrored, start(mirrored, character))

    return run


@pytest.fixture
def make_events() -> Callable[[RunDir], EventWriter]:
    """The log of attempt 1 of this process, as its worker would write it."""

    def make(run: RunDir) -> EventWriter:
        events = EventWriter(run.events, 1)
        who: dict[str, Any] = {**Identity.mine().stored(), **notes.place(run.path)}
        events.emit(RunStartedEvent(**who, resumed_from_step=0))
        return events

    return make


class Server(ThreadingHTTPServer):
    """answer(query): (status, body), or None to say nothing more. seen: all it was asked."""

    daemon_threads = True

    def __init__(self, answer: Callable[[str, str], tuple[int, Any] | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.seen: list[str] = []
        self.silent = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        self.server.seen.append(f"{self.path} {body}")
        answer = self.server.answer(self.path, body)
        if answer is None:
            self.server.silent.wait(WAIT_S)
            return
        status, value = answer
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """serve(answer): a server that W&B is looked for at, with a key for it."""
    servers: list[Server] = []

    def begin(answer: Callable[[str, str], tuple[int, Any] | None]) -> Server:
        server = Server(answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        return server

    yield begin
    for server in servers:
        server.silent.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def deaf_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield


@pytest.fixture
def pretender(serve: Callable[..., Server]) -> Server:
    """As much of W&B as its own program asks for: a run can be begun, fed and finished."""

    def answer(path: str, body: str) -> tuple[int, Any]:
        if path != "/graphql":
            return 200, {}
        asked = json.loads(body)
        query, given = asked["query"], asked.get("variables") or {}
        if "upsertBucket" in query:
            project = {"id": "p", "name": "onegrpo", "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "b", "name": given["name"], "displayName": "n", "config": "{}", "project": project}
            return 200, {"data": {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0}, "inserted": True}}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{server.url}/upload/{name}"} for name in given["files"]]
            return 200, {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        return 200, {"data": {"viewer": {"id": "me", "entity": "me", "username": "me"}}}

    server = serve(answer)
    return server
