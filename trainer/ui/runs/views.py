"""Views of all runs: rows of the table as text. Pure functions; no gradio, no files."""

from __future__ import annotations

from trainer import forms
from trainer.status import Status
from trainer.ui.known_runs import Row
from trainer.ui.text import Words


def cells(row: Row, words: Words) -> list[str]:
    """A row of the table as text: name, state, preset, steps, reward, started."""
    status: Status | None = row.status
    if status is None:
        return [row.name, words("runs.reading"), "", "", "", ""]
    first, last = row.reward
    return [
        row.name,
        words(f"status.{status}"),
        words("runs.unreadable") if row.title is None else forms.printable(row.title),
        f"{row.steps:,} / {'?' if row.total is None else format(row.total, ',')}",
        "-" if first is None else f"{forms.number(first)} \u2192 {forms.number(last)}",
        forms.clock(row.started),
    ]
