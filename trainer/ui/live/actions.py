"""What the buttons of a run do. Everything a browser sends is checked here again; no gradio."""

from __future__ import annotations

import time

from trainer import launch
from trainer.errors import Problem, RunError
from trainer.text import Words
from trainer.ui import actions


def stop(run: str | None, words: Words) -> str:
    """Ask the run to save and stop; returns at once. Raises RunError when it is not running."""
    launch.stop(actions.opened(run))
    return words("live.stop_sent", run=run)


def pause(run: str | None, words: Words) -> str:
    """Ask the run to save and end for now; returns at once. Raises RunError when it is not running."""
    launch.pause(actions.opened(run))
    return words("live.pause_sent", run=run)


def save(run: str | None, words: Words) -> str:
    """Ask for a checkpoint; returns at once. Raises RunError when it is not running."""
    launch.save_now(actions.opened(run))
    return words("live.save_sent", run=run)


def resume(run: str | None, words: Words) -> str:
    """Start another attempt. Raises RunError when it is running or finished."""
    handle = actions.resume(run)
    return words("live.resume_sent", run=run, attempt=handle.attempt)


def force(run: str | None, confirmed: str | None, words: Words) -> str:
    """End a run at once that was asked to stop FORCE_AFTER_S ago. confirmed: the name the person was shown and agreed
    to. Raises RunError for any other."""
    rundir = actions.opened(run)
    if confirmed != rundir.name:
        raise RunError(Problem("page.force_unconfirmed", run=rundir.name))
    asked = launch.stop_asked(rundir)
    if asked is None or time.time() - asked.t < launch.FORCE_AFTER_S:
        raise RunError(Problem("page.force_early", run=rundir.name, wait=launch.FORCE_AFTER_S))
    ended = launch.kill(rundir)
    return words("live.forcing.done" if ended else "live.forcing.gone", run=rundir.name)
