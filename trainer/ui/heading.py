"""What the head of the page says: which run is shown, and how far the ones that are going have come. No gradio."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.console import lines
from trainer.run.status import LIVE
from trainer.text import Words
from trainer.ui.known_runs import RunRow, Seen
from trainer.ui.live.views import phase, planned


def chosen(rows: Sequence[RunRow], wanted: str | None) -> str | None:
    """The run to show: the wanted one, else one that is going, else the newest."""
    names = [row.name for row in rows if row.openable]
    if wanted in names:
        return wanted
    live = [row.name for row in rows if row.status in LIVE]
    whole = [row.name for row in rows if row.broken is None]
    return next(iter([*live, *whole, *names]), None)


def progress(seen: Seen, words: Words) -> tuple[str, float]:
    """One line about a run that is going, and the share of its steps that is done."""
    state, status = seen.state, words(f"status.{seen.status}")
    if not state.steps or not seen.total:
        doing = status if seen.status == "starting" else phase(seen, words)
        return words("page.live_early", run=seen.rundir.name, state=doing), 0.0
    index = len(state.steps) - 1
    text = words(
        "page.live",
        run=seen.rundir.name,
        step=f"{state.last_step:,}",
        total=planned(seen),
        pace=words.duration(state.seconds[index]),
        left=words.duration(lines.eta_s(state, index)),
    )
    return text, min(1.0, state.last_step / seen.total)
