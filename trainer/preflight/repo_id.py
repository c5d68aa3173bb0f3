"""How model.name is written: an address where a Hub id or a folder should be, and a name too long to show."""

from __future__ import annotations

import os
import re

from trainer.errors import Problem
from trainer.machine.project import PROJECT

LONGEST = 80  # characters of a name in a message
_HEAD = 47
_LONGEST_ID = 96  # the Hub's own bound
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# The first two parts of the path are the id; one part is the id of an old model, as gpt2.
_HUB = re.compile(
    r"(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://)(?:models/)?(?P<id>[\w.-]+(?:/[\w.-]+)?)",
    re.IGNORECASE,
)
_NOT_MODELS = ("datasets/", "spaces/", "collections/", "papers/", "docs/", "blog/")


def short(name: str) -> str:
    """The name, without its middle when it is too long for a line: of a path the end says most."""
    return name if len(name) <= LONGEST else f"{name[:_HEAD]}...{name[_HEAD + 3 - LONGEST :]}"


def problem(name: str) -> Problem | None:
    """For a name that is the address of something; None for a Hub id and for a folder."""
    if os.path.isdir(PROJECT / name):
        return None
    found = _HUB.match(name)
    if found is None and not _SCHEME.match(name):
        return None
    model = found["id"].removesuffix(".git") if found else ""
    if model and len(model) <= _LONGEST_ID and not model.startswith(_NOT_MODELS):
        return Problem("preflight.address_of_model", "model.name", name=short(name), model=model)
    return Problem("preflight.address", "model.name", name=short(name))
