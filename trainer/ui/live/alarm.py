"""What goes wrong by its name: a collapse or an exploited reward, the texts that show it, and what to do. No gradio of
its own."""

from __future__ import annotations

from trainer.report.finding import Finding
from trainer.report.html import inline
from trainer.report.rules.evidence import Example
from trainer.report.rules.verdict import named
from trainer.report.sections import telling
from trainer.text import Words, forms
from trainer.ui import advice
from trainer.ui.diagnoses import Diagnosis
from trainer.ui.elements import element, escape

MOST_CHARACTERS = 400  # of a text that is shown


def box(found: Diagnosis | None, say: Words) -> str:
    """Under the verdict that names it; "" while nothing does."""
    cause = named(found.findings) if found is not None else None
    if found is None or cause is None:
        return ""
    report = telling.words(say.language)
    sentence = inline(report(f"finding.{cause.signal}.{cause.key}", **cause.values))
    first, *others = [advice.shown(cause.signal, one, found, say, report) for one in cause.advice] or [""]
    if others:
        first += f"<details>{element('summary', say('live.alarm.others'))}{''.join(others)}</details>"
    return f'<div class="g-wrong g-alarm" role="status"><p>{sentence}</p>{_texts(cause, say)}{first}</div>'


def _texts(cause: Finding, say: Words) -> str:
    examples = [one for one in cause.values.get("shown") or () if isinstance(one, Example)]
    if not examples:
        return ""
    items = "".join(_text(one, say) for one in examples)
    return f"{element('h3', say('live.alarm.texts'))}<ul>{items}</ul>"


def _text(one: Example, say: Words) -> str:
    text = forms.printable(one.text) if one.text.strip() else say("live.then.nothing")
    text = text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}\u2026"
    asked = forms.printable(one.question)[:MOST_CHARACTERS]
    values = {"step": f"{one.step:,}", "reward": forms.number(one.reward)}
    if one.times > 1:
        times = say("live.alarm.times", times=one.times, of=one.of, **values)
    else:
        times = say("live.alarm.once", **values)
    body = f'<div class="g-said-then" tabindex="0">{escape(text)}</div>'
    return f"<li>{element('q', asked)} <span>{escape(times)}</span>{body}</li>"
