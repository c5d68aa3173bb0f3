"""The prompts of one step as a list: which are shown, in which order, and what each row says. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trainer.run.groups import Group
from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.groups.choice import GroupChoice
from trainer.ui.groups.safe_text import plain

MOST_ROWS = 200
SHAPES = {"spread": "\u25c6", "all_right": "\u2713", "all_wrong": "\u2715", "constant": "="}
_SHORT = 110  # characters of a prompt


def _known(value: float | None, unknown: float = -math.inf) -> float:
    return unknown if value is None else value


_ORDERS: dict[str, Callable[[Group], float]] = {
    "written": lambda group: group.place,
    "best": lambda group: -_known(group.mean),
    "worst": lambda group: _known(group.mean, math.inf),
    "spread": lambda group: -_known(group.std),
    "longest": lambda group: -max(_known(one.tokens, 0) for one in group.completions),
}


def listed(groups: Sequence[Group], choice: GroupChoice) -> list[Group]:
    """Those that are asked for, in the order asked for; equal ones as they were written."""
    found = [group for group in groups if choice.kind == "all" or group.dead == (choice.kind == "dead")]
    if choice.search:
        needle = choice.search.casefold()
        found = [group for group in found if _says(group, needle)]
    return sorted(found, key=_ORDERS[choice.order])


def _says(group: Group, needle: str) -> bool:
    prompt = any(needle in message.text.casefold() for message in group.prompt)
    return prompt or any(needle in one.text.casefold() for one in group.completions)


def rows(groups: Sequence[Group], chosen: int | None, step: int, say: Words) -> str:
    """The list; chosen: place of the group that is shown beside it."""
    if not groups:
        return elements.element("p", say("groups.list_none"), "g-empty")
    paid = [one.reward for group in groups for one in group.completions if one.reward is not None]
    scale = (min(paid), max(paid)) if paid else (0.0, 0.0)
    items = "".join(_row(group, group.place == chosen, scale, say) for group in groups[:MOST_ROWS])
    more = len(groups) - MOST_ROWS
    below = elements.element("p", say("groups.list_more", count=more), "g-empty") if more > 0 else ""
    return f'<ol class="gg-rows" data-of="{step}">{items}</ol>{below}'


def _row(group: Group, chosen: bool, scale: tuple[float, float], say: Words) -> str:
    mark = ' aria-current="true"' if chosen else ""
    numbers = say("groups.row", mean=forms.number(group.mean), spread=forms.number(group.std))
    question = plain(group.question, _SHORT) or say("groups.prompt_empty")
    return (
        f'<li><button type="button" class="gg-row gg-{group.outcome}" data-group="{group.place}"{mark}>'
        f'<span class="gg-asked" dir="auto">{elements.escape(question)}</span>{_dots(group, scale)}'
        f'<span class="gg-told">{elements.element("span", numbers)}'
        f'<span class="gg-outcome">{SHAPES[group.outcome]} {elements.escape(say(f"groups.{group.outcome}"))}</span>'
        f"{thrown(group, say)}</span></button></li>"
    )


def thrown(group: Group, say: Words) -> str:
    """That a group was written and not trained on; nothing for the others."""
    if not group.thrown:
        return ""
    return elements.element("span", f"\u21bb {say('groups.thrown' if group.dead else 'groups.left_over')}", "gg-thrown")


def _dots(group: Group, scale: tuple[float, float]) -> str:
    """Each reward as a dot between the lowest and the highest of the step; equal ones fall together."""
    low, high = scale
    places = sorted(
        {round(96 * (one.reward - low) / ((high - low) or 1)) for one in group.completions if one.reward is not None}
    )
    dots = "".join(f'<circle cx="{place + 4}" cy="5" r="3.4"/>' for place in places)
    return f'<svg class="gg-dots" viewBox="0 0 104 10" aria-hidden="true"><path d="M4,5h96"/>{dots}</svg>'
