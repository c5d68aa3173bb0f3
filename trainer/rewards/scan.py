"""The gold answers of all rows tried before a training, in bounded time: one odd row among thousands is in no sample.

Each is judged by the functions that need neither a model nor a server, and read and written by the run's tokenizer as
a completion is. Imports no library of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from trainer.rewards import arithmetic
from trainer.rewards.contract import Completion, Failure, Value
from trainer.rewards.gold_completion import GoldCompletion
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.text import Message

SCAN_S = 10.0
"""After this many seconds no further batch is begun."""
MOST_ROWS = 512
"""Of a batch, which is made so long that it takes about a second."""
SHOWN = 60  # characters of a completion in a sentence


@dataclass(frozen=True)
class Retelling:
    """What the run's tokenizer makes of a text. tell: (prompt, text) -> what a reward function would be given of it,
    had the model written it. specials: its special tokens, which are left out of every completion."""

    tell: Callable[[Any, str], str]
    specials: Sequence[str] = ()

    def lost(self, text: str, told: str) -> list[str]:
        """Special tokens that the text has and its retelling lacks."""
        return [token for token in self.specials if token in text and told.count(token) < text.count(token)]


@dataclass
class _Rows:
    """Rows of which the same is to be said: how many, and the first of them."""

    count: int = 0
    first: dict[str, Any] = field(default_factory=dict)

    def add(self, **first: Any) -> None:
        self.first = self.first or first
        self.count += 1


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """{column: its values}, without the prompt."""
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    return {name: [row.get(name) for row in rows] for name in names}


def as_completions(texts: Sequence[str], prompts: Sequence[Any]) -> list[Completion]:
    """In TRL's form: a message where the prompts are messages."""
    chat = not isinstance(prompts[0], str)
    return [[{"role": "assistant", "content": text}] if chat else text for text in texts]


def scan(
    wrapper: ComponentRewardWrapper, rows: Iterable[Mapping[str, Any]], retelling: Retelling | None = None
) -> list[Message]:
    """What is to be said of the gold answers of `rows`, which have `prompt` as training sends it."""
    found = _Scan(wrapper, retelling)
    numbered, size, started = iter(enumerate(rows)), 8, time.monotonic()
    while time.monotonic() < started + SCAN_S and (batch := list(islice(numbered, size))):
        began = time.monotonic()
        found.look(batch)
        size = max(1, min(MOST_ROWS, int(size / max(time.monotonic() - began, 0.01))))
    return list(found.notes())


class _Scan:
    def __init__(self, wrapper: ComponentRewardWrapper, retelling: Retelling | None) -> None:
        self.wrapper, self.retelling = wrapper, retelling
        self.gold = GoldCompletion(wrapper.reward)
        self.rows = self.right = 0
        self.tags: dict[str, _Rows] = {}
        self.changed, self.wrong = _Rows(), _Rows()
        self.unjudged: dict[str, _Rows] = {}

    def look(self, batch: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        written = [(number, row, text) for number, row in batch if (text := self.gold.of(row)) is not None]
        if not written:
            return
        self.rows += len(written)
        for number, row, text in written:
            self._retell(number, row["prompt"], text)
        rows, texts = [row for _, row, _ in written], [text for _, _, text in written]
        prompts = [row["prompt"] for row in rows]
        ids = [list(range(len(text.split()))) for text in texts]
        values = self.wrapper.light(prompts, as_completions(texts, prompts), completion_ids=ids, **columns_of(rows))
        for name, column in values.items():
            for (number, _, text), value in zip(written, column, strict=True):
                self._judge(name, number, text, value)

    def _retell(self, number: int, prompt: Any, text: str) -> None:
        if self.retelling is None:
            return
        told = self.retelling.tell(prompt, text)
        lost = self.retelling.lost(text, told)
        for token in lost:
            self.tags.setdefault(token, _Rows()).add()
        if not lost and told.strip() != text.strip():
            self.changed.add(row=number, before=text[:SHOWN], after=told[:SHOWN])

    def _judge(self, name: str, number: int, text: str, value: Value) -> None:
        leaf = self.wrapper.leaves[name]
        if isinstance(value, Failure):
            if value.tried:
                self.unjudged.setdefault(name, _Rows()).add(row=number, why=value.why)
        elif value is None:
            if leaf.file is None:  # a function of a person's own may be of some rows only
                why = Message("rewards.note.gold_unread", text=text[:SHOWN])
                self.unjudged.setdefault(name, _Rows()).add(row=number, why=why)
        elif name == self.wrapper.correct_name:
            (shown,) = arithmetic.plain(leaf, {name: [value]})
            if isinstance(shown, float) and shown < self.wrapper.reward.correct_at:
                self.wrong.add(row=number, text=text[:SHOWN], value=f"{shown:g}")
            else:
                self.right += 1

    def notes(self) -> Iterator[Message]:
        if self.tags:
            count = max(each.count for each in self.tags.values())
            yield tags_lost(list(self.tags), count, self.rows)
        if self.changed.count:
            yield Message("rewards.note.retold_text", count=self.changed.count, rows=self.rows, **self.changed.first)
        for name, found in self.unjudged.items():
            yield Message("rewards.note.gold_unjudged", name=name, count=found.count, rows=self.rows, **found.first)
        if self.wrong.count and self.right:  # else it is no odd row, and the trial has said so
            name = self.wrapper.correct_name
            yield Message(
                "rewards.note.gold_wrong", name=name, count=self.wrong.count, rows=self.rows, **self.wrong.first
            )


def tags_lost(tags: Sequence[str], count: int, rows: int) -> Message:
    """count: of `rows` gold answers those that hold one of the tags."""
    return Message("rewards.note.tags_lost", tags=list(tags), count=count, rows=rows)
