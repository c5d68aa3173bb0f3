"""A terminal, or the pipe in its place, on which something is followed."""

from __future__ import annotations

import os
import shutil
from typing import TextIO

from trainer.console import printing
from trainer.text import forms
from trainer.text.layout import cut


class Screen:
    """Lines that stay and, on a terminal, one line below them that is redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status = ""
        self.terminal = stream.isatty() and os.environ.get("TERM") != "dumb"

    def line(self, text: str) -> None:
        """A line that stays, above the status."""
        erase = "\r\x1b[K" if self._status else ""
        self._write(f"{erase}{forms.printable(text)}\n{self._status}")

    def status(self, text: str) -> None:
        """Replace the last line of a terminal, cut to its width; nothing in a pipe."""
        columns = shutil.get_terminal_size().columns - 1
        text = cut(forms.printable(text), columns) if self.terminal else ""
        if text != self._status:
            self._status = text
            self._write(f"\r\x1b[K{text}")

    def _write(self, text: str) -> None:
        printing.put(text, self._stream, end="")  # one write a change: nothing flickers
