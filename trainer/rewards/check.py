"""Rewards tried on real rows before they are trusted: the check before training and the playground.

Each function is called as in training, in its own process with a deadline, on completions whose worth is known: the
gold answer, nothing, junk, a very long text, other scripts. A reward that is the same for junk and gold teaches
nothing.

Imports no library of its own; the functions bring what they need into their processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.errors import Problem
from trainer.rewards.contract import NOT_REACHED
from trainer.rewards.gold_completion import GoldCompletion
from trainer.rewards.scan import Retelling, as_completions, columns_of
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Reward
from trainer.spec.reward import ENVIRONMENT, GROUP_JUDGE
from trainer.text import Message, Words

GOLD = "gold"
JUNK = {
    "empty": "",
    "junk": "asdf qwer 1234 ((((",
    "long": "the same words again and again " * 320,
    "other scripts": "한국어 문장입니다. 日本語 русский العربية 😀",
    "unclosed": "<answer><think>```python\n{{[[((\"'",
}
TYPED, RETOLD = "typed", "retold"
KINDS = {
    GOLD: "rewards.try.gold",
    RETOLD: "rewards.try.retold",
    "empty": "rewards.try.empty",
    "junk": "rewards.try.junk",
    "long": "rewards.try.long",
    "other scripts": "rewards.try.scripts",
    "unclosed": "rewards.try.unclosed",
}
"""{Try.what: key of its name}."""
FIRST = ("rewards.note.junk_paid", "rewards.note.junk_above_gold")
"""Keys of the warnings that somebody who reads one line only must read; such a one is the first of a trial."""
SLOW_S = 5.0
PAID = 1 / 3
"""Share of the gold answer's reward above which an empty or senseless completion is the first thing that is said."""
MESSAGES = 'text = completion[-1]["content"]'
"""What a function that takes a chat completion for a text lacks."""


@dataclass(frozen=True)
class Try:
    """One completion to one row, and its reward."""

    row: int
    what: str
    """`gold`, `retold` (the gold answer after the tokenizer, where that changes it), one of JUNK, or `typed`."""
    completion: str
    reward: float | None
    components: dict[str, float | None]
    failures: dict[str, Message]
    unpaid: dict[str, float] = field(default_factory=dict)
    """Values that only_if let count 0."""

    @property
    def kind(self) -> Message:
        """What it is, in words; of a typed one its beginning."""
        if self.what == TYPED:
            return Message("rewards.try.typed", text=self.completion[:20])
        return Message(KINDS[self.what])


@dataclass
class Trial:
    """All tries, and what is to be said about them. seconds: of one batch with all of them, per component."""

    tries: list[Try] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    """Why the rewards cannot be used."""
    warnings: list[Message] = field(default_factory=list)

    def slow(self, seconds: float) -> None:
        if seconds > SLOW_S:
            self.warnings.append(Message("rewards.note.slow", count=len(self.tries), seconds=seconds))


def gold(reward: Reward, row: Mapping[str, Any]) -> str | None:
    """The perfect completion to a row; None when the template names a column the row lacks."""
    return GoldCompletion(reward).of(row)


def trial(
    wrapper: ComponentRewardWrapper,
    rows: Sequence[Mapping[str, Any]],
    typed: Sequence[str] = (),
    retelling: Retelling | None = None,
) -> Trial:
    """Try the rewards on a few rows with `prompt` as training sends it. Raises RewardError for a broken contract."""
    writer = GoldCompletion(wrapper.reward)
    asked = [
        (number, what, text)
        for number, row in enumerate(rows)
        for what, text in [
            *_of_gold(writer.of(row), row["prompt"], retelling),
            *JUNK.items(),
            *((TYPED, text) for text in typed),
        ]
    ]
    found = Trial()
    found.tries = _scored(wrapper, rows, asked)
    again: list[Try] = []
    if not all(one.failures for one in found.tries):
        started = time.perf_counter()
        again = _scored(wrapper, rows, asked)
        found.slow(time.perf_counter() - started)
    found.seconds = wrapper.last_seconds
    _judge(found, again, wrapper.reward, chat=not isinstance(rows[0]["prompt"], str))
    return found


def _of_gold(text: str | None, prompt: Any, retelling: Retelling | None) -> Iterator[tuple[str, str]]:
    if text is not None:
        yield GOLD, text
        if retelling is not None and (told := retelling.tell(prompt, text)) != text:
            yield RETOLD, told


def _scored(
    wrapper: ComponentRewardWrapper, rows: Sequence[Mapping[str, Any]], asked: Sequence[tuple[int, str, str]]
) -> list[Try]:
    columns = columns_of([rows[number] for number, _, _ in asked])
    prompts = [rows[number]["prompt"] for number, _, _ in asked]
    completions = as_completions([text for _, _, text in asked], prompts)
    ids = [list(range(len(text.split()))) for _, _, text in asked]  # tokens are not known here: words stand for them
    rewards = wrapper.score(prompts, completions, completion_ids=ids, **columns)
    return [
        Try(
            *asked[place],
            rewards[place],
            {name: values[place] for name, values in wrapper.last_components.items()},
            wrapper.last_reasons[place],
            wrapper.last_unpaid[place],
        )
        for place in range(len(asked))
    ]


def _judge(found: Trial, again: Sequence[Try], reward: Reward, chat: bool) -> None:
    for leaf in reward.leaves():
        if leaf.function == ENVIRONMENT and leaf.file is None:
            continue  # no episode was played
        _judge_one(found, leaf.title, of_messages=chat and leaf.file is not None)
        _judge_again(found, again, leaf.title)
    both = [(one, other) for one, other in zip(found.tries, again, strict=False) if not one.failures | other.failures]
    if any(one.components != other.components for one, other in both):
        found.warnings.append(Message("rewards.note.random"))
    _judge_gold(found, reward)
    unpaid = next((one for one in found.tries if one.what == GOLD and one.unpaid), None)
    if unpaid is not None:
        names = ", ".join(unpaid.unpaid)
        found.warnings.append(Message("rewards.note.gold_unpaid", row=unpaid.row, names=names))
    for leaf in reward.leaves():
        values = [one for one in found.tries if one.components[leaf.title] is not None]
        if leaf.only_if is not None and values and not any(leaf.title in one.unpaid for one in found.tries):
            found.warnings.append(Message("rewards.note.always_paid", name=leaf.title, only_if=leaf.only_if))


def _judge_one(found: Trial, name: str, of_messages: bool) -> None:
    # A row that there was no time for says nothing about the function.
    failed = [one for one in found.tries if name in one.failures and one.failures[name].key != NOT_REACHED]
    on_gold = [one for one in failed if one.what == GOLD]
    # Python's own words for what happens when a list is treated as a text: "'list' object has no attribute ...".
    hint = of_messages and any("list" in str(one.failures[name]) for one in failed)
    if on_gold:
        why = on_gold[0].failures[name]
        key = "rewards.fails_on_gold_message" if hint else "rewards.fails_on_gold"
        found.problems.append(Problem(key, name=name, row=on_gold[0].row, why=why, code=MESSAGES))
    elif failed and all(name in one.failures for one in found.tries):
        key = "rewards.fails_on_all_messages" if hint else "rewards.fails_on_all"
        found.problems.append(Problem(key, name=name, why=failed[0].failures[name], code=MESSAGES))
    elif failed:
        kinds = list(dict.fromkeys(one.kind for one in failed))
        key = "rewards.note.fails_message" if hint else "rewards.note.fails"
        found.warnings.append(Message(key, name=name, kinds=kinds, why=failed[0].failures[name], code=MESSAGES))
    values = {one.components[name] for one in found.tries if name not in one.failures}
    if len(values) == 1 and not failed:
        key = "rewards.note.alike_message" if of_messages else "rewards.note.alike"
        found.warnings.append(Message(key, name=name, value=shown(values.pop()), code=MESSAGES))


def _judge_again(found: Trial, again: Sequence[Try], name: str) -> None:
    """What works once only, a client that was closed after the first call for example, would end the run at step 2."""
    lost = [
        (one, other.failures[name])
        for one, other in zip(found.tries, again, strict=False)
        if name in other.failures and name not in one.failures and other.failures[name].key != NOT_REACHED
    ]
    on_gold = [(one, why) for one, why in lost if one.what == GOLD]
    if on_gold:
        one, why = on_gold[0]
        found.problems.append(Problem("rewards.fails_again", name=name, row=one.row, why=why))
    elif lost:
        kinds = list(dict.fromkeys(one.kind for one, _ in lost))
        found.warnings.append(Message("rewards.note.fails_again", name=name, kinds=kinds, why=lost[0][1]))


def _judge_gold(found: Trial, reward: Reward) -> None:
    golds = {one.row: one.reward for one in found.tries if one.what == GOLD}
    if not golds and reward.gold_template != Reward.model_fields["gold_template"].default:
        found.warnings.append(Message("rewards.note.no_gold"))
    pairs = [(one, golds.get(one.row)) for one in found.tries if one.reward is not None]
    # Of completions that are ranked the second best is paid nearly as much as the best, however bad it is.
    ranks = any(leaf.function == GROUP_JUDGE and leaf.file is None for leaf in reward.leaves())
    told = next(((one, best) for one, best in pairs if one.what == RETOLD and best not in (None, one.reward)), None)
    if told is not None and not ranks:
        found.warnings.append(Message("rewards.note.retold", **_compared(*told)))
    junk = [(one, best) for one, best in pairs if one.what in JUNK and best is not None and _share(one, best) > PAID]
    junk = [pair for pair in junk if not ranks or _share(*pair) >= 1]
    if junk:  # one is enough, the first that is as good as gold or else the best paid: the table shows the others
        above = [pair for pair in junk if _share(*pair) >= 1]
        one, best = above[0] if above else max(junk, key=lambda pair: _share(*pair))
        paying = [name for name, value in one.components.items() if value is not None and value > 0]
        said = Message(FIRST[bool(above)], share=_share(one, best), names=paying, **_compared(one, best))
        # First of all, but where gold earns nothing either: then the other notes say why.
        found.warnings.insert(0 if best > 0 else len(found.warnings), said)


def _share(one: Try, best: float) -> float:
    """Of the gold answer's reward; 1 where that is nothing and not more."""
    reward = one.reward or 0.0
    return reward / best if best > 0 else float(reward >= best)


def _compared(one: Try, best: float | None) -> dict[str, Any]:
    return {"row": one.row, "kind": one.kind, "reward": shown(one.reward), "best": shown(best)}


def shown(value: float | None) -> str | Message:
    """A reward in a sentence."""
    return Message("rewards.try.nothing") if value is None else f"{value:g}"


def table(found: Trial, words: Words) -> list[list[str]]:
    """Rows of text for a terminal, a heading first."""
    names = list(found.tries[0].components) if found.tries else []
    heads = [words("rewards.try.row"), words("rewards.try.completion"), words("rewards.try.reward")]
    lines = [[*heads, *names]]
    for one in found.tries:
        cells = [_cell(one, name, words) for name in names]
        lines.append([str(one.row), words.said(one.kind), _said(shown(one.reward), words), *cells])
    return lines


def _cell(one: Try, name: str, words: Words) -> str:
    failed = one.failures.get(name)
    if name in one.unpaid:
        return words("rewards.try.unpaid", value=f"{one.unpaid[name]:g}")
    return _said(shown(one.components[name]), words) if failed is None else f"! {words.said(failed)}"


def _said(value: str | Message, words: Words) -> str:
    return words.said(value) if isinstance(value, Message) else value
