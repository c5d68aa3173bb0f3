"""A WebSocket of text messages, the client's end: RFC 6455 without extensions. Imports no third-party package."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
from urllib.parse import urlsplit

from trainer.text import Message

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3: what a server must have read of our key."""
MOST = 16 * 2**20
"""Bytes of a message: more is no answer to a model."""
MOST_HEAD = 64 * 2**10
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


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

    def patient(self, timeout_s: float) -> None:
        """Of every wait from now on."""
        self._socket.settimeout(timeout_s)

    def send(self, text: str) -> None:
        self._write(TEXT, text.encode())

    def receive(self) -> str:
        """The next message. Raises OSError, Broken where the server has closed."""
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


def _refuse_long(size: int) -> None:
    if size > MOST:
        raise Broken(Message("episodes.server.long", count=size, most=MOST))
