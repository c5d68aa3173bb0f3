"""What a browser asks to see, checked: the step, the group, what is shown whole, which prompt is followed.

It comes as JSON from a hidden textbox that groups.js writes, and from the lists and the search box of the tab. Whatever
does not fit counts as not asked. Standard library only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

ORDERS = ("spread", "written", "best", "worst", "longest")
KINDS = ("all", "dead", "alive")
CARDS = ("best", "worst", "written", "longest")
MOST_CHARACTERS = 2000  # of the JSON
MOST_SEARCH = 200
PROMPT = -1
"""Among `whole`: the prompt; else numbers of completions."""
_MOST = 10**9
_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class GroupChoice:
    """step: None follows the newest. group: place in its file; None is the first that is listed, or the one with the
    prompt `key`. pair: two steps whose best completions are compared."""

    step: int | None = None
    group: int | None = None
    key: str | None = None
    whole: frozenset[int] = frozenset()
    follow: bool = False
    pair: tuple[int | None, int | None] = (None, None)
    order: str = ORDERS[0]
    kind: str = KINDS[0]
    cards: str = CARDS[0]
    search: str = ""


def chosen(run: str | None, asked: Any, order: Any, kind: Any, cards: Any, search: Any) -> GroupChoice:
    """asked: JSON {"run", "step", "group", "key", "whole", "follow", "left", "right"}, for that run only."""
    lists: dict[str, Any] = {
        "order": order if order in ORDERS else ORDERS[0],
        "kind": kind if kind in KINDS else KINDS[0],
        "cards": cards if cards in CARDS else CARDS[0],
        "search": search[:MOST_SEARCH].strip() if isinstance(search, str) else "",
    }
    found = _json(asked)
    if run is None or found.get("run") != run:
        return GroupChoice(**lists)
    key, whole = found.get("key"), found.get("whole")
    places = [_number(place, PROMPT) for place in whole[:64]] if isinstance(whole, list) else []
    return GroupChoice(
        step=_number(found.get("step"), 0),
        group=_number(found.get("group"), 0),
        key=key if isinstance(key, str) and _KEY.fullmatch(key) else None,
        whole=frozenset(place for place in places if place is not None),
        follow=found.get("follow") is True,
        pair=(_number(found.get("left"), 0), _number(found.get("right"), 0)),
        **lists,
    )


def _json(asked: Any) -> dict[str, Any]:
    if not isinstance(asked, str) or not asked or len(asked) > MOST_CHARACTERS:
        return {}
    try:
        found = json.loads(asked)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any, least: int) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST
    return value if known else None
