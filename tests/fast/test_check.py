"""What keeps a model from sharing its prompts is found before the first use, and the run goes on as TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.fast.pairs import VOCABULARY, Fixed, Ours, apart, change, make, model
from trainer.fast import cache, prefixes, reasons, update
from trainer.fast.decoding import Decoding, NotPlain
from trainer.fast.prefixes import NotShared, pass_over
from trainer.text import Message


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(update.CALL, "cpu", 4)


def trained(folder: Path, **config: Any) -> tuple[float, list[Message]]:
    """(distance to TRL's change of the weights, what was told)"""
    told: list[Message] = []
    theirs = make(Fixed, "qwen3", folder, **config)
    ours = make(Ours, "qwen3", folder, fast={"fast": "auto", "tell": told.append}, **config)
    return apart(change(ours), change(theirs)), told


def why(told: list[Message]) -> list[str]:
    return [message.values["why"].key for message in told]


def test_a_place_that_is_one_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.Front, "update", _shifted(cache.Front.update))
    distance, told = trained(tmp_path)
    assert why(told) == ["fast.why.differs"]
    assert distance < 1e-5


def _shifted(function: Any) -> Any:
    def update(self: Any, keys: Any, values: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, keys.roll(1, 2), values, *args, **kwargs)

    return update


def test_a_gradient_through_the_prompts_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As re-entrant checkpointing would lose it: the log-probabilities are right, the gradient is far off."""
    monkeypatch.setattr(prefixes, "_leaf", lambda tensor: tensor.detach())
    distance, told = trained(tmp_path, beta=0.1)
    assert why(told) == ["fast.why.differs"]
    assert told[0].values["why"].values["distance"] > 0.1
    assert distance < 1e-5


@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_a_prompt_goes_no_further_than_its_last_keys_and_values(kind: str, checkpointing: bool) -> None:
    made = model(kind).train()
    if checkpointing:
        made.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    reached: list[int] = []
    for number, layer in enumerate(made.model.layers):
        layer.mlp.register_forward_hook(lambda *_, number=number: reached.append(number))
    kinds = cache.windows(made.config)
    assert kinds is not None
    pairs = pass_over(made, made.config, kinds, [torch.arange(3, 9)])
    assert reached == list(range(len(kinds) - 1))
    sum(keys.sum() + values.square().sum() for keys, values in pairs).backward()
    before = {name for name, weight in made.named_parameters() if weight.grad is not None}
    assert not any(f"layers.{len(kinds) - 1}.mlp" in name or name.startswith("model.norm") for name in before)
    assert f"model.layers.{len(kinds) - 1}.self_attn.k_proj.weight" in before


def test_keys_and_values_without_a_graph_are_refused() -> None:
    made = model("qwen3").train()
    made.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    kinds = cache.windows(made.config)
    assert kinds is not None
    with pytest.raises(NotShared, match="no_graph"):
        pass_over(made, made.config, kinds, [torch.arange(3, 12)])


def test_a_model_that_fails_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("unexpected keyword argument")

    monkeypatch.setattr(cache.Front, "update", fails)
    distance, told = trained(tmp_path)
    assert why(told) == ["fast.why.fails"]
    assert distance < 1e-5


def test_out_of_memory_is_no_fault_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cache.Front, "update", fails)
    with pytest.raises(torch.OutOfMemoryError):
        trained(tmp_path)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotary_positions_that_depend_on_the_longest_row(kind: str, tmp_path: Path) -> None:
    """The check would not see it: the first rows may all be short."""
    made, told = model("llama"), list[Message]()
    made.config.rope_parameters["rope_type"] = kind
    assert reasons.why_not(make(Ours, made, tmp_path)).shared == "positions"
    given = {"do_sample": False, "max_new_tokens": 2, "pad_token_id": 0}
    with pytest.raises(NotPlain):
        made.generate(torch.tensor([[4, 9, 17]]), **given, custom_generate=Decoding(told.append))
    assert why(told) == ["fast.why.positions"]


def test_learned_positions_count_the_padding_before_a_prompt(tmp_path: Path) -> None:
    """In TRL, which gives none; rows without an advantage are left out all the same."""
    sizes = {"vocab_size": VOCABULARY, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "pad_token_id": 0}
    found = []
    for base, more in ((Fixed, None), (Ours, {"fast": "auto"})):
        torch.manual_seed(3)
        made = GPT2LMHeadModel(GPT2Config(**sizes, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
        for weight in made.parameters():
            weight.data.mul_(4)
        trainer = make(base, made, tmp_path, fast=more)
        found.append((change(trainer), trainer.read))
    assert trainer.fast.shared == "learned"
    assert trainer._pads, "also where something else keeps the prompts from being shared"
    assert apart(found[1][0], found[0][0]) < 1e-5
    assert found[1][1] < found[0][1]


def test_what_can_be_seen_without_trying_is(tmp_path: Path) -> None:
    made = make(Ours, "qwen3", tmp_path)
    assert reasons.why_not(made) == (None, None, None)
    made.beta = 0.1
    assert reasons.why_not(made) == (None, None, "beta")
    made.loss_type = "bnpo"
    assert reasons.why_not(made) == (None, "micro_batches", "beta")
    made.model.config.attention_dropout = 0.1
    assert reasons.why_not(made).shared == "dropout"
    made.use_liger_kernel = True
    assert reasons.why_not(made).shared == "liger"
