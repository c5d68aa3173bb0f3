"""Small pieces of HTML. Every text goes through `escape`: what a model wrote stays inert.

Class names are those of style.css. No gradio.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from trainer.errors import Problem
from trainer.status import Status

# Never colour alone: each state also has a shape, and its word stands beside it.
_DOTS: dict[Status, str] = {
    "starting": "\u25cc",
    "running": "\u25b6",
    "stopping": "\u25a3",
    "finished": "\u2713",
    "stopped": "\u25a0",
    "failed": "\u2715",
    "lost": "?",
}


def escape(text: str) -> str:
    """Text for HTML; braces and dollars too, which gr.HTML's templates would read."""
    safe = html.escape(text, quote=True)
    for char in "{}$`":
        safe = safe.replace(char, f"&#{ord(char)};")
    return safe


def element(tag: str, text: str, kind: str = "") -> str:
    return f'<{tag} class="{kind}">{escape(text)}</{tag}>' if kind else _plain(tag, text)


def _plain(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"


def paragraphs(texts: Iterable[str]) -> str:
    """The first sentence large, the others below it."""
    return "".join(element("p", text, "g-lead" if number == 0 else "g-more") for number, text in enumerate(texts))


def dot(status: Status | None) -> str:
    if status is None:
        return ""
    return f'<span class="g-dot g-{status}" aria-hidden="true">{_DOTS[status]}</span> '


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    items = (f"<div>{_plain('dt', name)}{_plain('dd', value)}</div>" for name, value in pairs)
    return f'<dl class="g-facts">{"".join(items)}</dl>'


def progress(items: Iterable[tuple[str, float]], idle: str) -> str:
    """A line and a thin bar for each run that is going."""
    shown = [
        f'{element("p", text, "g-now")}<div class="g-bar"><i style="width:{100 * share:.1f}%"></i></div>'
        for text, share in items
    ]
    return "".join(shown) or element("p", idle, "g-now") + '<div class="g-bar"></div>'


def table(
    head: Sequence[str],
    rows: Iterable[tuple[Status | None, Sequence[str]]],
    chosen: str | None,
) -> str:
    """The first cell is the name of a run: a button that chooses it."""
    body = []
    for status, cells in rows:
        name, *rest = cells
        mark = ' class="g-chosen" aria-current="true"' if name == chosen else ""
        button = f'<button type="button" data-run="{escape(name)}">{escape(name)}</button>'
        tds = [f"<td>{button}</td>"]
        for number, (label, cell) in enumerate(zip(head[1:], rest, strict=True)):
            shape = dot(status) if number == 0 else ""
            tds.append(f'<td data-label="{escape(label)}">{shape}{escape(cell)}</td>')
        body.append(f"<tr{mark}>{''.join(tds)}</tr>")
    heads = "".join(_plain("th", label) for label in head)
    return f'<table class="g-runs"><thead><tr>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def pre(texts: Sequence[str], empty: str) -> str:
    """Lines as a terminal shows them; wide ones scroll inside their box."""
    if not texts:
        return element("p", empty, "g-empty")
    return f'<pre class="g-pre" tabindex="0">{escape(chr(10).join(texts))}</pre>'


def folded(title: str, text: str) -> str:
    if not text:
        return ""
    return f"<details>{_plain('summary', title)}{pre([text], '')}</details>"


def problems(sentence: str, found: Iterable[Problem], type_this: str) -> str:
    """Every problem: where, what, what to type instead."""
    items = []
    for problem in found:
        fix = ""
        if problem.fix:
            fix = f'<div class="g-fix">{escape(type_this)}: {_plain("code", problem.fix)}</div>'
        items.append(f"<li>{_plain('b', problem.where)} {escape(problem.what)}{fix}</li>")
    return f'<div class="g-wrong" role="alert">{element("p", sentence)}<ul>{"".join(items)}</ul></div>'


def notice(text: str, kind: str = "g-right") -> str:
    return f'<div class="{kind}" role="status">{_plain("p", text)}</div>' if text else ""


def alerts(items: Sequence[tuple[str, str]], empty: str) -> str:
    if not items:
        return element("p", empty, "g-empty")
    known = {"info", "warn", "error"}
    shown = (
        f'<li class="g-{level if level in known else "info"}">{_plain("b", level)} {escape(text)}</li>'
        for level, text in items
    )
    return f'<ul class="g-alerts">{"".join(shown)}</ul>'
