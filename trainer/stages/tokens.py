"""A text as the tokens that the model would have to sample: what GRPO then reinforces is what was taught here."""

from __future__ import annotations

from typing import Any

from trainer.data.chat_template import ended
from trainer.data.dataset import prompt_ids


def completion_ids(
    tokenizer: Any, prompt: Any, text: str, ends: set[int], chat_template_kwargs: dict[str, Any] | None = None
) -> list[int]:
    """Tokens of `text` as an answer to `prompt`, with the token that ends it.

    Of a chat as the template writes the turn, up to its end; where the template writes the prompt otherwise once it is
    answered (an empty thought, say), and for plain text, the text's own tokens and the tokenizer's end.
    """
    if not isinstance(prompt, str):
        asked = prompt_ids(prompt, tokenizer, chat_template_kwargs)
        turn = [*prompt, {"role": "assistant", "content": text}]
        with ended(tokenizer.name_or_path):
            whole = tokenizer.apply_chat_template(
                turn, tokenize=True, return_dict=True, **(chat_template_kwargs or {})
            )["input_ids"]
        said = list(whole[len(asked) :])
        last = next((place for place, token in enumerate(said, 1) if token in ends), None)
        if whole[: len(asked)] == asked and last is not None:
            return said[:last]
    return [*tokenizer(text=text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
