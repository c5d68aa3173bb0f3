"""A WebSocket of text messages, the client's end: RFC 6455 without extensions. Imports no third-party package.

While the model writes, nobody waits for a message for minutes. Servers close a session whose pings are not answered
(uvicorn asks every 20 s and waits 20 s), so a thread of this process answers those of all connections.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import threading
import time
import weakref
from urllib.parse import urlsplit

from trainer.text import Message

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3: what a server must have read of our key."""
MOST = 16 * 2**20
"""Bytes of a message: more is no answer to a model."""
MOST_HEAD = 64 * 2**10
ATTEND_S = 5.0
"""Between two looks at what came while nobody waited."""
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PINGED = bytes([0x80 | PING])
"""How a ping begins."""


class Broken(ConnectionError):
    """The connection is of no use any more. why: in words."""

    def __init__(self, why: Message) -> None:
        self.why = why
        super().__init__(str(why))


class Refused(Broken):
    """The server is there and speaks no WebSocket at this path."""


class WebSocket:
    """Raises OSError where the server cannot be reached or a connection is lost, Refused where it answers something
    else."""

    def __init__(self, url: str, path: str, timeout_s: float) -> None:
        """url: http or https. timeout_s: of every wait, for the connection and for a message."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host = parts.hostname or ""
        self._socket: socket.socket = socket.create_connection((host, parts.port or (443 if secure else 80)), timeout_s)
        try:
            if secure:
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=host)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # small messages, each waited for
            self._read = b""
            self._shake_hands(parts.netloc, parts.path.rstrip("/") + path)
        except BaseException:
            self._socket.close()
            raise
        self._in_use = threading.Lock()
        _keep(self)

    def patient(self, timeout_s: float) -> None:
        """Of every wait from now on."""
        self._socket.settimeout(timeout_s)

    def ask(self, text: str) -> str:
        """The next message after this one. Raises OSError, Broken where the server has closed."""
        with self._in_use:
            self._write(TEXT, text.encode())
            return self._receive()

    def attend(self) -> None:
        """Answer the pings that came while nobody waited for a message. What is lost, the next `ask` finds out."""
        if not self._in_use.acquire(blocking=False):
            return  # whoever waits answers them
        try:
            with contextlib.suppress(OSError):
                patience = self._socket.gettimeout()
                self._socket.settimeout(0.0)
                try:
                    with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                        while len(self._read) <= MOST:
                            self._more()
                finally:
                    self._socket.settimeout(patience)
                while self._read[:1] == PINGED and len(self._read) >= 2 and len(self._read) >= 2 + self._read[1]:
                    self._write(PONG, self._frame()[2])
        finally:
            self._in_use.release()

    def _receive(self) -> str:
        message = b""
        while True:
            last, kind, payload = self._frame()
            if kind == PING:
                self._write(PONG, payload)
            elif kind == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Broken(Message("episodes.server.closed", code=code))
            elif kind in (CONTINUED, TEXT, BINARY):
                message += payload
                _refuse_long(len(message))
                if last:
                    return message.decode("utf-8", "replace")

    def close(self) -> None:
        with self._in_use:
            with contextlib.suppress(OSError):
                self._write(CLOSE, struct.pack("!H", 1000))
            with contextlib.suppress(OSError):
                self._socket.close()

    def _shake_hands(self, host: str, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        self._socket.sendall("\r\n".join(lines).encode("ascii"))
        while b"\r\n\r\n" not in self._read:
            self._more()
            if len(self._read) > MOST_HEAD:
                raise Refused(Message("episodes.server.endless"))
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        found = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
        if status.split()[1:2] != ["101"]:
            raise Refused(Message("plain.text", text=status[:100]))
        wanted = base64.b64encode(hashlib.sha1(f"{key}{MAGIC}".encode(), usedforsecurity=False).digest()).decode()
        if found.get("sec-websocket-accept") != wanted:
            raise Refused(Message("episodes.server.no_websocket"))

    def _write(self, kind: int, payload: bytes) -> None:
        size, mask = len(payload), os.urandom(4)
        length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
        if size >= 2**16:
            length = struct.pack("!BQ", 0x80 | 127, size)
        stretched = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")
        self._socket.sendall(bytes([0x80 | kind]) + length + mask + masked)

    def _frame(self) -> tuple[bool, int, bytes]:
        """(last of its message, kind, payload)"""
        first, second = self._take(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        _refuse_long(size)
        mask = self._take(4) if second & 0x80 else b""
        payload = self._take(size)
        if mask:  # no server should
            payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        return bool(first & 0x80), first & 0x0F, payload

    def _take(self, count: int) -> bytes:
        while len(self._read) < count:
            self._more()
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    def _more(self) -> None:
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise Broken(Message("episodes.server.gone"))
        self._read += piece


_there: weakref.WeakSet[WebSocket] = weakref.WeakSet()
_changing = threading.RLock()  # the collector may end a connection in the middle of making another one
_attending: list[threading.Thread] = []


def _keep(connection: WebSocket) -> None:
    """From now on its pings are answered."""
    with _changing:
        _there.add(connection)
        if not _attending:
            _attending.append(threading.Thread(target=_attend, name="pings", daemon=True))
            _attending[0].start()


def _attend() -> None:
    while True:
        time.sleep(ATTEND_S)
        with _changing:
            there = list(_there)
        while there:
            there.pop().attend()


def _refuse_long(size: int) -> None:
    if size > MOST:
        raise Broken(Message("episodes.server.long", count=size, most=MOST))
