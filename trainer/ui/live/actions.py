"""What the buttons of a run do. Everything a browser sends is checked here again; no gradio."""

from __future__ import annotations

import time

from trainer import launch
from trainer.errors import Problem, RunError
from trainer.text import Words, forms
from trainer.ui import actions


def stop(run: str | None, words: Words) -> str:
    """Ask the run to save and stop, or take one that waits out of the queue; returns at once. Raises RunError when it
    does neither."""
    rundir = actions.opened(run)
    if rundir in launch.queue.waiting(rundir.path.parent):
        launch.queue.remove(rundir)
        return words("live.unqueued", run=run)
    launch.stop(rundir)
    return words("live.stop_sent", run=run)


def stop_at(run: str | None, at: str | None, words: Words) -> str:
    """Have the run save and stop at a time of day, HH:MM; empty takes that back. Raises RunError when it is not
    running, or for what is no time."""
    rundir, now = actions.opened(run), time.time()
    then = launch.next_at(at, now) if at and at.strip() else None
    launch.stop_at(rundir, then)
    if then is None:
        return words("live.stop_at_taken_back", run=run)
    return words("live.stop_at_sent", run=run, clock=forms.moment(then, now))


def pause(run: str | None, words: Words) -> str:
    """Ask the run to save and end for now; returns at once. Raises RunError when it is not running."""
    launch.pause(actions.opened(run))
    return words("live.pause_sent", run=run)


def save(run: str | None, words: Words) -> str:
    """Ask for a checkpoint; returns at once. Raises RunError when it is not running."""
    launch.save_now(actions.opened(run))
    return words("live.save_sent", run=run)


def resume(run: str | None, words: Words, how: str | None = None) -> str:
    """Start another attempt, or the next stage of one that has finished. Raises RunError when it is running or done;
    how and Beside: as actions.resume."""
    after = actions.next_stage(actions.opened(run))
    handle = actions.resume(run, how)
    if handle is None:
        return words("train.waits", name=run if after is None else after.name)
    if after is not None:
        return words("live.next_stage_sent", run=after.name)
    return words("live.resume_sent", run=run, attempt=handle.attempt)


def further(run: str | None, confirmed: str | None, words: Words, how: str | None = None) -> str:
    """Plan as many steps again and go on. confirmed: the name the person was shown. Raises TrainerError; how and
    Beside: as actions.resume."""
    rundir = actions.opened(run)
    if confirmed != rundir.name:
        raise RunError(Problem("page.further_unconfirmed", run=rundir.name))
    planned = actions.extension(rundir.name, None)
    if actions.extend(rundir.name, planned.steps, how) is None:
        return words("train.waits", name=rundir.name)
    return words("live.finish.went", run=rundir.name, after=f"{planned.after:,}")


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
