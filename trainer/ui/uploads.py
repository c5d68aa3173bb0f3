"""Keeps a file that somebody chose on the page: rows, or rewards in Python. Nothing else is taken from a browser.

POST /files?name=NAME&lang=CODE with the bytes as they are. No form: those stay refused (guard.py), and a page elsewhere
cannot send this type without asking first. Answers {"path": PATH} or {"problem": TEXT}. The file lies in the state
folder below a hash of its contents, so that the same file again is no other one, until a run takes a copy of it
(trainer/run/kept_files.py); what is kept of them is bounded (chosen_files.py). The page's Guard stands before it, as
before every route.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from trainer import launch
from trainer.data.files import SUFFIXES
from trainer.errors import Problem, SpecError, TrainerError
from trainer.machine.folders import make_private
from trainer.text import languages, preferred, words
from trainer.ui import chosen_files
from trainer.ui.exported import logged_in

ADDRESS = "/files"
TYPE = "application/octet-stream"
MOST_FILE, MOST_CODE, MOST_ALL = 512 * 2**20, 2**20, 4 * 2**30  # bytes of rows, of a reward file, of all that is kept
CODE = ".py"
_STALE_S = 3600  # of a draft whose browser went away with its server
_STEM = 60  # characters: a name has at most 255 bytes


def name_of(given: str) -> str:
    """A file name without folders and without characters that mean something elsewhere. Raises SpecError for a kind of
    file that is not taken."""
    base = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    clean = "".join(one if unicodedata.category(one)[0] in "LMN" or one in "._- " else "_" for one in base)
    stem, suffix = os.path.splitext(clean.strip(" ."))
    if suffix.lower() not in (*SUFFIXES, CODE):
        raise SpecError(Problem("page.file_kind", name=base[:80], known=[*SUFFIXES, CODE]))
    return (stem.strip(" .")[:_STEM] or "rows") + suffix.lower()


async def keep(given: str, pieces: AsyncIterator[bytes], with_code: bool) -> Path:
    """Write what a browser sends and say where it lies. Raises SpecError: not taken, empty, or no room for it."""
    name = name_of(given)
    if name.endswith(CODE) and not with_code:
        raise SpecError(Problem("page.file_code", name=name))
    folder = launch.make_state_dir(launch.CHOSEN)
    _sweep(folder)
    most = MOST_CODE if name.endswith(CODE) else MOST_FILE
    draft, digest, size = folder / f".{secrets.token_hex(8)}", hashlib.sha256(), 0
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            async for piece in pieces:
                size += len(piece)
                if size > most:
                    raise SpecError(Problem("page.file_large", name=name, most=most // 2**20))
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        if not size:
            raise SpecError(Problem("page.file_empty", name=name))
        place = folder / digest.hexdigest()[:16] / name
        if place.exists():
            os.utime(place.parent)
            return place
        if not chosen_files.make_room(folder, MOST_ALL):
            days = round(chosen_files.KEPT_S / 86_400)
            raise SpecError(Problem("page.files_full", most=MOST_ALL // 2**30, folder=str(folder), days=days))
        make_private(place.parent, named=False)
        os.replace(draft, place)
        return place
    except OSError as error:
        raise SpecError(Problem("page.file_unkept", name=name, said=error.strerror or str(error))) from error
    finally:
        draft.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    for each in folder.glob(".*"):
        if each.is_file() and each.stat().st_mtime < time.time() - _STALE_S:
            each.unlink(missing_ok=True)


class BodyLimit:
    """An ASGI middleware: how large a request may be, which a file may exceed at its own address."""

    def __init__(self, app: Any, most: int) -> None:
        from starlette.middleware.body_limit import RequestBodyLimitMiddleware

        self._usual = RequestBodyLimitMiddleware(app, max_body_size=most)
        self._files = RequestBodyLimitMiddleware(app, max_body_size=MOST_FILE + 1)  # `keep` refuses it in words

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_file = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == ADDRESS
        await (self._files if is_file else self._usual)(scope, receive, send)


def routes(with_code: bool) -> list[Any]:
    """For Gradio's app when it is made, so that they stand before its own. with_code: rewards in Python are taken too.
    Whoever can send one runs it: not where others can reach the page."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def take(request: Request) -> Response:
        asked = request.query_params.get("lang", "")
        say = words(asked if asked in languages() else preferred(request.headers.get("accept-language", "")))
        if not logged_in(request.app, request.cookies):
            return JSONResponse({"problem": say("refused.login")}, 401)
        if request.headers.get("content-type") != TYPE:
            return JSONResponse({"problem": say("refused.upload")}, 415)
        try:
            path = await keep(request.query_params.get("name", ""), request.stream(), with_code)
        except TrainerError as error:
            return JSONResponse({"problem": error.problems[0].said(say).what}, 422)
        return JSONResponse({"path": str(path)})

    return [Route(ADDRESS, take, methods=["POST"])]
