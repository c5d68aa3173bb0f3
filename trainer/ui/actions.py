"""What every tab's buttons share: the run that is meant, and the processes this server started. No gradio."""

from __future__ import annotations

from typing import Protocol

from trainer.errors import Problem, RunError
from trainer.rundir import RunDir, outputs_dir
from trainer.ui.text import Words


class Child(Protocol):
    """A process this server started."""

    def poll(self) -> int | None: ...


_children: list[Child] = []


def started(child: Child) -> None:
    """Ask this process now and then whether it has ended, so that it does not stay a zombie."""
    _children.append(child)


def reap() -> None:
    """Let go of processes that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def opened(run: str | None, words: Words) -> RunDir:
    """The run of that name, as a browser sent it. Raises RunError when there is none."""
    if not run:
        raise RunError(Problem(words("page.run"), words("page.run_none")))
    return RunDir.open(outputs_dir(), run)
