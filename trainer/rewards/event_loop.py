"""One event loop for the life of the process, on which `async` reward functions run.

A client, semaphore or lock at module level belongs to the loop that first used it: with a loop a call it would break in
the second batch. The loop has a thread of its own, as in TRL 1.14.2 (trl/trainer/utils.py,
`start_event_loop_in_daemon`): what a client does between two batches goes on, and a function that calls asyncio.run
itself still can.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from typing import Any

_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""{process: its loop}. A fork has the parent's loop without the thread that runs it, so it gets its own."""
_starting = threading.Lock()


def begin(awaitable: Awaitable[Any]) -> Future[tuple[Any, BaseException | None]]:
    """Let it run on the loop."""
    return asyncio.run_coroutine_threadsafe(_outcome(awaitable), _loop())


def finish(awaitable: Awaitable[Any], timeout_s: float | None = None) -> Any:
    """Wait for it on the loop; returns what it returns and raises what it raises, TimeoutError where it takes longer.
    Not from the loop's own thread."""
    future = begin(awaitable)
    try:
        value, ending = future.result(timeout_s)
    except BaseException:  # Ctrl-C of the one who waits: what nobody waits for must not go on holding a semaphore
        future.cancel()
        raise
    if ending is not None:
        raise ending
    return value


async def _outcome(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """asyncio lets these two end the loop instead of telling whoever waits for the task."""
    try:
        return await awaitable, None
    except (SystemExit, KeyboardInterrupt) as ending:
        return None, ending


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=_serve, args=(loop,), name="async rewards", daemon=True).start()
        return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        # A sys.exit() in a task that the function has started ends run_forever: the loop must outlive it.
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()
