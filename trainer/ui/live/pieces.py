"""Pieces of HTML of Live. Every text goes through `escape`. No gradio."""

from __future__ import annotations

from pathlib import Path

from trainer.console import headless
from trainer.text import Words
from trainer.ui import elements
from trainer.ui.known_runs import Seen
from trainer.ui.live import log as logs
from trainer.ui.live import views
from trainer.ui.live.buttons import Action


def head(seen: Seen, said: list[str]) -> str:
    """The run's name, the sentence that matters most, then the others in one paragraph."""
    name = f"<h2>{elements.dot(seen.status)}{elements.escape(seen.rundir.name)}</h2>"
    return name + elements.element("p", said[0], "g-lead") + elements.element("p", " ".join(said[1:]), "g-more")


def effects(can: dict[str, Action], say: Words) -> str:
    """What each button does or why it is off, folded; the page's script makes of each line what its button is described
    by and the words that a resting pointer shows."""
    rows = [
        f"<div{'' if action.on else ' class=g-off'}>{elements.element('dt', say(action.label))}"
        f'<dd id="live-{name}-does" data-button="live-{name}">{elements.escape(action.text)}</dd></div>'
        for name, action in can.items()
        if action.shown
    ]
    summary = elements.element("summary", say("live.effects"))
    return f'<details class="g-help">{summary}<dl class="g-effects">{"".join(rows)}</dl></details>'


def question(seen: Seen, lost: str, say: Words) -> str:
    """Whether to end the run at once, with its name and what is lost."""
    sure = elements.element("b", say("live.forcing.sure", run=seen.rundir.name))
    return f'<div class="g-wrong" role="alert"><p>{sure} {elements.escape(lost)}</p></div>' if lost else ""


def cause(seen: Seen, say: Words) -> str:
    """Of a run that failed or was lost: every problem with what to do, where in the code, the end of its log."""
    found, tail = views.problems(seen), headless.log_tail(_log_file(seen))
    parts = [elements.problems(say("live.cause"), found, say("live.fix"), say)] if found else []
    if seen.status == "lost":
        said = [line for line in tail if line.startswith("error: ")]  # it could not write its last event
        parts += [elements.element("p", say("live.cause_lost")) + elements.pre(said[-1:], "")] if said else []
    if tail:
        parts.append(titled(say("live.last_lines"), elements.pre(tail, "")))
    parts.append(elements.folded(say("live.traceback"), views.traceback_tail(seen)))
    return "".join(parts)


def log(seen: Seen, say: Words) -> str:
    """The end of the newest attempt's log."""
    return elements.pre(logs.tail(_log_file(seen)), say("live.log_none"))


def titled(title: str, body: str) -> str:
    return elements.element("h3", title) + body


def _log_file(seen: Seen) -> Path:
    return seen.rundir.log_file(max(1, seen.rundir.newest_attempt()))


def notify(say: Words) -> str:
    """The switch for notifications of the browser; which of its words are seen says notify.js."""
    switch = "".join(elements.element("span", say(f"live.notify.{state}"), f"n-{state}") for state in ("off", "on"))
    told = "".join(
        elements.element("span", say(f"live.notify.{state}_means"), f"n-{state}") for state in ("off", "on", "never")
    )
    return f'<p class="g-effect"><button type="button" class="g-notify">{switch}</button> {told}</p>'
