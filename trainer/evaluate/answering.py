"""Answers to prompts in batches: the one way in which an evaluation generates, with or without sampling.

What comes out is what a training would give its reward functions for the same tokens (TRL 1.14.2, grpo_trainer.py
`_generate`): cut after the first end token, parsed with the tokenizer's response template where it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from trl.chat_template_utils import parse_response

from trainer.data.chat_template import ended
from trainer.data.dataset import prompt_ids
from trainer.episodes import transcript
from trainer.grpo.generation_guard import generation_mode
from trainer.rewards.contract import Completion, text_of
from trainer.rewards.played import Played
from trainer.rewards.scan import Retelling
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.text import Message

Interrupted = Callable[[], bool]
GREEDY: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


@dataclass(frozen=True)
class Answers:
    """completions: text, or for a chat a list with the assistant's message, or the messages of all turns. ids: their
    tokens, with the end token. played: of episodes what their environments say of them, else []."""

    completions: list[Completion]
    ids: list[list[int]]
    played: list[Played] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        if not self.played:
            return [text_of(completion) for completion in self.completions]
        return [transcript.text(transcript.turns_of(completion)) for completion in self.completions]


def answer(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Any],
    decoding: dict[str, Any],
    *,
    batch_size: int,
    chat_template_kwargs: dict[str, Any] | None = None,
    interrupted: Interrupted = lambda: False,
) -> Answers | None:
    """One answer to each prompt, `batch_size` at once; None when `interrupted` between two batches.

    decoding: arguments of generate, e.g. GREEDY | {"max_new_tokens": 64}.
    """
    completions: list[Completion] = []
    ids: list[list[int]] = []
    with generation_mode(model), torch.no_grad():
        for start in range(0, len(prompts), batch_size):
            if interrupted():
                return None
            batch = prompts[start : start + batch_size]
            asked = [prompt_ids(prompt, tokenizer, chat_template_kwargs) for prompt in batch]
            said = _generate(model, tokenizer, asked, decoding)
            completions += completions_of(tokenizer, batch, asked, said)
            ids += said
    return Answers(completions, ids)


@dataclass(frozen=True)
class Scored:
    """Row by row: rewards, and components, correct and failures as last_components, last_correct and last_reasons of
    the ComponentRewardWrapper have them."""

    rewards: list[float | None]
    components: dict[str, list[float | None]]
    correct: list[bool | None]
    failures: list[dict[str, Message]]

    @property
    def failed(self) -> int:
        """Completions that a component could not judge."""
        return sum(map(bool, self.failures))

    @property
    def first_failure(self) -> Message | None:
        """Component and reason of the first of them; None without one."""
        found = ((name, why) for row in self.failures for name, why in row.items())
        return next((Message("evaluate.failure", component=name, said=why) for name, why in found), None)


def score(
    wrapper: ComponentRewardWrapper,
    rows: Sequence[dict[str, Any]],
    answers: Answers,
    *,
    batch_size: int,
    interrupted: Interrupted = lambda: False,
) -> Scored | None:
    """What the run's rewards say of each answer; None when `interrupted` between two batches.

    batch_size: completions that share one reward.deadline_s; a training gives it to a generation batch.
    """
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    found = Scored([], {name: [] for name in wrapper.leaves}, [], [])
    for start in range(0, len(rows), batch_size):
        if interrupted():
            return None
        batch = slice(start, start + batch_size)
        found.rewards.extend(
            wrapper.score(
                prompts=[row["prompt"] for row in rows[batch]],
                completions=answers.completions[batch],
                completion_ids=answers.ids[batch],
                **({"environments": answers.played[batch]} if answers.played else {}),
                **{name: [row.get(name) for row in rows[batch]] for name in names},
            )
        )
        for name, values in wrapper.last_components.items():
            found.components[name] += values
        found.correct.extend(wrapper.last_correct)
        found.failures.extend(wrapper.last_reasons)
    return found


def _generate(model: Any, tokenizer: Any, asked: list[list[int]], decoding: dict[str, Any]) -> list[list[int]]:
    """Tokens written after each prompt, up to and with the first end token."""
    padded = tokenizer.pad({"input_ids": asked}, padding_side="left", return_tensors="pt").to(model.device)
    output = model.generate(**padded, **decoding, use_cache=True, pad_token_id=tokenizer.pad_token_id)
    ends = ends_of(model, tokenizer)
    written: list[list[int]] = output[:, padded["input_ids"].shape[1] :].tolist()
    return [_to_end(row, ends) for row in written]


def ends_of(model: Any, tokenizer: Any) -> set[int]:
    """Tokens after which a completion is over."""
    declared = model.generation_config.eos_token_id
    found = {tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])}
    return {token for token in found if token is not None}


def _to_end(row: list[int], ends: set[int]) -> list[int]:
    length = next((place for place, token in enumerate(row, 1) if token in ends), len(row))
    return row[:length]


def completions_of(
    tokenizer: Any, prompts: Sequence[Any], asked: list[list[int]], said: list[list[int]]
) -> list[Completion]:
    """In TRL's form. A chat whose template marks thinking or channels (gpt-oss) is parsed, so that the content is what
    the user would see; else special tokens are left out of the text."""
    chat = not isinstance(prompts[0], str)
    if chat and any(getattr(tokenizer, f"response_{kind}", None) is not None for kind in ("template", "schema")):
        return [[parse_response(tokenizer, ids, prefix=prompt)] for ids, prompt in zip(said, asked, strict=True)]
    texts: list[str] = tokenizer.batch_decode(said, skip_special_tokens=True)
    return [[{"role": "assistant", "content": text}] for text in texts] if chat else list(texts)


def retelling(tokenizer: Any, chat_template_kwargs: dict[str, Any] | None = None) -> Retelling:
    """What becomes of a text that a model with this tokenizer writes, on its way to the rewards."""
    parses = any(getattr(tokenizer, f"response_{kind}", None) is not None for kind in ("template", "schema"))
    specials = list(dict.fromkeys([*tokenizer.all_special_tokens, *_added(tokenizer)]))

    def tell(prompt: Any, text: str) -> str:
        asked, said = [], tokenizer(text=text, add_special_tokens=False)["input_ids"]
        if parses and not isinstance(prompt, str):
            asked = prompt_ids(prompt, tokenizer, chat_template_kwargs)
            # A model writes the marks of its channels too, where the text does not have them itself.
            turn = [*prompt, {"role": "assistant", "content": text}]
            with ended(tokenizer.name_or_path):
                whole = tokenizer.apply_chat_template(
                    turn, tokenize=True, return_dict=True, **(chat_template_kwargs or {})
                )["input_ids"]
            if whole[: len(asked)] == asked and not any(token in text for token in specials):
                said = whole[len(asked) :]
        return text_of(completions_of(tokenizer, [prompt], [asked], [said])[0])

    return Retelling(tell, specials)


def _added(tokenizer: Any) -> list[str]:
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
