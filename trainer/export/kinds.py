"""The kinds of export there are, and what one that was made is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.text import Message

Say = Callable[[Message], None]
"""Told one line at a time what happens: a Message, or text that is nobody's (a library's, a file's)."""

KINDS = ("adapter", "merged", "gguf", "hub")


# Not float16: activations of models made for bfloat16 overflow in it, and logits computed in float32 do not show it.
DTYPES = ("bfloat16", "float32")


FACTS = "export.json"  # in every export: where it came from and what was verified


# Options of `export` that mean something to some kinds only, and these kinds; the others are of every kind.
BELONGS = {
    "dtype": ("merged", "hub"),
    "quants": ("gguf",),
    "repo": ("hub",),
    "private": ("hub",),
    "upload": ("hub",),
}


@dataclass(frozen=True)
class Exported:
    """What was made. facts: the content of its export.json; url: the commit on the Hub, for kind hub."""

    path: Path
    step: int
    facts: dict[str, Any] = field(default_factory=dict)
    url: str | None = None
