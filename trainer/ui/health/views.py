"""Views of a diagnosis: a row for every signal of the rules. Pure functions; no gradio, no files.

What a signal means, its rule, what was found and the advice are the report's words: page and report say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.report import rules
from trainer.report.finding import Advice, Finding, Level
from trainer.report.html import inline
from trainer.report.rules.bounds import BOUNDS, signals_of
from trainer.report.rules.verdict import said_verdict
from trainer.report.sections import telling
from trainer.run.status import LIVE
from trainer.text import Words, forms
from trainer.ui import advice, elements
from trainer.ui.diagnoses import Diagnosis
from trainer.ui.elements import element, escape
from trainer.ui.sparkline import sparkline

State = Level | Literal["quiet"]
"""quiet: the rule has nothing to say about this run."""
ORDER: tuple[State, ...] = ("red", "amber", "green", "note", "quiet", "unknown", "na")
# Never colour alone: each state also has a shape, and its word stands beside it.
SHAPES: dict[State, str] = {
    "red": "\u25a0", "amber": "\u25b2", "green": "\u25cf", "note": "\u25cb", "quiet": "\u00b7", "unknown": "?",
    "na": "\u2013",
}  # fmt: skip


@dataclass(frozen=True)
class SignalRow:
    """One signal. now: its value in words, "" where there is none. said: what was found, a sentence each."""

    signal: str
    state: State
    now: str
    said: Sequence[str]
    advice: Sequence[Advice]


def rows(found: Diagnosis, words: Words) -> list[SignalRow]:
    """Every signal the rules know, the worst first."""
    report = telling.words(words.language)
    made = [_row(signal, found, words, report) for signal in signals_of(found.method)]
    return sorted(made, key=lambda row: ORDER.index(row.state))


def _row(signal: str, found: Diagnosis, words: Words, report: Words) -> SignalRow:
    mine = rules.worst(finding for finding in found.findings if finding.signal == signal)
    if not mine:
        key = f"health.silent.{signal}"
        return SignalRow(signal, "quiet", "", [words(key if key in words else "health.silent.other")], [])
    said = [report(f"finding.{signal}.{finding.key}", **finding.values) for finding in mine]
    ways = {each.key: each for finding in mine for each in finding.advice}
    return SignalRow(signal, mine[0].level, value(mine[0], words), said, list(ways.values()))


def value(finding: Finding, words: Words) -> str:
    """What was measured, short; "" where a finding has no number of its own."""
    if finding.level in ("unknown", "na"):
        return ""
    what = next((f"-{end}" for end in ("correct_frac", "ordered", "reward") if finding.key.endswith(f"_{end}")), "")
    for key in (f"health.now.{finding.signal}{ending}" for ending in (f"-{finding.key}", what, "")):
        if key in words:
            try:
                return words(key, **finding.values) if finding.values else ""
            except (KeyError, TypeError, ValueError):  # this finding has other numbers
                continue
    return ""


def top(found: Diagnosis, words: Words) -> str:
    """The verdict in a sentence, how many signals are in which state, and what to know before believing it."""
    report = telling.words(words.language)
    counts = Counter(row.state for row in rows(found, words))
    counted = "".join(
        f'<li class="g-health-{state}">{_shape(state)} <b>{counts[state]}</b> '
        f"{escape(words(f'health.state.{state}'))}</li>"
        for state in ORDER
        if counts[state] or state in ("red", "amber", "green")
    )
    notes = "".join(element("p", text, "g-more") for text in _notes(found, words))
    lead = element("p", said_verdict(found.findings, report), "g-lead")
    return f'{lead}<ul class="g-health-counts">{counted}</ul>{notes}'


def _notes(found: Diagnosis, words: Words) -> Iterator[str]:
    step = f"{found.last_step:,}"
    if found.status in LIVE:
        yield words("health.live", step=step)
    elif found.status == "failed":
        reason = "; ".join(str(problem.said(words)) for problem in found.reasons)
        yield words("health.failed", step=step, reason=forms.printable(reason))
    elif found.status == "lost":
        yield words("health.lost", step=step)
    if found.known is not None:
        yield words("health.imported", count=found.known)
    elif not found.readable:
        yield words("health.unreadable")


def table(found: Diagnosis, words: Words) -> str:
    heads = "".join(
        element("th", words(f"health.column_{name}")) for name in ("signal", "state", "now", "means", "advice")
    )
    body = "".join(_tr(row, found, words) for row in rows(found, words))
    return f'<table class="g-health"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _tr(row: SignalRow, found: Diagnosis, words: Words) -> str:
    report = telling.words(words.language)
    name, rule = (report(f"signal.{row.signal}.{part}", **BOUNDS[row.signal]) for part in ("name", "rule"))
    means = telling.meaning(row.signal, found.method, report, **BOUNDS[row.signal])
    label = words("health.line", signal=name, now=row.now or "-")
    now = f"<b>{escape(row.now)}</b>" if row.now else '<b class="g-none">-</b>'
    drawn = "" if row.state in ("quiet", "na") else sparkline(found.lines.get(row.signal, []), label)
    said = "".join(f'<p class="g-said">{inline(text)}</p>' for text in row.said)
    rule = f"{element('b', words('health.rule'))}: {inline(rule)}"
    why = f'<p class="g-means">{inline(means)} {rule}</p>'
    ways = "".join(advice.shown(row.signal, each, found, words, report) for each in row.advice)
    state = f"{_shape(row.state)} {escape(words(f'health.state.{row.state}'))}"
    cells = {
        "signal": element("b", name),
        "state": f'<span class="g-level">{state}</span>',
        "now": f"{now}{drawn}",
        "means": f"{said}{why}",
    }
    if ways:
        cells["advice"] = ways
    tds = "".join(
        f'<td class="g-cell-{key}"{_span(key, ways)} data-label="{escape(words(f"health.column_{key}"))}">{cell}</td>'
        for key, cell in cells.items()
    )
    return f'<tr class="g-health-{row.state}">{tds}</tr>'


def _span(column: str, ways: str) -> str:
    """Where there is nothing to do, what it means has the room."""
    return ' colspan="2"' if column == "means" and not ways else ""


def _shape(state: State) -> str:
    return f'<span class="g-shape" aria-hidden="true">{SHAPES[state]}</span>'


def waiting(steps: int, words: Words) -> str:
    """While the first diagnosis is made."""
    return elements.element("p", words("health.looking", steps=f"{steps:,}"), "g-lead")
