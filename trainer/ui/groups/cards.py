"""The completions of one group as cards: their rewards by component, what that did, and their text. Pure functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.run.groups import Completion, Group, Step
from trainer.show.charts import Style
from trainer.spec import Component
from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.groups.credit import Span, spans
from trainer.ui.groups.dialogue import transcript, transcript_length
from trainer.ui.groups.plan_tree import has_plans, tree
from trainer.ui.groups.safe_text import inert, plain

FEW = 8  # completions that have room for long texts
CHARACTERS, CHARACTERS_OF_MANY = 3000, 1000  # shown of a text before "show all"
MOST_CHARACTERS = 300_000  # shown of a text at all
MOST_CARDS = 256
ZERO = 1e-12
Text = Callable[[int, int], str]
_ORDERS: dict[str, Callable[[Completion], float]] = {
    "best": lambda one: -(-math.inf if one.reward is None else one.reward),
    "worst": lambda one: math.inf if one.reward is None else one.reward,
    "written": lambda one: one.number,
    "longest": lambda one: -(one.tokens or 0),
}


@dataclass(frozen=True)
class Paid:
    """What the run's settings say of its components. weights: those that are known to be simple factors."""

    colours: dict[str, Style]
    leaves: dict[str, Component]
    weights: dict[str, float]


def cards(group: Group, order: str, whole: frozenset[int], paid: Paid, say: Words) -> str:
    """All completions in that order, where they carry out plans under those. whole: numbers of those whose text is
    shown to its end."""
    first: dict[str, int] = {}
    for one in group.completions:
        first.setdefault(one.text, one.number)
    scales = _scales(group)
    most = CHARACTERS if len(group.completions) <= FEW else CHARACTERS_OF_MANY

    def card(one: Completion) -> str:
        same = first[one.text] if first[one.text] != one.number else None
        limit = MOST_CHARACTERS if one.number in whole else most
        advantage = one.advantage if one.plan is None else one.plan.rest
        return (
            f'<article class="gg-card gg-{_way(advantage)}">{_head(one, advantage, same, say)}'
            f"{_bars(one, scales, paid, say)}{_body(one, limit, paid, say)}</article>"
        )

    dealt = sorted(group.completions, key=_ORDERS[order])[:MOST_CARDS]
    more = len(group.completions) - MOST_CARDS
    below = elements.element("p", say("groups.cards_more", count=more), "g-empty") if more > 0 else ""
    many = " gg-many" if len(group.completions) > FEW else ""
    if has_plans(group):
        return f'<div class="gg-tree{many}">{tree(dealt, group.completions, card, most, _way, chip, say)}</div>{below}'
    return f'<div class="gg-cards{many}">{"".join(map(card, dealt))}</div>{below}'


def _way(advantage: float | None) -> str:
    return "zero" if advantage is None or abs(advantage) < ZERO else "up" if advantage > 0 else "down"


def chip(advantage: float | None, say: Words) -> str:
    """The sign, the number and the word, in its colour."""
    way = _way(advantage)
    if advantage is None:
        return elements.element("span", say("groups.advantage_none"), "gg-chip gg-zero")
    shown = "0" if way == "zero" else f"{advantage:+.2f}".replace("-", "\u2212")
    return elements.element("span", f"{shown} {say(f'groups.advantage_{way}')}", f"gg-chip gg-{way}")


def _head(one: Completion, advantage: float | None, same: int | None, say: Words) -> str:
    reward = forms.number(one.reward) if one.reward is not None else say("groups.unpaid")
    parts = [elements.element("b", reward, "gg-paid"), chip(advantage, say)]
    if one.correct is not None:
        word = "right" if one.correct else "wrong"
        shape = "\u2713" if one.correct else "\u2715"
        parts.append(elements.element("span", f"{shape} {say(f'groups.{word}')}", f"gg-{word}"))
    if one.tokens is not None:
        parts.append(elements.element("span", say("groups.tokens", count=f"{one.tokens:,}"), "gg-quiet"))
    if one.truncated:
        parts.append(elements.element("span", f"\u2702 {say('groups.cut')}", "gg-cut"))
    number = f"#{one.number + 1}" if same is None else f"#{one.number + 1} {say('groups.same', number=same + 1)}"
    parts.append(elements.element("span", number, "gg-quiet gg-number"))
    return f'<header class="gg-card-head">{"".join(parts)}</header>'


def _scales(group: Group) -> dict[str, float]:
    """The largest value of each component in the group, at least 1."""
    largest: dict[str, float] = {}
    for one in group.completions:
        for name, value in one.components.items():
            largest[name] = max(largest.get(name, 1.0), abs(value or 0.0))
    return largest


def _bars(one: Completion, scales: dict[str, float], paid: Paid, say: Words) -> str:
    notes = {name: f"\u26a0 {plain(why, 300)}" for name, why in one.failed.items()}
    notes |= {name: say("groups.not_paid", value=value) for name, value in one.unpaid.items() if value is not None}
    rows = [_bar(name, value, scales[name], notes.get(name), paid, say) for name, value in one.components.items()]
    lost = [name for name in one.failed if name not in one.components]
    rows += [_bar(name, None, 1.0, notes[name], paid, say) for name in lost]
    return f'<div class="gg-bars">{"".join(rows)}</div>' if rows else ""


def _bar(name: str, value: float | None, scale: float, note: str | None, paid: Paid, say: Words) -> str:
    colour = paid.colours.get(name, "c8")
    width = 0.0 if value is None else 100 * min(1.0, abs(value) / scale)
    minus = " gg-minus" if value is not None and value < 0 else ""
    shown = say("groups.unjudged") if value is None else forms.number(value).replace("-", "\u2212")
    weight = paid.weights.get(name, 1.0)
    times = "" if weight == 1.0 else elements.element("small", f"\u00d7{weight:g}")
    why = "" if note is None else elements.element("p", note, "gg-failed")
    return (
        f'<div class="gg-part gg-{colour}">{elements.element("span", plain(name, 60), "gg-name")}'
        f'<span class="gg-track"><i class="gg-fill{minus}" style="width:{width:.0f}%"></i></span>'
        f"<b>{elements.escape(shown)}</b>{times or '<small></small>'}</div>{why}"
    )


# ---- the text


def _body(one: Completion, most: int, paid: Paid, say: Words) -> str:
    """The text behind its plan, where it has one: that stands above."""
    begin, end = 0 if one.plan is None else one.plan.end, len(one.text)
    length = end - begin
    if one.turns:
        shown, told = transcript(one.turns, most, say, chip), transcript_length(one.turns, say)
        return shown + (all_button(one.number, told, say) if most < min(told, MOST_CHARACTERS) else "")
    if not length:
        return elements.element("p", say("groups.text_empty"), "gg-text g-empty")
    ranges = [(begin, end)] if length <= most else [(begin, begin + 2 * most // 3), (end - most // 3, end)]
    text = _marked(one.text, spans(one, paid.leaves), paid, say)
    gap = ""
    if len(ranges) > 1:
        missing = ranges[1][0] - ranges[0][1]
        gap = elements.element("span", say("groups.text_gap", count=f"{missing:,}"), "gg-gap")
    write = _in_steps(one.steps, end, text, say) if one.steps else text
    shown = gap.join(write(start, stop) for start, stop in ranges)
    box = f'<div class="gg-text" dir="auto" tabindex="0">{shown}</div>'
    return box + (all_button(one.number, length, say) if gap and most < MOST_CHARACTERS else "")


def all_button(number: int, length: int, say: Words) -> str:
    label = elements.escape(say("groups.show_all", count=f"{length:,}"))
    return f'<button type="button" class="gg-link" data-whole="{number}">{label}</button>'


def _marked(text: str, found: Sequence[Span], paid: Paid, say: Words) -> Text:
    """Writes a part of the text, with what components read marked in their colours."""
    places = sorted({place for span in found for place in (span.start, span.end)})

    def write(start: int, end: int) -> str:
        inner = [start, *(place for place in places if start < place < end), end]
        return "".join(_piece(text[a:b], _over(found, a, b), paid, say) for a, b in itertools.pairwise(inner))

    return write


def _over(found: Sequence[Span], start: int, end: int) -> list[Span]:
    return [span for span in found if span.start <= start and end <= span.end]


def _piece(text: str, over: Sequence[Span], paid: Paid, say: Words) -> str:
    shown = inert(text)
    for span in over:
        colour = paid.colours.get(span.component, "c8")
        kind = "gg-read" if not span.whole else "gg-form"
        earned = "earned" if span.earned else "read"
        title = say(f"groups.{earned}", component=plain(span.component, 60))
        shown = f'<mark class="{kind} gg-{earned} gg-{colour}" title="{elements.escape(title)}">{shown}</mark>'
    return shown


def _in_steps(steps: Sequence[Step], length: int, text: Text, say: Words) -> Text:
    """Writes a part of the text step by step, each under its reward; the rest after the last one as it is."""
    ends = [step.end for step in steps]
    starts = [0, *ends[:-1]]

    def write(start: int, end: int) -> str:
        made = []
        for number, (step, a, b) in enumerate(zip(steps, starts, ends, strict=True)):
            if a < end and start < b:
                reward = say("groups.unpaid") if step.reward is None else forms.number(step.reward)
                paid = elements.element("b", say("groups.step_paid", number=number + 1, reward=reward))
                head = f'<span class="gg-step-head">{paid}{chip(step.advantage, say)}</span>'
                made.append(f'<div class="gg-step">{head}{text(max(a, start), min(b, end))}</div>')
        if ends[-1] < end:
            made.append(text(max(ends[-1], start), end))
        return "".join(made)

    return write
