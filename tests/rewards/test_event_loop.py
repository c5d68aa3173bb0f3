"""trainer.rewards.event_loop: what an async function keeps at module level works from batch to batch."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from trainer.rewards.building import Recipe, make
from trainer.rewards.calls import Call
from trainer.rewards.contract import Failure, RewardFunction
from trainer.rewards.in_process import Here

OWN = """
import asyncio, sys

ONE_AT_A_TIME, LOCK, KEPT = asyncio.Semaphore(1), asyncio.Lock(), {}

async def each(one, completions):
    return await asyncio.gather(*[one(text) for text in completions])

async def semaphore(completions):
    async def one(text):
        async with ONE_AT_A_TIME:
            await asyncio.sleep(0.001)
            return 1 / (text != "bad")
    return await each(one, completions)

async def exits(completions):
    async def one(text):
        async with LOCK:
            await asyncio.sleep(0)
            if text == "bad":
                sys.exit(3)
            return 1.0
    return await each(one, completions)

async def hangs(completions):
    async with LOCK:
        await asyncio.sleep(3600 if "bad" in completions else 0)
        return [1.0] * len(completions)

async def cancels(completions):
    async with LOCK:
        if "bad" in completions:
            raise asyncio.CancelledError
        return [1.0] * len(completions)

async def connection(completions, port):
    if "open" not in KEPT:
        KEPT["open"] = await asyncio.open_connection("127.0.0.1", port)
    reader, writer = KEPT["open"]
    found = []
    for text in completions:
        writer.write(text.encode() + b"\\n")
        found.append(1 / ((await reader.readline()).strip() != b"bad"))
    return found

async def background(completions):
    async def count():
        while True:
            KEPT["ticks"] = KEPT.get("ticks", 0) + 1
            await asyncio.sleep(0.001)
    KEPT.setdefault("task", asyncio.create_task(count()))
    before = KEPT.get("ticks", 0)
    while KEPT.get("ticks", 0) < before + 3:
        await asyncio.sleep(0.001)
    return [1 / (text != "bad") for text in completions]

def runs_a_loop_of_its_own(completions):
    return asyncio.run(semaphore_of_a_call(completions))

async def semaphore_of_a_call(completions):
    await asyncio.sleep(0)
    return [1 / (text != "bad") for text in completions]

class Judge:
    async def __call__(self, completions):
        return await semaphore(completions)

judge = Judge()

class Awaitable:
    def __init__(self, completions):
        self.completions = completions
    def __await__(self):
        return semaphore(self.completions).__await__()
"""
NAMES = ["semaphore", "cancels", "connection", "background", "runs_a_loop_of_its_own", "judge", "Awaitable"]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that sends back what it gets, to one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            taken, _ = server.accept()
            with taken:
                while data := taken.recv(4096):
                    taken.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def ask(function: RewardFunction, texts: list[str]) -> list[Any]:
    return Here({"it": function}).run([Call("it", len(texts), {"completions": texts})])["it"].values


@pytest.mark.parametrize("name", NAMES)
def test_what_a_function_keeps_works_in_every_batch(own: Path, port: int, name: str) -> None:
    function = make(Recipe(name, name, str(own), {"port": port} if name == "connection" else {}))
    for _ in range(3):
        values = ask(function, ["a", "b", "bad", "c", "d"])
        assert isinstance(values.pop(2), Failure)
        assert values == [1.0] * 4


def test_a_task_that_exits_does_not_end_the_loop(own: Path) -> None:
    function = make(Recipe("exits", "exits", str(own)))
    for _ in range(2):
        with pytest.raises(SystemExit):  # the processes of the pool catch it
            ask(function, ["a", "bad", "b"])
        assert ask(function, ["a", "b", "c"]) == [1.0] * 3


def test_what_nobody_waits_for_any_more_gives_back_its_lock(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a coroutine hangs."""
    function = make(Recipe("hangs", "hangs", str(own)))
    result = Future.result
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Future, "result", lambda future, timeout=None: interrupt(result, future))
        ask(function, ["a", "bad"])
    assert ask(function, ["a", "b"]) == [1.0] * 2


def interrupt(result: Any, future: Any) -> Any:
    with contextlib.suppress(TimeoutError):
        return result(future, 0.05)
    raise KeyboardInterrupt
