"""Rewards tried on real rows before they are trusted: the check before training and the playground.

Each function is called as in training, in its own process with a deadline, on completions whose worth is known: the
gold answer, nothing, junk, a very long text, other scripts. A reward that pays junk like gold teaches nothing.

Standard library; what the functions themselves need.
"""

from __future__ import annotations

import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.rewards.contract import NOT_REACHED
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Reward

GOLD = "gold"
JUNK = {
    "empty": "",
    "junk": "asdf qwer 1234 ((((",
    "long": "the same words again and again " * 320,
    "other scripts": "한국어 문장입니다. 日本語 русский العربية 😀",
    "unclosed": "<answer><think>```python\n{{[[((\"'",
}
TYPED = "typed"
SLOW_S = 5.0
MESSAGES = '. A completion is a list with one message here: text = completion[-1]["content"], or data.chat = false'


@dataclass(frozen=True)
class Try:
    """One completion to one row and what it was paid."""

    row: int
    what: str
    """`gold`, one of JUNK, or `typed`."""
    completion: str
    reward: float | None
    components: dict[str, float | None]
    failures: dict[str, str]


@dataclass
class Trial:
    """All tries, and what is to be said about them. seconds: of one batch with all of them, per component."""

    tries: list[Try] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Why the rewards cannot be used."""
    warnings: list[str] = field(default_factory=list)

    def slow(self, seconds: float) -> None:
        if seconds > SLOW_S:
            self.warnings.append(f"{len(self.tries)} completions took {seconds:.1f} s")


def gold(reward: Reward, row: Mapping[str, Any]) -> str | None:
    """The perfect completion to a row; None when the template names a column the row lacks."""
    fields = [name for _, name, _, _ in string.Formatter().parse(reward.gold_template) if name]
    return None if any(row.get(name) is None for name in fields) else reward.gold_template.format_map(row)


def trial(wrapper: ComponentRewardWrapper, rows: Sequence[Mapping[str, Any]], typed: Sequence[str] = ()) -> Trial:
    """Try the rewards on a few rows with `prompt` as training sends it. Raises RewardError for a broken contract."""
    asked = [
        (number, what, text)
        for number, row in enumerate(rows)
        for what, text in [(GOLD, gold(wrapper.reward, row)), *JUNK.items(), *((TYPED, text) for text in typed)]
        if text is not None
    ]
    found = Trial()
    found.tries = _paid(wrapper, rows, asked)
    again: list[Try] = []
    if not all(one.failures for one in found.tries):
        started = time.perf_counter()
        again = _paid(wrapper, rows, asked)
        found.slow(time.perf_counter() - started)
    found.seconds = wrapper.last_seconds
    _judge(found, again, wrapper.reward, chat=not isinstance(rows[0]["prompt"], str))
    return found


def _paid(
    wrapper: ComponentRewardWrapper, rows: Sequence[Mapping[str, Any]], asked: Sequence[tuple[int, str, str]]
) -> list[Try]:
    chat = not isinstance(rows[0]["prompt"], str)
    completions = [[{"role": "assistant", "content": text}] if chat else text for _, _, text in asked]
    columns = {key: [rows[number][key] for number, _, _ in asked] for key in rows[0] if key != "prompt"}
    prompts = [rows[number]["prompt"] for number, _, _ in asked]
    ids = [list(range(len(text.split()))) for _, _, text in asked]  # tokens are not known here: words stand for them
    paid = wrapper.score(prompts, completions, completion_ids=ids, **columns)
    return [
        Try(
            *asked[place],
            paid[place],
            {name: values[place] for name, values in wrapper.last_components.items()},
            wrapper.last_failures[place],
        )
        for place in range(len(asked))
    ]


def _judge(found: Trial, again: Sequence[Try], reward: Reward, chat: bool) -> None:
    for leaf in reward.leaves():
        _judge_one(found, leaf.title, MESSAGES if chat and leaf.file is not None else "")
    both = [(one, other) for one, other in zip(found.tries, again, strict=False) if not one.failures | other.failures]
    if any(one.components != other.components for one, other in both):
        found.warnings.append("two calls gave different values: a resumed run will not be bit by bit the same")
    _judge_gold(found, reward.gold_template)


def _judge_one(found: Trial, name: str, of_messages: str) -> None:
    failed = [one for one in found.tries if NOT_REACHED not in one.failures.get(name, NOT_REACHED)]
    on_gold = [one for one in failed if one.what == GOLD]
    hint = of_messages if any("list" in one.failures[name] for one in failed) else ""
    if on_gold:
        text = f"{name}: fails on the gold answer of row {on_gold[0].row}: {on_gold[0].failures[name]}"
        found.problems.append(text + hint)
    elif failed and all(name in one.failures for one in found.tries):
        found.problems.append(f"{name}: fails on everything: it {failed[0].failures[name]}{hint}")
    elif failed:
        kinds = ", ".join(dict.fromkeys(one.what for one in failed))
        found.warnings.append(f"{name}: fails on {kinds}: it {failed[0].failures[name]}{hint}")
    values = {one.components[name] for one in found.tries if name not in one.failures}
    if len(values) == 1 and not failed:
        text = f"{name}: gives {_shown(values.pop())} to gold and junk alike: it can teach nothing"
        found.warnings.append(text + of_messages)


def _judge_gold(found: Trial, template: str) -> None:
    golds = {one.row: one.reward for one in found.tries if one.what == GOLD}
    if not golds and template != Reward.model_fields["gold_template"].default:
        found.warnings.append("no row has what reward.gold_template names: gold answers were not tried")
    for other in found.tries:
        best = golds.get(other.row)
        if best is not None and other.what in JUNK and other.reward is not None and other.reward >= best:
            text = f"row {other.row}: {other.what} is paid {_shown(other.reward)}, the gold answer {_shown(best)}"
            found.warnings.append(f"{text}: does reward.gold_template say what a perfect completion looks like?")
            return  # one is enough: the table shows the others


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"


def table(found: Trial) -> list[list[str]]:
    """Rows of text for a terminal or a page, a heading first."""
    names = list(found.tries[0].components) if found.tries else []
    lines = [["ROW", "COMPLETION", "REWARD", *names]]
    for one in found.tries:
        cells = [f"! {one.failures[name]}" if name in one.failures else _shown(one.components[name]) for name in names]
        what = one.what if one.what != TYPED else f"typed: {one.completion[:20]}"
        lines.append([str(one.row), what, _shown(one.reward), *cells])
    return lines


def place(text: str) -> tuple[str, str]:
    """(where, what) of one of a trial's problems."""
    name, _, what = text.partition(": ")
    return f"reward component {name}", what
