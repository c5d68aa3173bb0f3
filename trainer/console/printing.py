"""The one way in and out of a terminal: every command says and reads here, whatever the console can show.

What its encoding does not have becomes `?`. A reader that leaves (`| head`) or a stream that is closed (`>&-`) ends
nothing: what a command was asked to do is done. Standard library only, for --help.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from typing import Any, TextIO

_unwritten: list[OSError] = []


def prepare() -> None:
    """Before the first word of a process. In place of a closed stream comes the null device: else the next file that
    is opened would get its number, and what libraries print."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the life of the process
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=errors)


def put(text: str = "", to: TextIO | None = None, end: str = "\n") -> None:
    """Write at once. to: standard output when left out. Raises nothing; what a full disk did not take is kept for
    `trouble`."""
    stream = sys.stdout if to is None else to
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write((text + end).encode(encoding, "replace").decode(encoding))
        stream.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):  # EINVAL: a closed pipe on Windows
            _unwritten.append(error)
        # Or what it still holds would be written, and fail, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def trouble() -> OSError | None:
    """Why something that was to be said could not be written."""
    return _unwritten.pop() if _unwritten else None


def read(prompt: str) -> str:
    """A line typed after that prompt. Raises EOFError at the end of the input. Where the console's encoding does not
    hold what was typed it is taken for UTF-8, which most terminals send."""
    typed = input(prompt)
    return typed.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class Parser(argparse.ArgumentParser):
    """One whose help and errors are said here."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            put(message, file or sys.stderr, end="")
