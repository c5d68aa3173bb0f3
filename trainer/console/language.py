"""The language of the console: what --lang says, else that of the terminal (trainer.text.here)."""

from __future__ import annotations

import os
import sys

from trainer import text
from trainer.console.printing import put
from trainer.errors import InputError, Problem
from trainer.text import Message, forms


def choose(named: str | None) -> None:
    """Speak the language of --lang, here and in every process that is started from here; None changes nothing.

    Raises InputError for a language without words.
    """
    if named is None:
        return
    if named not in text.languages():
        raise InputError(Problem("console.no_language", "--lang", seen=named, known=text.languages()))
    os.environ[text.LANGUAGE_VARIABLE] = named


def note(what: Message) -> None:
    """Progress, to stderr: stdout has the result alone. Without control characters."""
    put(forms.printable(text.here().said(what)), sys.stderr)
