"""Completions that show what a rule has found: texts a person reads and believes at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from trainer.report.material import Material
from trainer.run.groups import Completion, Group

MOST_FILES = 3  # rollout files read, the newest
MOST_SHOWN = 3


@dataclass(frozen=True)
class Example:
    """A completion of a step. times: how often its group of `of` completions holds the same text."""

    step: int
    question: str
    text: str
    reward: float | None
    times: int
    of: int


def commonest(m: Material) -> tuple[Example, ...]:
    """Of the newest groups those that are most alike, each with its text."""
    found = []
    for step, group in _newest(m):
        texts = Counter(one.text for one in group.completions)
        text, times = texts.most_common(1)[0]
        reward = next(one.reward for one in group.completions if one.text == text)
        found.append(Example(step, group.question, text, reward, times, len(group.completions)))
    return _distinct(sorted(found, key=lambda one: (-one.times / one.of, -one.step)))


def not_right(m: Material, component: str) -> tuple[Example, ...]:
    """Completions that are not right and earn most from that component."""
    found: list[tuple[float, Example]] = []
    for step, group in _newest(m):
        for one in group.completions:
            value = one.components.get(component)
            if one.correct is not True and value is not None:
                found.append((value, _example(step, group, one)))
    ordered = sorted(found, key=lambda pair: (-pair[0], -pair[1].step))
    return _distinct([example for _, example in ordered])


def _example(step: int, group: Group, one: Completion) -> Example:
    times = sum(other.text == one.text for other in group.completions)
    return Example(step, group.question, one.text, one.reward, times, len(group.completions))


def _newest(m: Material) -> Iterator[tuple[int, Group]]:
    steps = list(m.sampled_steps(len(m.rollout_steps) or len(m.state.steps)))
    for step in reversed(steps[-MOST_FILES:]):
        yield from ((step, group) for group in m.groups(step) if group.completions)


def _distinct(found: list[Example]) -> tuple[Example, ...]:
    """The first of each question; another text of one where there are no others."""
    kept = list({one.question: one for one in reversed(found)}.values())[::-1]
    return tuple(sorted(kept, key=found.index)[:MOST_SHOWN])
