"""Serve the page until Ctrl-C. The runs are processes of their own and go on without it.

By default only this machine can reach it; any other address needs a password. Nothing under
outputs/ is ever served as a file. gradio is imported inside `serve`, after its environment is set.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import sys
import threading
import time
import traceback
from typing import Any

from trainer import launch, text
from trainer.console.headless import Interrupts
from trainer.console.printing import put
from trainer.errors import Problem, RunError, SpecError
from trainer.machine import gpu
from trainer.machine.project import PROJECT
from trainer.run.rundir import outputs_dir
from trainer.ui import login

MOST_BODY = 20 * 2**20  # bytes of a request: what a browser sends back of the groups it shows is the largest
_POLL_S = 0.2
# How often Gradio's queue looks whether the page has asked for something. Its own 1 ms costs 6 % of a core for ever.
_QUEUE_POLL_S = 0.01


def serve(host: str, port: int, auth: str | None, auth_file: str | None = None) -> int:
    """Blocks until Ctrl-C or SIGTERM, then returns 0. Raises InputError when it cannot start."""
    check_port(port)
    access = check_access(host, login.chosen(auth, auth_file))
    _take_port(host, port)
    set_environment(host)
    with Interrupts() as pressed:  # before the seconds gradio needs: a Ctrl-C then counts too
        page = _launch(host, port, access)
        _say(host, port, access is not None)
        while not pressed.count and page.is_running:
            time.sleep(_POLL_S)
        page.close(verbose=False)
    put(text.here()("page.closed"))
    return launch.EXIT_FINISHED


def check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise SpecError(Problem("page.port_range", "--port", seen=port))


def check_access(host: str, given: tuple[str, str] | None) -> tuple[str, str] | None:
    """User and password, if any; given: as login.chosen. Raises SpecError when others could come in without."""
    if given is not None:
        return login.pair(*given)
    if is_loopback(host):
        return None
    raise SpecError(Problem("page.no_password", f"--host {host}", host=host, variable=login.VARIABLE))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def set_environment(host: str) -> None:
    """Before gradio is imported: its variables would silently override what the code says.

    GRADIO_SHARE=1 opens a public tunnel, GRADIO_ALLOWED_PATHS=/ serves the disk.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(launch.make_state_dir("page"))
    # Tries at the password are counted by address: who is connected, not who X-Forwarded-For says (uvicorn believes it
    # from this machine, where `ssh -L` ends too).
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    # Gradio asks its own address whether it is up; through a proxy that fails.
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        os.environ[name] = ",".join(filter(None, (known, "localhost", "127.0.0.1", "::1", host)))


def _take_port(host: str, port: int) -> None:
    """One clear line, not Gradio's traceback, when the port cannot be had."""
    address = host.strip("[]")
    try:
        family, kind, proto, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise RunError(Problem("page.host_unknown", f"--host {host}")) from error
    with socket.socket(family, kind, proto) as probe:
        if os.name != "nt":  # there it would allow a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            raise RunError(_port_problem(host, port, error)) from error


def _port_problem(host: str, port: int, error: OSError) -> Problem:
    if error.errno == errno.EADDRINUSE:
        return Problem("page.port_taken", port=port, instead=port + 1 if port < 65535 else 7860)
    if error.errno in (errno.EACCES, errno.EPERM):
        return Problem("page.port_root", port=port)
    return Problem("page.host_refused", f"--host {host}", said=error.strerror or str(error))


class BrowserLeft(logging.Filter):
    """Keeps a page of traceback out of the terminal when a browser was closed or reloaded.

    The stream in which Gradio 6.31 tells a session its news (routes.py, `sse_stream`) then finds the session cleared:
    a KeyError, or a 404 that comes too late to be an answer. Everything else is logged.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        while error is not None and not _is_of_a_stream(error):
            error = error.__cause__
        return error is None


def _is_of_a_stream(error: BaseException) -> bool:
    if not (isinstance(error, KeyError) or getattr(error, "status_code", None) == 404):
        return False
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)[-1:]] == ["sse_stream"]


def _middleware(host: str, port: int, locked: bool) -> list[Any]:
    """The outermost first."""
    from starlette.middleware import Middleware

    from trainer.ui.guard import Guard
    from trainer.ui.uploads import BodyLimit

    limits = [Middleware(login.LoginLimit)] if locked else []
    size = Middleware(BodyLimit, most=MOST_BODY)
    return [Middleware(Guard, host=host, port=port), *limits, size]


def take_plain_server() -> None:
    """The same server on every machine, whatever packages are there (the trackers bring both of these).

    uvicorn 0.54 (config.py) takes httptools and uvloop by itself where they are. Its httptools protocol keeps headers
    of any size, of anybody, before a guard or a password is asked; that of h11 ends a connection after 64 KB. Gradio
    (http_server.py, `start_server`) lets nobody choose.
    """
    from uvicorn import config

    config.HTTP_PROTOCOLS["auto"] = config.HTTP_PROTOCOLS["h11"]
    config.LOOP_FACTORIES["auto"] = config.LOOP_FACTORIES["asyncio"]


def _launch(host: str, port: int, access: tuple[str, str] | None) -> Any:
    from gradio.routes import templates

    from trainer.ui import exported, opening, page, uploads
    from trainer.ui.train import cards

    take_plain_server()
    opening.put_in(templates.env)
    logging.getLogger("uvicorn.error").addFilter(BrowserLeft())
    gpu.keep_open()  # each tick asks for its memory
    blocks = page.build()
    blocks.queue(max_size=64, default_concurrency_limit=8)
    blocks._queue.sleep_when_free = _QUEUE_POLL_S  # gradio 6.31: Queue.start_processing
    try:
        blocks.launch(
            server_name=_in_address(host),
            server_port=port,
            auth=access,
            auth_message=login.rule() if access else None,
            app_kwargs={
                "middleware": _middleware(host, port, access is not None),
                "routes": [*exported.routes(), *uploads.routes(with_code=is_loopback(host))],
            },
            prevent_thread_lock=True,
            # Else Gradio 6.31 asks its own page once more, and gives up with a traceback where the machine is too busy
            # to answer within 3 s.
            _frontend=False,
            quiet=True,
            share=False,
            show_error=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            strict_cors=True,
            allowed_paths=[],
            blocked_paths=[str(outputs_dir()), str(PROJECT)],
            footer_links=[],
            run_history=False,
            pwa=False,
            theme=page.theme(),
            css_paths=page.styles(),
            head=page.scripts(),
        )
    except OSError as error:  # the port was taken since we looked
        raise RunError(_port_problem(host, port, OSError(errno.EADDRINUSE, str(error)))) from error
    # All presets with their plans, half a second the first time: while the browser still reads its scripts.
    threading.Thread(target=cards.cards, daemon=True).start()
    return blocks


def _in_address(host: str) -> str:
    """As it stands in an address, where an IPv6 one has brackets; Gradio takes it so as well."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _say(host: str, port: int, locked: bool) -> None:
    shown = "localhost" if host in ("0.0.0.0", "::", "[::]") else host
    say = text.here()
    put(f"page  http://{_in_address(shown)}:{port}")  # programs look for this line: the same in every language
    put(say("page.runs_in", folder=outputs_dir()))
    if locked and not is_loopback(host):
        put(say("page.unencrypted", port=port), sys.stderr)
    put(say("page.how_to_close"))
