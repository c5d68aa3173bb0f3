"""Who may log in, and how often somebody may try. Gradio asks for the password and compares it.

The password comes from ONEGRPO_AUTH or from a file; that of `--auth` can be read by every user of the machine, in `ps`.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import time
from pathlib import Path
from typing import Any

from trainer.console.printing import put
from trainer.errors import Problem, SpecError
from trainer.machine.folders import is_open
from trainer.text import here, languages, preferred, words

VARIABLE = "ONEGRPO_AUTH"
MOST_BYTES = 4096  # of a file with a password
MOST_WRONG = 10  # passwords from one address within WINDOW_S
WINDOW_S = 600.0


def chosen(auth: str | None, file: str | None) -> tuple[str, str] | None:
    """(place, USER:PASSWORD) of --auth, else --auth-file, else ONEGRPO_AUTH, which no process started here inherits.

    Says on stderr where others can read it. Raises SpecError for a file that is not one line of text.
    """
    variable = os.environ.pop(VARIABLE, "")
    if auth is not None:
        put(here()("page.auth_in_ps", variable=VARIABLE), sys.stderr)
        return "--auth", auth
    if file is not None:
        return f"--auth-file {file}", _read(Path(os.path.expanduser(file)))
    return (VARIABLE, variable) if variable else None


def _read(file: Path) -> str:
    place = f"--auth-file {file}"
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise SpecError(Problem("page.auth_file_closed", place, said=said)) from error
    try:
        text = data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = "\0"
    if len(data) > MOST_BYTES or not text or any(end in text for end in "\0\n\r"):
        raise SpecError(Problem("page.auth_file_lines", place, most=MOST_BYTES))
    if file.is_file() and is_open(file):  # not a pipe
        put(here()("page.auth_file_open", file=file), sys.stderr)
    return text


def pair(place: str, auth: str) -> tuple[str, str]:
    """User and password. Raises SpecError where one of them is missing."""
    user, colon, password = auth.partition(":")
    try:
        auth.encode()  # what the terminal gave in another encoding could never be typed into the page
    except UnicodeEncodeError:
        password = ""
    if not (colon and user.strip() and password):
        raise SpecError(Problem("page.no_login", place, variable=VARIABLE))
    return user.strip(), password  # Gradio strips the user's name as well


def rule() -> str:
    """For the form that asks, in every language: it cannot say why a try is refused."""
    return "<br>".join(words(code)("page.tries", count=MOST_WRONG, wait=WINDOW_S) for code in languages())


class LoginLimit:
    """ASGI middleware: at most MOST_WRONG wrong passwords from one address within WINDOW_S; then 429.

    A try counts from the moment it comes in until its password is found right: of tries at the same moment no more
    come through. Who has logged in already is not touched.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.tries: dict[str, list[float]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].rstrip("/") != "/login":
            await self.app(scope, receive, send)
            return
        now = time.monotonic()
        self._forget(now - WINDOW_S)
        mine = self.tries.setdefault(_network(scope.get("client")), [])
        if len(mine) >= MOST_WRONG:
            await _too_many(mine[0] + WINDOW_S - now)(scope, receive, send)
            return
        mine.append(now)

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200 and now in mine:
                mine.remove(now)
            await send(message)

        await self.app(scope, receive, watched)

    def _forget(self, until: float) -> None:
        for address, tries in list(self.tries.items()):
            tries[:] = [made for made in tries if made > until]
            if not tries:
                del self.tries[address]


def _network(client: Any) -> str:
    """Whose tries count together: an address; of IPv6 the 64 bits that a network gives to one machine."""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except (TypeError, ValueError):  # a socket without addresses
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def _too_many(wait_s: float) -> Any:
    from starlette.responses import PlainTextResponse

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        accepted = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
        text = words(preferred(accepted))("refused.tries", count=MOST_WRONG, wait=wait_s)
        headers = {"retry-after": str(int(wait_s) + 1)}
        await PlainTextResponse(f"{text}\n", 429, headers)(scope, receive, send)

    return answer
