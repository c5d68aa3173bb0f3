"""The folder that holds the runs: what is wrong with it, free names in it, and who compares runs of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from trainer.errors import Problem
from trainer.machine import notes
from trainer.machine.project import OUTPUTS_VARIABLE

COMPARISONS = ".comparisons"  # notes of what compares several of its runs (trainer.console.comparisons)


def comparing(outputs: Path) -> list[str]:
    """Names of comparisons that a process is at: between two of its runs no worker tells so."""
    return sorted(note.stem for note in (outputs / COMPARISONS).glob("*.json") if has_process(note))


def has_process(note: Path) -> bool:
    """Is the process that the note of a comparison names still there?"""
    identity = notes.process(note)
    return identity is not None and identity.alive()


def outputs_problem(outputs: Path) -> Problem | None:
    """What is wrong when a file is where the outputs folder, or one above it, should be."""
    there = next(place for place in (outputs, *outputs.parents) if os.path.lexists(place))
    if os.path.isdir(there):
        return None
    named = OUTPUTS_VARIABLE if os.environ.get(OUTPUTS_VARIABLE) else str(outputs)
    key = "run.outputs_file" if there == outputs else "run.outputs_below_file"
    return Problem(key, named, there=str(there), variable=OUTPUTS_VARIABLE)


def next_name(outputs: Path, preset: str) -> str:
    """A free name made from the preset's (or its file's): tiny-1, tiny-2, ..."""
    stem = Path(preset).name.removesuffix(".toml")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("._-")[:40] or "run"
    pattern = re.compile(re.escape(stem) + r"-(\d{1,9})(?:\.\d+-[a-z0-9_-]+)?", re.IGNORECASE)  # of a stage too
    try:
        taken = [pattern.fullmatch(name) for name in os.listdir(outputs)]
    except FileNotFoundError:
        taken = []
    return f"{stem}-{1 + max((int(match[1]) for match in taken if match), default=0)}"
