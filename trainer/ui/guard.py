"""Lets only this page's own browser tabs talk to the server. An ASGI middleware.

Gradio 6.31 runs a function for a request from any web page whose name was pointed at this machine
(DNS rebinding: it even answers with that page as an allowed origin), stores uploads sent by other
pages, and may be framed by any page. So: Host must be an address of this server, Origin, if there,
the same as Host; otherwise 403. A name of this machine may come with any port (`ssh -L`, a container's): no DNS
server can point it here for another page, and a page at another port has another Origin. A page elsewhere may link to
this one and to nothing else: a mere GET such as /logout has effects. No form with files is taken (a TOML is read
in the browser, a file that is chosen has an address of its own: uploads.py). No third-party package.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from trainer.text import preferred, words

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD = frozenset({"0.0.0.0", "::", ""})

# Gradio's own scripts are inline and compile templates; everything else stays on this server, so
# that not even a mistake of ours lets a model's text load a picture from elsewhere.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


class Guard:
    """host and port: what the server listens on."""

    def __init__(self, app: App, host: str, port: int) -> None:
        self.app = app
        self.port = port
        host = host.lower().strip("[]")
        self.wildcard = host in WILDCARD
        self.names = LOOPBACK | {host}
        if self.wildcard:
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self.shown = "localhost" if self.wildcard or host in LOOPBACK else host

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        found: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            found.setdefault(name.lower(), []).append(value.decode("latin-1"))
        refused = self.refusal(found.get(b"host", []), found.get(b"origin", []))
        refused = refused or _from_elsewhere(scope, found) or _upload(scope, found)
        if refused:
            await self._refuse(scope, send, refused, found.get(b"accept-language", [""])[0])
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in HEADERS}
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in ours]
                message["headers"] = [*kept, *HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers)

    def refusal(self, hosts: list[str], origins: list[str]) -> str:
        """ "host" or "origin", whichever is wrong; "" when the request may pass."""
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return "host"
        for origin in origins:
            scheme, _, rest = origin.lower().partition("://")
            if scheme not in ("http", "https") or rest != hosts[0].lower():
                return "origin"
        return ""

    def _ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        if parts.netloc != host or "@" in host:
            return False
        if name in LOOPBACK:
            return True
        return port == self.port and (name in self.names or (self.wildcard and _is_address(name)))

    async def _refuse(self, scope: Message, send: Send, why: str, language: str) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        say = words(preferred(language))
        text = say(f"refused.{why}", host=self.shown, port=self.port)
        headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
        status = 413 if why == "upload" else 403
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": f"{text}\n".encode()})


def _from_elsewhere(scope: Message, found: dict[bytes, list[str]]) -> str:
    """ "origin" for what another page asks for, as browsers tell it of https and of this machine (elsewhere on plain
    http they do not). Another port of this machine is the same site to them, and another page all the same.
    """
    if set(found.get(b"sec-fetch-site", [])) <= {"same-origin", "none"}:
        return ""
    way = [found.get(name, [""])[0] for name in (b"sec-fetch-mode", b"sec-fetch-dest")]
    is_link = scope.get("method") in ("GET", "HEAD") and scope["path"] == "/" and way == ["navigate", "document"]
    return "" if is_link else "origin"


def _upload(scope: Message, found: dict[bytes, list[str]]) -> str:
    """ "upload" for a form that may hold files; that of the login page does not."""
    forms = [kind for kind in found.get(b"content-type", []) if kind.strip().lower().startswith("multipart/")]
    return "upload" if forms and scope["path"].rstrip("/") != "/login" else ""


def _is_address(name: str) -> bool:
    """A numeric address cannot be pointed elsewhere by a DNS server, a name can."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
