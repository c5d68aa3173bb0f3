"""The pretrained built-in model: its own tokenizer and chat template, its own end of a turn, that it has read things,
and steps of GRPO on it. Its weights come from the package registry, once; without one these tests skip.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import smollm2, tiny_trainer
from trainer import engine, presets
from trainer.data import dataset
from trainer.engine.smollm2 import NAME
from trainer.memory import embedded, known
from trainer.spec import RunSpec


@pytest.fixture(scope="module")
def spec() -> RunSpec:
    return presets.load("smollm2", ["lora.r=4"])


@pytest.fixture(scope="module")
def loaded(spec: RunSpec) -> Any:
    smollm2()
    return engine.load(spec, engine.resolve(spec))


@pytest.fixture(scope="module")
def tokenizer(loaded: Any) -> Any:
    return loaded.tokenizer


@pytest.fixture(scope="module")
def model(loaded: Any) -> Any:
    return loaded.model


def asked(tokenizer: Any, *questions: str) -> Any:
    chats = [[{"role": "user", "content": question}] for question in questions]
    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    return tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)


def test_its_tokens_are_those_of_the_published_model(tokenizer: Any) -> None:
    assert tokenizer("in 1234 x  12")["input_ids"] == tokenizer.convert_tokens_to_ids(
        ["in", "\u0120", "1", "2", "3", "4", "\u0120x", "\u0120\u0120", "1", "2"]
    )
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
    assert len(tokenizer) == embedded.BUILTIN_CONFIGS[NAME]["vocab_size"]
    ids = tokenizer("<|im_start|>user\nhi<|im_end|>")["input_ids"]
    assert (ids[0], ids[-1]) == (1, 2)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\nhi"


# "<" begins a token that is decoded to nothing. The published vocabulary has no token for six control characters, nor
# for how UTF-8 begins most of what lies beyond the assigned planes.
CHARACTERS = st.characters(max_codepoint=0x3FFFF, exclude_characters="<\x04\x06\x13\x14\x16\x1d", codec="utf-8")


@settings(max_examples=60, deadline=None)
@given(text=st.text(CHARACTERS))
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_its_chat_template_says_who_speaks_and_who_is_next(tokenizer: Any) -> None:
    chat = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hi"}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    turns = ("system\nBe short.", "user\nhi")
    assert text == "".join(f"<|im_start|>{turn}<|im_end|>\n" for turn in turns) + "<|im_start|>assistant\n"


def test_it_has_as_many_weights_as_the_estimate_counts(model: Any) -> None:
    shape = known.of(NAME)
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


def test_steps_of_grpo_on_it_move_its_adapter_alone(spec: RunSpec, loaded: Any, tmp_path: Path) -> None:
    model = copy.deepcopy(loaded.model)
    before = {name: value.clone() for name, value in model.state_dict().items() if "layers.7." in name}
    rows = dataset.load(spec, loaded.tokenizer).train.select(range(8)).to_list()
    trainer, recorder = tiny_trainer(
        tmp_path, model=model, tokenizer=loaded.tokenizer, data=rows, reward=spec.reward,
        peft_config=loaded.peft_config, max_completion_length=24, max_steps=2,
    )  # fmt: skip
    trainer.train()
    assert [step for step, _, _ in recorder.steps] == [1, 2]
    assert all(math.isfinite(logs["loss"]) for _, logs, _ in recorder.steps)
    assert any(logs["grad_norm"] > 0 for _, logs, _ in recorder.steps)
    ended: list[str] = []  # by a token that is decoded to nothing
    for _, batch in recorder.batches:
        assert all(text.endswith("<|im_start|>assistant\n") for text in batch.seen or [])
        ended += [text for text, cut in zip(batch.completions, batch.truncated, strict=True) if not cut]
    assert ended and not any("<|im_end|>" in text for text in ended)
    weights = dict(trainer.model.named_parameters())
    moved = {name for name, value in weights.items() if "lora_B" in name and value.any()}
    assert len(moved) == 30 * 7
    for name, value in before.items():
        place = name.removesuffix(".weight")
        (now,) = (each for known, each in weights.items() if place in known and "lora" not in known)
        assert now.equal(value)
