"""Flags of app.py that make no sense together."""

from __future__ import annotations

from argparse import Namespace

from trainer import text
from trainer.spec import files


def conflict(given: Namespace) -> str | None:
    """What is wrong with the flags, in the terminal's language; None when they fit together."""
    return next((text.here()(f"console.flags.{key}") for key, wrong in _conflicts(given).items() if wrong), None)


def _conflicts(given: Namespace) -> dict[str, bool]:
    chosen = given.preset or given.resume
    lists = given.list_presets or given.list_recipes
    page = not (given.headless or given.dry_run or lists)
    return {
        "resume_alone": bool(given.resume and (given.preset or given.name or given.recipe)),
        "resume_paths": bool(given.resume and not all(files.may_name(one.partition("=")[0]) for one in given.set)),
        "force": bool(given.force and not given.resume),
        "queue": bool(given.queue and (given.resume or not given.headless)),
        "checkpoint": bool(given.checkpoint and not given.resume),
        "which": bool((given.headless or given.dry_run) and not (chosen or lists)),
        "dry_run": bool(given.dry_run and given.resume),
        "auth": given.auth is not None and given.auth_file is not None,
        "page": bool(page and (chosen or given.set or given.name or given.recipe)),
    }
