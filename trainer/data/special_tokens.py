"""The run's tokenizer without transformers, where its files lie on this machine, and the special tokens that it drops.

What a model writes reaches the rewards without its special tokens. A tag of the gold answers that is one of them never
arrives. No torch; `tokenizers` is imported when it is needed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data import chat_template
from trainer.rewards.gold_completion import GoldCompletion
from trainer.rewards.scan import Retelling, tags_lost
from trainer.spec import RunSpec
from trainer.text import Message

MARKS = "<[|{"
"""Every special token that looks like a tag has one of these; a text without them is not worth loading a tokenizer."""


@functools.lru_cache(maxsize=4)
def tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / chat_template.TOKENIZER))


def retelling(spec: RunSpec) -> Retelling | None:
    """None where the tokenizer is not on this machine, or a chat is parsed by a response template: that needs
    transformers, and the worker does it before step 1."""
    place = chat_template.folder_of(spec)
    if place is None or not (place / chat_template.TOKENIZER).is_file() or (spec.data.chat and _parses(place)):
        return None
    try:
        core = tokenizer(place)
    except Exception:  # tokenizers has no other; the load of the model says what is wrong with its files
        return None

    def tell(prompt: Any, text: str) -> str:
        return str(core.decode(core.encode(text, add_special_tokens=False).ids, skip_special_tokens=True))

    return Retelling(tell, [token.content for token in core.get_added_tokens_decoder().values() if token.special])


def _parses(place: Path) -> bool:
    return not {"response_template", "response_schema"}.isdisjoint(chat_template.settings(place))


@dataclass
class Tags:
    """Looks for special tokens in the gold completions of all rows of one file."""

    spec: RunSpec
    rows: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        self._gold = GoldCompletion(self.spec.reward)
        self._specials: list[str] | None = None
        self._found: dict[str, None] = {}

    def look(self, columns: dict[str, Any]) -> None:
        text = self._gold.of(columns)
        if text is None:
            return
        self.rows += 1
        if any(mark in text for mark in MARKS):
            found = [token for token in self._known() if token in text]
            self._found.update(dict.fromkeys(found))
            self.count += bool(found)

    def _known(self) -> list[str]:
        if self._specials is None:
            told = retelling(self.spec)
            self._specials = list(told.specials) if told is not None else []
        return self._specials

    def warnings(self) -> list[Message]:
        return [tags_lost(list(self._found), self.count, self.rows)] if self._found else []
