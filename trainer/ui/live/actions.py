"""What the buttons of a run do. Everything a browser sends is checked here again; no gradio."""

from __future__ import annotations

from trainer import launch
from trainer.report import write as reports
from trainer.ui import actions
from trainer.ui.text import Words


def stop(run: str | None, words: Words) -> str:
    """Ask the run to save and stop; returns at once. Raises RunError when it is not running."""
    launch.stop(actions.opened(run, words))
    return words("runs.stop_sent", run=run)


def resume(run: str | None, words: Words) -> str:
    """Start another attempt. Raises RunError when it is running or finished."""
    handle = launch.resume(actions.opened(run, words))
    actions.started(handle)
    return words("runs.resume_sent", run=run, attempt=handle.attempt)


def report(run: str | None, language: str, words: Words) -> str:
    """The report of a run as it is now, one HTML file. Raises RunError when there is no such run."""
    return reports.text_of([actions.opened(run, words)], language, "html")
