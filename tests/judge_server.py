"""A judge for tests: a real HTTP server on this machine that answers as an OpenAI-compatible one does."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

KEY = "sk-secret-0123456789"
SHOWN = re.compile(r"^([A-Z])\n<(text-\w+)>\n(.*?)\n</\2>", re.MULTILINE | re.DOTALL)
Reply = tuple[int, dict[str, str], bytes]


def says(content: Any, status: int = 200, usage: Any = None, **headers: str) -> Reply:
    body = {"choices": [{"message": {"content": content}}]} | ({} if usage is None else {"usage": usage})
    return status, headers, json.dumps(body).encode()


def shown(question: str) -> dict[str, str]:
    """{letter: text} of what a judge of groups is shown, in the order it is shown in."""
    return {letter: text for letter, _, text in SHOWN.findall(question)}


def ranks(better: Callable[[str], float]) -> Callable[[str], Reply]:
    """A judge of groups that prefers texts of a higher value, equal ones being equal."""

    def reply(question: str) -> Reply:
        values = {letter: better(text) for letter, text in shown(question).items()}
        tiers = [[letter for letter in values if values[letter] == one] for one in sorted({*values.values()})[::-1]]
        return says(" > ".join(" = ".join(tier) for tier in tiers))

    return reply


class Endpoint(http.server.ThreadingHTTPServer):
    """Answers every request with what `reply` returns for its question; keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply: Callable[[str], Reply] = lambda question: says("5")
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.lock = threading.Lock()
        self.busy = self.most_busy = 0
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def questions(self) -> list[str]:
        return [request["messages"][0]["content"] for request in self.asked]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.append(self.headers["Authorization"])
            self.server.paths.append(self.path)
            self.server.busy += 1
            self.server.most_busy = max(self.server.most_busy, self.server.busy)
        status, headers, content = self.server.reply(body["messages"][0]["content"])
        with self.server.lock:
            self.server.busy -= 1
        try:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the judge has hung up
            pass

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
