"""A WebSocket of text messages, waited for: `websockets` on the one event loop of the process.

Its own client for waiting has a thread for each connection, and a batch has hundreds of episodes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from trainer.rewards import event_loop

MOST = 16 * 2**20
"""Bytes of a message: more is no answer to a model."""


class Refused(ConnectionError):
    """The server is there and speaks no WebSocket at this path; `str()` is what it did."""


class WebSocket:
    """Raises OSError where the server cannot be reached, Refused where it answers something else."""

    def __init__(self, url: str, path: str, timeout_s: float) -> None:
        """url: http or https. timeout_s: until the connection stands."""
        self.timeout_s = timeout_s
        """Of every wait."""
        try:
            self._connection: ClientConnection = event_loop.finish(_connected(url, path, timeout_s))
        except WebSocketException as error:
            raise Refused(str(error)) from error

    def send(self, text: str) -> None:
        with contextlib.suppress(ConnectionError):  # why the server has closed is what it said last, still to be read
            self._wait(self._connection.send(text))

    def receive(self) -> str:
        """The next message. Raises ConnectionError where the session is over, TimeoutError."""
        said = self._wait(self._connection.recv(decode=False))
        return bytes(said).decode("utf-8", "replace")

    def close(self) -> None:
        """Not waited for: whoever collects garbage may be the loop itself."""
        event_loop.begin(self._connection.close())

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return event_loop.finish(work, self.timeout_s)
        except ConnectionClosed as error:
            raise ConnectionError(f"the session was closed: {error}") from error


async def _connected(url: str, path: str, timeout_s: float) -> ClientConnection:
    address = "ws" + url.removeprefix("http").rstrip("/") + path
    # No proxy: the address is the one that was named. No compression: small messages, each waited for.
    return await connect(
        address,
        open_timeout=timeout_s,
        close_timeout=1,
        ping_interval=None,
        max_size=MOST,
        compression=None,
        proxy=None,
    )
