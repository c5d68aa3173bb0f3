"""Where the project's files are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
"""The folder that holds app.py, trainer/ and presets/."""

OUTPUTS_VARIABLE, STATE_VARIABLE, CACHE_VARIABLE = "ONEGRPO_OUTPUTS", "ONEGRPO_STATE", "ONEGRPO_CACHE"
"""Variables in which people name folders."""


def in_full(path: str) -> Path:
    """A path as a person types it: ~ is the home folder, what is relative lies where the command was started."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def named_folder(variable: str) -> Path | None:
    named = os.environ.get(variable)
    return in_full(named) if named else None


def cache_dir() -> Path:
    """Where models that were made or fetched here are kept: $ONEGRPO_CACHE, else .cache/ of the project."""
    return (named_folder(CACHE_VARIABLE) or PROJECT / ".cache").resolve()


def in_full_everywhere(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that starts in another folder: it must find the same ones."""
    named = {name: environment.get(name) for name in (OUTPUTS_VARIABLE, STATE_VARIABLE, CACHE_VARIABLE)}
    return {**environment, **{name: str(in_full(path)) for name, path in named.items() if path}}
