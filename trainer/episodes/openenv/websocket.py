"""A WebSocket of text messages, waited for: `websockets` on the one event loop of the process.

Its own client for waiting has a thread for each connection, and a batch has hundreds of episodes. The loop also answers
a server's pings while the model writes and nobody waits for a message: servers close a session that does not (uvicorn
asks every 20 s and waits 20 s).
"""

from __future__ import annotations

import contextlib
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode

from trainer.rewards import event_loop
from trainer.text import Message

MOST = 16 * 2**20
"""Bytes of a message: more is no answer to a model."""


class Broken(ConnectionError):
    """The connection is of no use any more. why: in words."""

    def __init__(self, why: Message) -> None:
        self.why = why
        super().__init__(str(why))


class Refused(Broken):
    """The server is there and speaks no WebSocket at this path."""


class WebSocket:
    """Raises OSError where the server cannot be reached, Refused where it answers something else."""

    def __init__(self, url: str, path: str, timeout_s: float) -> None:
        """url: http or https. timeout_s: until the connection stands."""
        self.timeout_s = timeout_s
        """Of every wait."""
        try:
            self._connection: ClientConnection = event_loop.finish(_connected(url, path, timeout_s))
        except InvalidStatus as error:
            raise Refused(Message("plain.text", text=f"HTTP {error.response.status_code}")) from error
        except WebSocketException as error:
            raise Refused(Message("episodes.server.no_websocket")) from error

    def ask(self, text: str) -> str:
        """The next message after this one. Raises Broken where the session is over, TimeoutError."""
        try:
            said: str = event_loop.finish(self._answered(text), self.timeout_s)
        except ConnectionClosed as error:
            raise Broken(_why(error)) from error
        return said

    def close(self) -> None:
        """Not waited for: whoever collects garbage may be the loop itself."""
        event_loop.begin(self._connection.close())

    async def _answered(self, text: str) -> str:
        with contextlib.suppress(ConnectionClosed):  # why is what the server said last, which is still to be read
            await self._connection.send(text)
        return (await self._connection.recv(decode=False)).decode("utf-8", "replace")


async def _connected(url: str, path: str, timeout_s: float) -> ClientConnection:
    address = "ws" + url.removeprefix("http").rstrip("/") + path
    # No proxy: the address is the one that was named. No compression: small messages, each waited for.
    options: dict[str, Any] = {"max_size": MOST, "compression": None, "proxy": None, "ping_interval": None}
    return await connect(address, open_timeout=timeout_s, close_timeout=1, **options)


def _why(error: ConnectionClosed) -> Message:
    if error.rcvd is not None:
        return Message("episodes.server.closed", code=error.rcvd.code)
    if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
        return Message("episodes.server.long", most=MOST)
    return Message("episodes.server.gone")
