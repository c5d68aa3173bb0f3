"""What can be done with a run on Runs. Everything a browser sends is checked here again; no gradio."""

from __future__ import annotations

from collections.abc import Sequence

from trainer import launch
from trainer.errors import Problem, RunError
from trainer.report import compare as comparison
from trainer.report import html, material
from trainer.run.rundir import RunDir
from trainer.run.status import imported_problem
from trainer.tryit import parent
from trainer.ui import actions
from trainer.ui.runs.choice import MOST_COMPARED


def clone(run: str) -> str:
    """For Frame.change. Raises RunError when there is no such run or its settings are not known."""
    rundir = actions.opened(run)
    rundir.read_spec()
    if launch.status_of(rundir) == "imported":
        raise RunError(imported_problem(rundir))
    return actions.train_change(rundir.name, [])


def queue(run: str, deed: str) -> None:
    """Let a run start when the others have ended, sooner or later than it would, or not at all. Raises TrainerError."""
    rundir = actions.opened(run)
    if deed == "queue":
        launch.queue.add(rundir)
    elif deed == "unqueue":
        launch.queue.remove(rundir)
    else:
        names = [each.name for each in launch.queue.waiting(rundir.path.parent)]
        here = names.index(rundir.name) + 1 if rundir.name in names else 1
        launch.queue.move(rundir, here + (-1 if deed == "sooner" else 1))


def contents(run: str) -> launch.Contents:
    """What deleting it would lose. Raises RunError when there is no such run."""
    return launch.contents(actions.opened(run))


def delete(run: str) -> None:
    """Raises RunError while somebody works on it, or when its files cannot be removed."""
    rundir = actions.opened(run)
    parent.end(rundir)  # its model may still be there to be tried
    try:
        launch.delete(rundir)
    except OSError as error:
        raise RunError(Problem("page.not_deleted", run=run, said=error.strerror or type(error).__name__)) from error


def compare(runs: Sequence[str], language: str) -> str:
    """Two runs or more beside each other, as HTML with the page's look. Raises RunError for fewer, more or unknown."""
    found: list[RunDir] = [actions.opened(run) for run in dict.fromkeys(runs)]
    if not 2 <= len(found) <= MOST_COMPARED:
        raise RunError(Problem("page.compare_count", most=MOST_COMPARED))
    return html.sections(comparison.build([material.of(rundir) for rundir in found], language))
