"""Rows as prompts: instruction, few-shot examples and template put together as they will be sent.

Imports the spec and rows.py; nothing heavy.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from trainer.data.rows import Row, fields, reserved
from trainer.errors import DataError, Problem
from trainer.rewards.gold_completion import GoldCompletion
from trainer.spec import Data, FewShot, RunSpec

POOL = 1000
"""Examples of one type that are kept; rows of a larger file get theirs from a sample of this size."""
MAX_TYPES = 1000
"""Types few-shot examples may have; a column with more is no type."""
_QUOTES = str.maketrans("", "", "\"'“”\u2018\u2019«»「」『』`")
_ENDS = ".,;:?。、…"  # at the end of a word only: 1.5 is not 15
_FACTORIAL = re.compile(r"\d!")
_TWO_NUMBERS = re.compile(r"\d \d")
WORDS = re.compile(r"\w+")


def question(row: dict[str, Any], data: Data) -> str:
    """What varies of a prompt: the user's text without instruction and few-shot examples, for comparing rows."""
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)
    if data.prompt_template == "{prompt}":
        return str(prompt)
    made = {name: "" for name in ("instruction", "few_shot") if getattr(data, name) is not None}
    return data.prompt_template.format_map(row | made)


def folded(text: str) -> str:
    """NFKC in small letters."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def normalised(text: str) -> str:
    """Folded, without white space, quotes and the punctuation of sentences.

    What tells two sums apart stays: `3 - 4` is not `3 + 4`, `1.5` not `15`, `1 23` not `12 3`, `3!` not `3`.
    """
    text = folded(text).translate(_QUOTES)
    if "!" in text and not _FACTORIAL.search(text):
        text = text.replace("!", "")
    spaced = " ".join([word.rstrip(_ENDS) for word in text.split()])
    return spaced if _TWO_NUMBERS.search(spaced) else spaced.replace(" ", "")


def key_of(text: str) -> int:
    """64 bits that stand for a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def alike(text: str) -> int:
    """Key of the normal form: the same for texts that differ by case, space, quotes or marks. Of nothing but marks,
    that of the text itself: `???` is not `...`."""
    return key_of(normalised(text) or text)


def exactly(text: str) -> int:
    """Key of the text but for white space around it and for how accents are put together."""
    return key_of(unicodedata.normalize("NFC", text.strip()))


def keys_of(columns: dict[str, Any], data: Data, few_shot: FewShot | None = None) -> tuple[int, ...]:
    """By what rows ask the same, in normal form: the question, where the row has its columns, and what a few-shot
    example shows of it. That are the columns of both templates, or the whole example where they have none in common.
    """
    keys = []
    made = {name for name in ("instruction", "few_shot") if getattr(data, name) is not None}
    asked = set(fields(data.prompt_template)) - made
    if isinstance(columns.get("prompt"), list) or asked <= columns.keys():
        keys.append(alike(question(columns, data)))
    if few_shot is not None:
        types = {few_shot.by, data.instruction.by if data.instruction is not None else None}
        shared = [name for name in dict.fromkeys(fields(few_shot.template)) if name in asked - types]
        if shared and columns.keys() >= set(shared):
            keys.append(alike("\n".join(str(columns[name]) for name in shared)))
        elif not shared and columns.keys() >= set(fields(few_shot.template)):
            keys.append(alike(few_shot.template.format_map(columns)))
    return tuple(keys)


def with_prompt(row: dict[str, Any], data: Data) -> dict[str, Any]:
    """The row with `prompt` as TRL wants it: messages for a chat, else text; and with the column `instruction`.

    A row of a run with few-shot examples has the column `few_shot` already (Renderer puts it there).
    """
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        return row
    if data.instruction is not None:
        row = row | {"instruction": data.instruction.texts[str(row[data.instruction.by])]}
    text = data.prompt_template.format_map(row)
    if not data.chat:
        return row | {"prompt": text}
    system = [{"role": "system", "content": data.system_prompt}] if data.system_prompt else []
    return row | {"prompt": [*system, {"role": "user", "content": text}]}


@dataclass
class Pool:
    """Few-shot examples by type: those of the lowest hashes, so that neither order nor size of the file matters."""

    few_shot: FewShot
    data: Data
    seed: int
    apart: frozenset[int] = frozenset()
    """Keys (keys_of) of questions that may be no example: those held out."""
    gold: GoldCompletion | None = None
    """Writes gold answers that are no text."""
    left_out: list[int] = field(default_factory=list)
    """Lines of the rows that are no example for that."""
    _heaps: dict[str, list[tuple[int, tuple[int, ...], str]]] = field(default_factory=dict)
    _known: dict[str, dict[int, tuple[int, ...]]] = field(default_factory=dict)
    """{type: {key of an example: all keys of it}}."""

    def add(self, row: Row, name: str) -> None:
        """Raises DataError when the column of types has more than MAX_TYPES values."""
        keys = keys_of(row.columns, self.data, self.few_shot)
        if not self.apart.isdisjoint(keys):
            self.left_out.append(row.line)
            return
        kind = self.type_of(row.columns)
        known = self._known.setdefault(kind, {})
        if not known.keys().isdisjoint(keys):  # a second example of one question would teach nothing
            return
        if len(self._known) > MAX_TYPES:
            raise DataError(
                Problem("data.many_types", f"{name}:{row.line}", column=str(self.few_shot.by), most=MAX_TYPES)
            )
        heap = self._heaps.setdefault(kind, [])
        rank = -key_of(f"{self.seed} {keys[0]}")  # the root of a heap is its lowest: the highest hash leaves first
        if len(heap) == POOL and rank < heap[0][0]:
            return
        known.update(dict.fromkeys(keys, keys))
        shown = self.gold.columns(row.columns) if self.gold is not None else row.columns
        heapq.heappush(heap, (rank, keys, self.few_shot.template.format_map(shown)))
        if len(heap) > POOL:
            for key in heapq.heappop(heap)[1]:
                known.pop(key, None)

    def type_of(self, columns: dict[str, Any]) -> str:
        return str(columns.get(self.few_shot.by)) if self.few_shot.by else ""

    def others(self, columns: dict[str, Any]) -> int:
        """Examples of the row's type that are not the row itself."""
        kind = self.type_of(columns)
        known = self._known.get(kind, {})
        own = {known[key] for key in keys_of(columns, self.data, self.few_shot) if key in known}
        return self.size(kind) - len(own)

    def problem(self, columns: dict[str, Any], where: str) -> Problem | None:
        """Too few examples for a row."""
        count, others = self.few_shot.count, self.others(columns)
        if others >= count:
            return None
        return self.too_few(others, self.type_of(columns), where)

    def too_few(self, others: int, kind: str, where: str) -> Problem:
        """others: examples a row of that type can be shown."""
        counted = {"others": max(others, 0), "wanted": self.few_shot.count, "most": max(others, 1)}
        if not self.few_shot.by:
            return Problem("data.few_examples", where, **counted)
        return Problem("data.few_of_type", where, kind=repr(kind), **counted)

    def draw(self, columns: dict[str, Any]) -> str:
        """The text of a row's examples: the same for the same seed and contents, whatever the order of the rows.

        Raises DataError when there are too few.
        """
        if problem := self.problem(columns, "data.few_shot"):
            raise DataError(problem)
        own = set(keys_of(columns, self.data, self.few_shot))
        examples = self._heaps[self.type_of(columns)]
        content = json.dumps(columns, sort_keys=True, default=str)
        seen = random.Random(key_of(f"{self.seed} {content}"))
        drawn = seen.sample(examples, min(len(examples), self.few_shot.count + len(own)))
        texts = [text for _, keys, text in drawn if own.isdisjoint(keys)]
        return self.few_shot.separator.join(texts[: self.few_shot.count])

    def size(self, kind: str) -> int:
        return len(self._heaps.get(kind, ()))

    def freeze(self) -> None:
        """After the last `add`, before the first `draw`: an order that does not depend on that of the rows."""
        for heap in self._heaps.values():
            heap.sort(reverse=True)


def fill(pool: Pool, rows: Iterable[Row], name: str) -> Pool:
    for row in rows:
        pool.add(row, name)
    pool.freeze()
    return pool


@dataclass(frozen=True)
class Renderer:
    """Rows of a run -> rows with `prompt`, and `instruction` and `few_shot` where they are configured."""

    spec: RunSpec
    pool: Pool | None = None

    def row(self, columns: dict[str, Any]) -> dict[str, Any]:
        if self.pool is not None:
            columns = columns | {"few_shot": self.pool.draw(columns)}
        row = with_prompt(columns, self.spec.data)
        taken = reserved(self.spec)  # TRL would pass them twice, or not at all
        return row if taken.isdisjoint(row) else {name: value for name, value in row.items() if name not in taken}
