"""How long prompts are, and how a model's chat template puts them, without transformers.

Exact where the tokenizer lies on this machine: in the folder of the model, in the Hub's cache, or made for a built-in
model. Otherwise an estimate, which says so. No gradio; `tokenizers` is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.data import chat_template, special_tokens
from trainer.data.chat_template import ChatTemplate, Refusal
from trainer.errors import DataError, Problem
from trainer.memory.embedded import knows_nothing
from trainer.spec import RunSpec

CHARACTERS_A_TOKEN = 4  # of English; fewer of Korean
ROWS_CPU_S = 5  # for all rows that are shown
Basis = Literal["exact", "characters", "guess"]


@dataclass(frozen=True)
class Reader:
    """basis: `exact`, `characters` (a built-in model has one token for each) or `guess` (characters / 4)."""

    basis: Basis
    count: Callable[[str], int]
    template: ChatTemplate | None
    """The model's chat template; None where it is not on this machine."""

    def sent(self, prompts: Sequence[str | list[dict[str, Any]]]) -> list[str | None]:
        """Rendered prompts as the model will see them; None for messages without the template.

        Raises DataError where the template refuses one.
        """
        if self.template is None:
            return [one if isinstance(one, str) else None for one in prompts]
        chats = [{"messages": one} for one in prompts if not isinstance(one, str)]
        put = iter(self.template.render(chats, ROWS_CPU_S) if chats else ())
        texts = [one if isinstance(one, str) else next(put) for one in prompts]
        if refused := [one for one in texts if isinstance(one, Refusal)]:
            raise DataError(Problem.plain("", refused[0].said))
        return [one for one in texts if isinstance(one, str)]

    def tokens(self, prompt: str | list[dict[str, Any]], sent: str | None) -> int:
        """Tokens of a rendered prompt. Without the template a message counts 4 tokens more than its text."""
        if sent is not None:
            return self.count(sent)
        return sum(self.count(str(message["content"])) + 4 for message in prompt if isinstance(message, dict))


def reader(spec: RunSpec, with_template: bool = True) -> Reader:
    """Raises DataError where the model's chat template cannot be read; not without it."""
    folder = chat_template.folder_of(spec)
    if folder is None or not (folder / chat_template.TOKENIZER).is_file():
        if knows_nothing(spec.model.name):
            return Reader("characters", len, None)
        return Reader("guess", lambda text: -(-len(text) // CHARACTERS_A_TOKEN), None)
    tokenizer = special_tokens.tokenizer(folder)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return Reader("exact", count, chat_template.of_model(spec) if with_template else None)


def histogram(counts: Sequence[int], limit: int, bars: int = 24) -> list[tuple[int, int, int]]:
    """(from, to, how many) of equal widths from 0 to the largest count or the limit, whichever is more."""
    width = max(1, -(-(max([limit, *counts]) + 1) // bars))
    found = [0] * bars
    for count in counts:
        found[min(count // width, bars - 1)] += 1
    return [(place * width, (place + 1) * width - 1, number) for place, number in enumerate(found)]
