"""What a browser has chosen on Runs: ticked runs, the one whose actions are shown, a state. It lives in the browser.

Comes back as text with every event, so everything in it is checked. No gradio.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from trainer.run.rundir import NAME
from trainer.run.status import Status

MOST_COMPARED = 8  # as many lines as a chart has colours


@dataclass(frozen=True)
class RunChoice:
    """opened: name of a run or "". state: of the runs that are listed; "" for all."""

    ticked: tuple[str, ...] = ()
    opened: str = ""
    state: str = ""

    @property
    def text(self) -> str:
        return json.dumps({"ticked": self.ticked, "opened": self.opened, "state": self.state})


def read(text: str | None) -> RunChoice:
    """A choice from its text; whatever is not as it should be counts as not chosen."""
    try:
        told: Any = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return RunChoice()
    if not isinstance(told, dict):
        return RunChoice()
    opened, state = told.get("opened"), told.get("state")
    return RunChoice(
        ticked=names(told.get("ticked")),
        opened=next(iter(names([opened])), ""),
        state=state if isinstance(state, str) and state in get_args(Status) else "",
    )


def names(told: Any) -> tuple[str, ...]:
    """Names of runs as a browser sent them: legal ones, each once, as many as can be compared."""
    found: Iterable[Any] = told if isinstance(told, list | tuple) else ()
    return tuple(dict.fromkeys(name for name in found if _is_name(name)))[:MOST_COMPARED]


def _is_name(told: Any) -> bool:
    return isinstance(told, str) and NAME.fullmatch(told) is not None
