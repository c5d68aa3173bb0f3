"""The page's small pieces of HTML. Every text goes through `escape`: what a model wrote stays inert.

Class names are those of page.css. No gradio.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from trainer.errors import Problem, TrainerError
from trainer.run.status import Status
from trainer.show.markup import element, escape
from trainer.text import Words

__all__ = [
    "alerts", "beside", "dot", "element", "escape", "facts", "folded", "no_run", "notice", "pre", "problems",
    "progress", "refused", "report", "shape", "told",
]  # fmt: skip

# Never colour alone: each state also has a shape, and its word stands beside it.
_DOTS: dict[Status, str] = {
    "starting": "\u25cc",
    "running": "\u25b6",
    "stopping": "\u25a3",
    "finished": "\u2713",
    "paused": "\u2016",
    "stopped": "\u25a0",
    "failed": "\u2715",
    "lost": "?",
    "imported": "\u2913",
    "queued": "\u2026",
}


def shape(status: Status | None) -> str:
    """The sign of a state; "" when it is not known."""
    return "" if status is None else _DOTS[status]


def dot(status: Status | None) -> str:
    if status is None:
        return ""
    return f'<span class="g-dot g-{status}" aria-hidden="true">{_DOTS[status]}</span> '


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    items = (f"<div>{element('dt', name)}{element('dd', value)}</div>" for name, value in pairs)
    return f'<dl class="g-facts">{"".join(items)}</dl>'


def progress(items: Iterable[tuple[str, float]]) -> str:
    """A line and a thin bar for each run that is going."""
    return "".join(
        f'{element("p", text, "g-now")}<div class="g-bar"><i style="width:{100 * share:.1f}%"></i></div>'
        for text, share in items
    )


def pre(texts: Sequence[str], empty: str) -> str:
    """Lines as a terminal shows them; wide ones scroll inside their box."""
    if not texts:
        return element("p", empty, "g-empty")
    return f'<pre class="g-pre" tabindex="0">{escape(chr(10).join(texts))}</pre>'


def folded(title: str, text: str) -> str:
    if not text:
        return ""
    return f"<details>{element('summary', title)}{pre([text], '')}</details>"


def problems(sentence: str, found: Iterable[Problem], type_this: str, say: Words) -> str:
    """Every problem: where, what, what to type instead."""
    items = []
    for problem in found:
        fix, told = "", problem.said(say)
        if told.fix:
            fix = f'<div class="g-fix">{escape(type_this)}: {element("code", told.fix)}</div>'
        items.append(f"<li>{element('b', told.where)} {escape(told.what)}{fix}</li>")
    return f'<div class="g-wrong" role="alert">{element("p", sentence)}<ul>{"".join(items)}</ul></div>'


def notice(text: str, kind: str = "g-right") -> str:
    return f'<div class="{kind}" role="status">{element("p", text)}</div>' if text else ""


def beside(names: Sequence[str], say: Words, attributes: str = "") -> str:
    """Others train on the same device: what is to happen? attributes: of both buttons, escaped already."""
    buttons = "".join(
        f'<button type="button" class="g-how" data-how="{how}"{attributes}>{escape(say(f"train.how_{how}"))}</button>'
        for how in ("queue", "beside")
    )
    asked = element("p", say("train.beside", names=names))
    return f'<div class="g-wrong" role="alert">{asked}<div class="g-hows">{buttons}</div></div>'


def told(error: TrainerError, say: Words) -> str:
    """Why something was not done, as text: a line a problem."""
    return "\n".join(str(problem.said(say)) for problem in error.problems)


def refused(error: TrainerError, say: Words) -> str:
    return notice(told(error, say), "g-wrong")


def no_run(error: TrainerError, none: str, say: Words) -> str:
    """In place of a run: why it cannot be read; `none` when it has gone since the table was made, or never was."""
    unreadable = error.problems[0].key == "run.unreadable"
    return refused(error, say) if unreadable else element("p", none, "g-empty")


def report(text: str, name: str, save: str) -> str:
    """A whole HTML file in a frame of its own, where no script runs, and a link that saves it as `name`."""
    data = base64.b64encode(text.encode()).decode()
    link = f'<a download="{escape(name)}" href="data:text/html;base64,{data}">{escape(save)}</a>'
    return f'<p>{link}</p><iframe title="{escape(name)}" sandbox="" srcdoc="{escape(text)}"></iframe>'


def alerts(items: Sequence[tuple[str, str, str]], empty: str) -> str:
    """items: (level, its word, text)."""
    if not items:
        return element("p", empty, "g-empty")
    known = {"info", "warn", "error"}
    shown = (
        f'<li class="g-{level if level in known else "info"}">{element("b", word)} {escape(text)}</li>'
        for level, word, text in items
    )
    return f'<ul class="g-alerts">{"".join(shown)}</ul>'
