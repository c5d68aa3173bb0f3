"""What stands in for a real tokenizer and real data on a machine without network.

The tokenizer has exactly as many tokens as the model's vocabulary, so that logits, embeddings and samples are as large
as the real ones. Every text comes back unchanged from encode and decode. A token is a byte or a word of four small
letters; random samples of a random model are therefore readable text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.spec import RunSpec

SPECIAL = ("<|pad|>", "<|bos|>", "<|eos|>", "<|unk|>", "<|im_start|>", "<|im_end|>")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD = "[a-z]{4}"
MOST = len(SPECIAL) + 256 + len(LETTERS) ** 4
ANSWER = "The sum is worked out step by step.\n#### 42"
# ChatML, written by hand: it says add_generation_prompt, which Unsloth looks for in a template.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def word(number: int) -> str:
    """The number-th word of four letters; the last letter changes fastest."""
    letters = ""
    for _ in range(4):
        number, last = divmod(number, len(LETTERS))
        letters = LETTERS[last] + letters
    return letters


def vocabulary(size: int) -> dict[str, int]:
    """Special tokens, the 256 bytes, then words up to `size`."""
    from tokenizers.pre_tokenizers import ByteLevel

    least = len(SPECIAL) + 256
    if not least < size <= MOST:
        raise ValueError(f"a vocabulary of {size}: more than {least} and at most {MOST} tokens can be made")
    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet()), *(word(number) for number in range(size - least))]
    return {token: number for number, token in enumerate(tokens)}


def make_tokenizer(size: int, max_length: int = 131_072) -> Any:
    """A PreTrainedTokenizerFast with `size` tokens, a chat template and everything a trainer asks for."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # Without merges a piece is one token if the vocabulary has it, else its bytes.
    core = Tokenizer(models.BPE(vocab=vocabulary(size), merges=[], ignore_merges=True))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|im_end|>",
        unk_token="<|unk|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def write_rows(path: Path, spec: RunSpec, tokenizer: Any, count: int = 64) -> int:
    """Rows whose rendered prompts have max_prompt_length tokens; returns the tokens of the shortest.

    The columns are named as the preset's source names them, because `data.columns` of the preset renames them.
    """
    lengths = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii") as lines:
        for row, tokens in _rows(spec, tokenizer, count):
            lengths.append(tokens)
            lines.write(json.dumps({spec.data.columns.get(key, key): value for key, value in row.items()}) + "\n")
    return min(lengths)


def _rows(spec: RunSpec, tokenizer: Any, count: int) -> Iterator[tuple[dict[str, Any], int]]:
    from trainer.data import dataset, sources

    kwargs = spec.trl.get("chat_template_kwargs")
    known = len(tokenizer) - len(SPECIAL) - 256
    prompt_column = next(iter(sources.needed_columns(spec)))

    def row_of(words: int, start: int) -> dict[str, Any]:
        text = "".join(word((start + 7919 * number) % known) for number in range(max(1, words)))
        return {name: text if name == prompt_column else ANSWER for name in sources.needed_columns(spec)}

    def tokens_of(row: dict[str, Any]) -> int:
        return len(dataset.prompt_ids(dataset.with_prompt(row, spec.data)["prompt"], tokenizer, kwargs))

    frame = tokens_of(row_of(1, 0)) - 1
    for index in range(count):
        row = row_of(spec.data.max_prompt_length - frame, 104_729 * index)
        yield row, tokens_of(row)
