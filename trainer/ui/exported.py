"""Serves the files of finished exports for downloading, and nothing else of outputs/.

GET /exports/{run}/{export}/{file}: a regular file that lies directly in outputs/<run>/exports/<export>/. Names are
checked, links are not followed, and who is not logged in gets 401 as everywhere on the page. The page's Guard stands
before it, as before every route.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from trainer.errors import RunError
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import preferred, words
from trainer.tryit import exporting

PREFIX = "/exports"
_CHUNK = 1 << 20


def address(run: str, folder: str, name: str) -> str:
    """Where a file of an export is served. Names are those of runs, exports and files: nothing to be escaped."""
    return f"{PREFIX}/{run}/{folder}/{name}"


def routes() -> list[Any]:
    """For Gradio's app when it is made: before its own, one of which takes every path of one part, and there from the
    first request on."""
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    def serve(request: Request) -> Response:
        say = words(preferred(request.headers.get("accept-language", "")))
        if not logged_in(request.app, request.cookies):
            return PlainTextResponse(f"{say('refused.login')}\n", 401)
        given = request.path_params
        found = _opened(given["run"], given["folder"], given["file"])
        if found is None:
            return PlainTextResponse(f"{say('refused.export')}\n", 404)
        file, size = found
        headers = {
            "content-disposition": f'attachment; filename="{given["file"]}"',
            "content-length": str(size),
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
        }
        return StreamingResponse(_read(file, size), 200, headers, "application/octet-stream")

    return [Route(f"{PREFIX}/{{run}}/{{folder}}/{{file}}", serve, methods=["GET"])]


def logged_in(app: Any, cookies: Any) -> bool:
    """As Gradio 6.31 asks (routes.py `get_current_user` and `login_check`); a test fails when that changes."""
    if app.auth is None and app.auth_dependency is None:
        return True
    if app.auth_dependency is not None:
        return False
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    token = next((cookies[name] for name in names if cookies.get(name)), None)
    return app.tokens.get(token) is not None


def _opened(run: str, folder: str, name: str) -> tuple[BinaryIO, int] | None:
    try:
        rundir = RunDir.open(outputs_dir(), run)
    except RunError:
        return None
    return exporting.opened(rundir, folder, name)


def _read(file: BinaryIO, size: int) -> Iterator[bytes]:
    """So many bytes, in pieces: a file that grows meanwhile must not be longer than was said."""
    with file:
        while size > 0 and (data := file.read(min(_CHUNK, size))):
            size -= len(data)
            yield data
