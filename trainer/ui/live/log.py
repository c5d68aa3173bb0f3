"""The end of a worker's log as text a page can show: bounded, without control characters. No gradio."""

from __future__ import annotations

import os
import re
from pathlib import Path

from trainer.machine.regular_files import open_file
from trainer.text import forms

MOST_LINES = 200
MOST_BYTES = 64 * 1024  # that are read
_MOST_WIDTH = 1000  # characters of a line
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # what a terminal would take for colours


def tail(path: Path, lines: int = MOST_LINES) -> list[str]:
    """The last lines; of a line that was written over (a progress bar) what stood there last. [] without a log."""
    try:
        with open_file(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_BYTES))
            text = file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    whole = text.split("\n")[1 if size > MOST_BYTES else 0 :]  # the first of a cut text is half a line
    shown = (_line(line) for line in whole[-4 * lines :])
    return [line for line in shown if line.strip()][-lines:]


def _line(raw: str) -> str:
    last = raw.rstrip("\r").rpartition("\r")[2]
    return forms.printable(_COLOUR.sub("", last).replace("\t", "    "))[:_MOST_WIDTH]
