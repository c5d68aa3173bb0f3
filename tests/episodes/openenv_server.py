"""A small OpenEnv server: real sockets, the messages of openenv-core 0.3.0, a game for each session.

Written from openenv/core/env_server (types.py, http_server.py); openenv-core itself needs FastMCP and more than the
tests install. The code it is a stand-in for was played against by hand: docs/episodes.md.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import random
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from typing import Any

NUMBER: dict[str, Any] = {"type": "integer", "title": "Number"}
ACTION: dict[str, Any] = {
    "description": "Guess the number.",
    "properties": {"metadata": {"type": "object"}, "kind": {"const": "guess"}, "number": NUMBER},
    "required": ["kind", "number"],
}
TOOL: dict[str, Any] = {
    "name": "guess-it",
    "description": "Guess the number.\n\nArgs:\n    number: Your guess.\n\nReturns:\n    How it was.",
    "inputSchema": {
        "properties": {"number": NUMBER, "loud": {"type": "boolean", "default": False}},
        "required": ["number"],
    },
}


MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3: shows that the key was read."""


class Server(socketserver.ThreadingTCPServer):
    """tools: of MCP, None for a server without. action: schema of an action. most: sessions at once.

    sessions, seen: how many there are now, and every message that came.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self, tools: list[Any] | None = None, action: Any = None, most: int = 100) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.tools, self.action, self.most = tools, ACTION if action is None else action, most
        self.sessions, self.seen, self.pongs = 0, list[Any](), 0
        self.open: list[_Connection] = []
        self.lock = threading.Lock()
        self.stuck = threading.Event()
        """A reset waits until it is set; it is from the beginning."""
        self.stuck.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def serving(**options: Any) -> Iterator[Server]:
    with Server(**options) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Connection(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        path = self.rfile.readline().decode().split(" ")[1]
        fields = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(": ")
            fields[name.lower()] = value
        if path == "/schema":
            body = json.dumps({"action": self.server.action}).encode()
            self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        elif path != "/ws":
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        else:
            digest = hashlib.sha1((fields["sec-websocket-key"] + MAGIC).encode()).digest()
            accept = base64.b64encode(digest).decode()
            head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            self.wfile.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            self._session()

    def _session(self) -> None:
        with self.server.lock:
            is_full = self.server.sessions >= self.server.most
            self.server.sessions += 1
        try:
            if is_full:
                self._say("error", {"message": "Server at capacity", "code": "CAPACITY_REACHED"})
                return
            self.server.open.append(self)
            self.ping()
            while (text := self._read()) is not None:
                message = json.loads(text)
                self.server.seen.append(message)
                self._answer(message)
        finally:
            with self.server.lock:
                self.server.sessions -= 1

    def ping(self) -> None:
        """It must be answered."""
        self.wfile.write(b"\x89\x02hi")

    def _answer(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["type"] == "reset":
            self.server.stuck.wait()
            self.number = random.Random(data["seed"]).randint(1, 3)
            self._say("observation", {"observation": {"hint": "1 to 3", "metadata": {}}, "reward": 0.25, "done": False})
        elif message["type"] == "mcp":
            found = {"error": {"code": -32601, "message": "Method not found"}}
            self._say("mcp", {"result": {"tools": self.server.tools}} if self.server.tools is not None else found)
        elif self.server.tools is not None:
            self._called(data)
        else:
            self._guessed(data)

    def _called(self, data: dict[str, Any]) -> None:
        given = data["arguments"]
        if not isinstance(given["number"], int) or given["number"] == 99:
            error = {"error_type": "execution_error", "message": "far too high"}
            observation: dict[str, Any] = {"tool_name": data["tool_name"], "result": None, "error": error}
        else:
            said = {"content": [{"type": "text", "text": self._said(given["number"])}], "data": None}
            observation = {"tool_name": data["tool_name"], "result": said, "error": None}
        self._say("observation", {"observation": observation, "reward": None, "done": False})

    def _guessed(self, data: dict[str, Any]) -> None:
        number = data["number"]
        if not isinstance(number, int):
            errors = [{"loc": ["number"], "msg": "must be a whole number"}]
            self._say("error", {"message": "Invalid message", "code": "VALIDATION_ERROR", "errors": errors})
        elif number == 77:
            self.connection.shutdown(socket.SHUT_RDWR)
        elif number == 66:
            self._say("observation", {"observation": {}, "reward": "much", "done": False})
        elif number == 67:
            self._say("observation", {"observation": {}, "reward": 10**400, "done": False})
        elif number == 68:
            error = {"message": None, "code": "VALIDATION_ERROR", "errors": [{"loc": "number", "msg": "no"}, 5]}
            self._say("error", error)
        elif number == 69:
            self._say("nothing", {})
        elif number == 88:
            self._say("error", {"message": "no more sessions", "code": "SESSION_ERROR"})
        else:
            right = number == self.number
            observation = {"said": self._said(number), "left": [1] if right else []}
            self._say("observation", {"observation": observation, "reward": float(right), "done": right})

    def _said(self, number: int) -> str:
        return "right" if number == self.number else "higher" if number < self.number else "lower"

    def _say(self, kind: str, data: dict[str, Any]) -> None:
        """In two frames, as a server may."""
        payload = json.dumps({"type": kind, "data": data}).encode()
        for first, part in ((0x01, payload[:5]), (0x80, payload[5:])):
            size = bytes([len(part)]) if len(part) < 126 else struct.pack("!BH", 126, len(part))
            self.wfile.write(bytes([first]) + size + part)

    def _read(self) -> str | None:
        """The next text; None when the client has left."""
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 0x0F == 8:
                return None
            size = head[1] & 0x7F
            if size >= 126:
                size = int.from_bytes(self.rfile.read(2 if size == 126 else 8), "big")
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[place % 4] for place, byte in enumerate(self.rfile.read(size)))
            if head[0] & 0x0F == 10:
                assert text == b"hi"
                self.server.pongs += 1
            else:
                return text.decode()
