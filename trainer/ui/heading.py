"""What the head of the page says: which run is shown, and how far the ones that are going have come. No gradio."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from trainer.console import lines
from trainer.run.records import AlertEvent
from trainer.run.status import LIVE
from trainer.text import Words, forms
from trainer.ui.elements import escape
from trainer.ui.known_runs import RunRow, Seen
from trainer.ui.live.views import phase, planned

MOST_TOLD = 600  # characters of an alert


def skip(words: Words) -> str:
    """The first that a keyboard reaches, seen while it has the focus: to Start (skip.js)."""
    return f'<a class="g-skip" href="#t-start" data-skip>{escape(words("page.skip"))}</a>'


def chosen(rows: Sequence[RunRow], wanted: str | None) -> str | None:
    """The run to show: the wanted one, else one that is going, else the newest."""
    names = [row.name for row in rows if row.openable]
    if wanted in names:
        return wanted
    live = [row.name for row in rows if row.status in LIVE]
    whole = [row.name for row in rows if row.broken is None]
    return next(iter([*live, *whole, *names]), None)


def news(rows: Sequence[RunRow], alerts: Mapping[str, Sequence[AlertEvent]], words: Words) -> str:
    """How the runs are, for the browser to tell (notify.js): {run: [state, sentence, alerts, newest alert]}. alerts: of
    those that are going."""
    found = {}
    for row in rows:
        if row.status is None:
            continue
        key, total = f"webhook.{row.status}", "?" if row.total is None else row.total
        said = words(key, run=row.name, step=row.steps, total=total, why="").rstrip(": ") if key in words else ""
        of = alerts.get(row.name, ())
        newest = ""
        if of:
            title, text = of[-1].said(words)
            newest = forms.printable(words("webhook.alert", run=row.name, title=title, text=text))[:MOST_TOLD]
        found[row.name] = [row.status, said, len(of), newest]
    return json.dumps(found, ensure_ascii=False)


def progress(seen: Seen, words: Words) -> tuple[str, float]:
    """One line about a run that is going, and the share of its steps that is done."""
    state, status = seen.state, words(f"status.{seen.status}")
    if not state.steps or not seen.total:
        doing = status if seen.status == "starting" else phase(seen, words)
        return words("page.live_early", run=seen.rundir.name, state=doing), 0.0
    index = len(state.steps) - 1
    left, now = lines.eta_s(state, index), time.time()
    text = words(
        "page.live",
        run=seen.rundir.name,
        step=f"{state.last_step:,}",
        total=planned(seen),
        pace=words.duration(state.seconds[index]),
        left=words.duration(left),
        clock=forms.moment(now + (left or 0.0), now),
    )
    return text, min(1.0, state.last_step / seen.total)
