"""A group of plans as a tree: each plan once, and under it the completions that carry it out. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainer.run.groups import Completion, Group, Plan
from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.groups.safe_text import inert

Branch = tuple[Plan, Sequence[Completion]]
Chip = Callable[[float | None, Words], str]


def has_plans(group: Group) -> bool:
    return any(one.plan is not None for one in group.completions)


def tree(
    dealt: Sequence[Completion],
    known: Sequence[Completion],
    card: Callable[[Completion], str],
    most: int,
    way: Callable[[float | None], str],
    chip: Chip,
    say: Words,
) -> str:
    """By number. dealt: the completions in the order they are shown in below their plan. known: all of the group, also
    what is not shown: they are counted, and say which plan is the best. most: characters of a plan before the rest of
    it is folded. way: an advantage as the name of its colour; chip: as its sign, number and word.

    Behind the last of them completions without a plan: of a damaged file, or a plan that failed.
    """
    every = branches(known)
    best = best_plan(every)
    counts = {_key(below[0]): len(below) for _, below in every}
    made = [
        f'<section class="gg-plan gg-{way(plan.advantage)}" aria-label="{elements.escape(_name(plan, say))}">'
        f"{_head(plan, counts[_key(below[0])], plan.number == best, chip, say)}"
        f"{_text(below[0].text[: plan.end], most, say)}"
        f'<div class="gg-cards gg-behind">{"".join(map(card, below))}</div></section>'
        for plan, below in branches(dealt)
    ]
    bare = [card(one) for one in dealt if one.plan is None]
    made += [f'<div class="gg-cards">{"".join(bare)}</div>'] if bare else []
    return "".join(made)


def branches(dealt: Sequence[Completion]) -> list[Branch]:
    """Each plan with its completions, by number. Two texts under one number, in a damaged file, are two plans."""
    found: dict[tuple[int, str], list[Completion]] = {}
    for one in dealt:
        if one.plan is not None:
            found.setdefault(_key(one), []).append(one)
    return [(_plan(found[key]), found[key]) for key in sorted(found)]


def _key(one: Completion) -> tuple[int, str]:
    return (-1, "") if one.plan is None else (one.plan.number, one.text[: one.plan.end])


def best_plan(found: Sequence[Branch]) -> int | None:
    """The number of the plan with the highest reward; None where there is no other or several have it."""
    rewards = {plan.number: plan.reward for plan, _ in found if plan.reward is not None}
    highest = [number for number, reward in rewards.items() if reward == max(rewards.values())]
    return highest[0] if len(highest) == 1 < len(found) else None


def _plan(below: Sequence[Completion]) -> Plan:
    """What the first of them says of their plan that says its reward."""
    plans = [one.plan for one in below if one.plan is not None]
    return next((plan for plan in plans if plan.reward is not None), plans[0])


def _name(plan: Plan, say: Words) -> str:
    return say("groups.plan", number=plan.number + 1)


def _head(plan: Plan, count: int, best: bool, chip: Chip, say: Words) -> str:
    reward = say("groups.unpaid") if plan.reward is None else say("groups.plan_mean", mean=forms.number(plan.reward))
    parts = [
        elements.element("h4", _name(plan, say)),
        elements.element("b", reward, "gg-paid"),
        chip(plan.advantage, say),
    ]
    parts += [elements.element("span", f"\u2605 {say('groups.plan_best')}", "gg-right")] if best else []
    parts.append(elements.element("span", say("groups.plan_count", count=count), "gg-quiet gg-number"))
    return f'<header class="gg-card-head">{"".join(parts)}</header>'


def _text(text: str, most: int, say: Words) -> str:
    if not text:
        return elements.element("p", say("groups.plan_empty"), "gg-text g-empty")
    shown = f'<div class="gg-text" dir="auto" tabindex="0">{inert(text[:most])}</div>'
    if len(text) <= most:
        return shown
    label = elements.element("summary", say("groups.unfold", count=f"{len(text) - most:,}"))
    rest = f'<div class="gg-text" dir="auto" tabindex="0">{inert(text[most:])}</div>'
    return f'{shown}<details class="gg-fold">{label}{rest}</details>'
