"""The chosen group: its prompt in full, what the data says is right, what it taught, and its completions.

Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trainer.run.groups import ChatMessage, Group
from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.groups import cards
from trainer.ui.groups.choice import PROMPT, GroupChoice
from trainer.ui.groups.known import Known
from trainer.ui.groups.listing import SHAPES, thrown
from trainer.ui.groups.safe_text import inert, plain

LINES = 12  # of a prompt before it is folded
_LINE = 110  # characters about as wide as the box
_MOST_PROMPT = 20_000  # characters sent before they are asked for
_MOST_COLUMN = 2000
_MOST_COLUMNS = 12
_ROLES = ("system", "user", "assistant")
_GOLD = ("answer", "solution", "target", "label", "gold", "tests")


def panel(known: Known, group: Group, count: int, choice: GroupChoice, say: Words) -> str:
    """count: groups of its step."""
    title = say("groups.prompt", number=group.place + 1, count=count)
    facts = [say("groups.row", mean=forms.number(group.mean), spread=forms.number(group.std))]
    if group.prompt_tokens is not None:
        facts.append(say("groups.tokens", count=f"{group.prompt_tokens:,}"))
    outcome = f"{SHAPES[group.outcome]} {say(f'groups.{group.outcome}')}"
    follow = "unfollow" if choice.follow else "follow"
    button = (
        f'<button type="button" class="gg-button" data-follow="{int(not choice.follow)}" '
        f'aria-pressed="{str(choice.follow).lower()}">{elements.escape(say(f"groups.{follow}"))}</button>'
    )
    quiet = elements.element("span", " \u00b7 ".join(facts), "gg-quiet")
    head = (
        f'<div class="gg-panel-head" data-key="{group.key}">{elements.element("h3", title)}'
        f"{elements.element('span', outcome, f'gg-outcome gg-{group.outcome}')}"
        f"{thrown(group, say)}{quiet}{button}</div>"
    )
    return head + asked(group, choice.whole, say) + band(group, say)


def completions(known: Known, group: Group, choice: GroupChoice, say: Words) -> str:
    names = [name for one in group.completions for name in (*one.components, *one.failed)]
    paid = cards.Paid(known.colours(list(dict.fromkeys(names))), known.leaves, known.weights)
    plans = {one.plan.number for one in group.completions if one.plan is not None}
    told = "groups.plans" if plans else "groups.completions"
    title = say(told, count=len(group.completions), plans=len(plans))
    return elements.element("h3", title) + cards.cards(group, choice.cards, choice.whole, paid, say)


# ---- the prompt


def asked(group: Group, whole: frozenset[int], say: Words) -> str:
    """What the user said last in full, folded what stands before it and what the model saw, beside it what is right."""
    last = next((n for n in reversed(range(len(group.prompt))) if group.prompt[n].role == "user"), -1)
    before = [message for n, message in enumerate(group.prompt) if n != last % max(1, len(group.prompt))]
    parts = []
    if before:
        inner = "".join(_message(message, whole, say) for message in before)
        label = elements.element("summary", say("groups.before", count=len(before)))
        parts.append(f'<details class="gg-fold">{label}{inner}</details>')
    parts.append(_folded(group.question, whole, say))
    if group.seen not in ("", group.question):
        label = elements.element("summary", say("groups.seen"))
        parts.append(f'<details class="gg-fold">{label}{_folded(group.seen, whole, say)}</details>')
    return f'<div class="gg-ask"><div class="gg-question">{"".join(parts)}</div>{_gold(group.columns, say)}</div>'


def _message(message: ChatMessage, whole: frozenset[int], say: Words) -> str:
    role = say(f"groups.role_{message.role}") if message.role in _ROLES else plain(message.role, 30)
    return f'<div class="gg-message">{elements.element("b", role)}{_folded(message.text, whole, say)}</div>'


def _folded(text: str, whole: frozenset[int], say: Words) -> str:
    """A box with the first LINES lines, and the others behind a fold."""
    if not text:
        return elements.element("p", say("groups.prompt_empty"), "gg-text g-empty")
    most = cards.MOST_CHARACTERS if PROMPT in whole else _MOST_PROMPT
    shown = text[:most]
    cut = _fold_at(shown)
    rest = shown[cut:]
    html = f'<div class="gg-text gg-prompt" dir="auto" tabindex="0">{inert(shown[:cut])}</div>'
    if rest:
        label = elements.element("summary", say("groups.unfold", count=f"{len(text) - cut:,}"))
        html += (
            f'<details class="gg-fold">{label}<div class="gg-text gg-prompt" dir="auto">{inert(rest)}</div></details>'
        )
    if len(text) > most and PROMPT not in whole:
        html += cards.all_button(PROMPT, len(text), say)
    return html


def _fold_at(text: str) -> int:
    """Characters of the first LINES lines as the box wraps them; all of a text that is hardly longer."""
    place, lines = 0, 0.0
    for line in text.splitlines(keepends=True):
        lines += max(1.0, len(line) / _LINE)
        if lines > LINES + 3:
            return max(place, min(len(text), LINES * _LINE)) if place == 0 else place
        place += len(line)
    return len(text)


def _gold(columns: dict[str, Any], say: Words) -> str:
    """The other columns of the row, those that name the answer first."""
    names = sorted(columns, key=lambda name: _GOLD.index(name) if name in _GOLD else len(_GOLD))[:_MOST_COLUMNS]
    items = []
    for name in names:
        value = columns[name]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown = inert(text[:_MOST_COLUMN]) + ("\u2026" if len(text) > _MOST_COLUMN else "")
        items.append(f'{elements.element("dt", plain(name, 60))}<dd class="gg-text" dir="auto">{shown}</dd>')
    if not items:
        return ""
    return f'<div class="gg-gold">{elements.element("h4", say("groups.gold"))}<dl>{"".join(items)}</dl></div>'


# ---- what it taught


def band(group: Group, say: Words) -> str:
    """Of a group whose advantages are all zero: that it taught nothing, why, and what helps."""
    if not _taught_nothing(group):
        return ""
    count = len(group.completions)
    if all(one.reward is None for one in group.completions):
        why = "unjudged_all"
    elif count == 1:
        why = "single"
    elif group.thrown and not group.dead:
        why = "left_over"
    else:
        one_text = group.dead and group.outcome != "all_right" and len({one.text for one in group.completions}) == 1
        why = "same_text" if one_text else group.outcome if group.dead else "unused"
    numbers: Sequence[str] = say("groups.numbers").split(" ")
    word = numbers[count - 2] if 2 <= count <= len(numbers) + 1 else str(count)
    first = say("groups.taught_nothing", count=word) if group.dead and count > 1 else say("groups.no_push")
    if group.dead and len({one.reward for one in group.completions if one.reward is not None}) > 1:
        first = say("groups.none_right", count=word)  # online RFT: what is not right is worth nothing
    text = elements.element("b", first) + elements.element("p", say(f"groups.why_{why}"))
    text += elements.element("p", say("groups.why_thrown")) if group.thrown and group.dead else ""
    return f'<div class="gg-band" role="note"><span aria-hidden="true">=</span><div>{text}</div></div>'


def _taught_nothing(group: Group) -> bool:
    values: list[float | None] = []
    for one in group.completions:
        values += [one.advantage, *(step.advantage for step in one.steps), *(turn.advantage for turn in one.turns)]
        values += [one.plan.advantage, one.plan.rest] if one.plan is not None else []
    return all(abs(value or 0.0) < cards.ZERO for value in values)
