"""Today's architectures: loaded by the engine, generated from behind the guard, trained for a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.architectures import EACH, config_of, make
from tests.builders import tiny_trainer
from trainer.engine import transformers_engine, unsloth_engine
from trainer.engine.interface import Choice
from trainer.grpo.generation_guard import generation_mode
from trainer.memory import known
from trainer.spec import Component, Reward, RunSpec

# Half of all random completions earn it.
SPREAD = Reward(components=[Component(function="format_regex", params={"pattern": "(?s).*[a-m].*"})])


@pytest.fixture(params=EACH)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make(request.param, tmp_path / "model")


def load(folder: Path, **model: Any) -> Any:
    spec = RunSpec.model_validate(
        {"model": {"name": str(folder), **model}, "lora": {"enabled": True, "r": 4}, "data": {"path": "rows.jsonl"},
         "reward": {"components": [{"function": "exact_match"}]}}
    )  # fmt: skip
    return transformers_engine.load(spec, Choice("transformers", "cpu", "float32"), str(folder))


def test_a_step_is_taken(folder: Path, tmp_path: Path) -> None:
    loaded = load(folder)
    trainer, recorder = tiny_trainer(
        tmp_path / "run", model=loaded.model, peft_config=loaded.peft_config, max_steps=1, reward=SPREAD,
        gradient_checkpointing=True, beta=0.04,
    )  # fmt: skip
    trainer.train()
    (_, logs, _), *_ = recorder.steps
    assert 0 < logs["grad_norm"] < 1e4


PROMPTS = [[5, 9, 11], [7, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]]  # the second is longer than the window


def test_what_is_generated_is_what_the_update_sees(folder: Path) -> None:
    """The log-probabilities of a step's tokens while they are generated, behind padding, and in one pass over all."""
    loaded = load(folder)
    model, pad = loaded.model, loaded.tokenizer.pad_token_id
    longest = max(map(len, PROMPTS))
    ids = torch.tensor([[pad] * (longest - len(each)) + each for each in PROMPTS])
    mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in PROMPTS])
    model.train()
    model.gradient_checkpointing_enable()
    with generation_mode(model), torch.no_grad():
        said = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=8, min_new_tokens=8, do_sample=False, use_cache=True,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    model.eval()
    whole = torch.cat([mask, torch.ones(2, 8, dtype=mask.dtype)], dim=1)
    with torch.no_grad():
        seen = model(input_ids=said.sequences, attention_mask=whole, use_cache=False).logits[:, longest - 1 : -1]
    apart = torch.stack(said.logits, dim=1).log_softmax(-1) - seen.log_softmax(-1)
    assert apart.abs().max() < 1e-4
    shape = known.of(str(folder))
    assert shape is not None
    kept = sum(numbers_of(layer) for layer in said.past_key_values.layers)
    # transformers lets go of the oldest token of a window once it is read: one less than what is held at most
    assert kept == pytest.approx(shape.kv_values(longest + 7) + shape.state_values(), rel=0.06)


def numbers_of(layer: Any) -> int:
    """Numbers a layer of the cache keeps for the first row."""
    found = 0
    for kept in vars(layer).values():
        tensors = kept.values() if isinstance(kept, dict) else [kept]
        found += sum(tensor[0].numel() for tensor in tensors if isinstance(tensor, torch.Tensor) and tensor.dim() > 1)
    return found


@pytest.mark.parametrize(
    ("name", "also"),
    [
        ("gemma-3-4b", set()),
        ("qwen3-4b", set()),
        ("granite-4.0-micro", {"input_linear", "output_linear"}),
        ("lfm2.5-1.2b", {"in_proj", "out_proj", "w1", "w2", "w3"}),
        ("qwen3.5-4b", {"in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj"}),
    ],
)
def test_unsloth_adapts_the_layers_a_model_has(name: str, also: set[str]) -> None:
    class Made:
        config = config_of(name)

    found = set(unsloth_engine.all_linear(Made))
    assert found - set(unsloth_engine.LINEAR) == also
    assert {"q_proj", "k_proj", "v_proj"} <= found
