"""What the page asks of a tab. Each room (train/, live/, ...) has one Tab in its tab.py.

A tab makes its components when it is built, says the values of the changing ones in `show`, and connects its own events
in `wire`. It keeps nothing about a run: whatever it shows is read again from the run's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.run.status import LIVE
from trainer.text import Words
from trainer.ui.known_runs import KnownRuns, RunTable


@dataclass(frozen=True)
class Look:
    """One look at everything: what a tab is shown with."""

    say: Words
    runs: KnownRuns
    table: RunTable
    run: str | None
    """The run that is chosen in the head of the page; None when there is none."""
    now: float
    """Unix seconds."""

    @property
    def ended(self) -> bool:
        """Is it known of the run that it has ended?"""
        status = next((row.status for row in self.table.rows if row.name == self.run), None)
        return status is not None and status not in LIVE


@dataclass(frozen=True)
class Frame:
    """Components of the page around the tabs, for the events of a tab.

    An event that turns to another tab or run has `here` (name of a tab) or `run` (name of a run) among its outputs.
    quiet: options of every event. beside: of what a tab does when run, language or tab change, beside the page's own
    answer. Gradio 6.31 repeats the whole event when one that must see the last value ("always_last", its default for
    `change`) was asked again meanwhile: two of them on one event ask each other for ever, some six times a second.
    """

    language: Any
    run: Any
    here: Any
    change: Any
    """A hidden textbox that changes the form of Train: JSON, see train/tab.py."""
    runs: KnownRuns
    quiet: dict[str, Any]

    @property
    def beside(self) -> dict[str, Any]:
        return {**self.quiet, "trigger_mode": "multiple"}


class Tab:
    """name: key of its words (`tab.<name>`) and value of `?tab=`. ticks: `show` is asked again every TICK_S seconds
    while the tab is open; otherwise only when it is opened, or the run or the language changes."""

    name = ""
    ticks = True
    tab: Any
    """The gr.Tab, made when the tab is built."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}
        """Components by name: `show` gives a value for each of these names."""
        self.inputs: Sequence[Any] = ()
        """Components whose values `show` is given."""

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        """Plain values by name, of all outputs or of some; `update` makes of them what Gradio wants."""
        raise NotImplementedError

    def update(self, name: str, value: Any) -> Any:
        """A value of `show` as Gradio takes it."""
        return value

    def wire(self, frame: Frame) -> None:
        """Connect the tab's own events."""
