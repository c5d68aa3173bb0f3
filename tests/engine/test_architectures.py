"""Today's architectures, each built small from its own transformers configuration: loaded by the engine, generated from
behind the guard, trained for a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, set_seed

from tests.builders import tiny_trainer
from trainer.engine import builtin, transformers_engine
from trainer.engine.interface import Choice
from trainer.grpo.generation_guard import generation_mode
from trainer.memory import known
from trainer.memory.published import CONFIGS
from trainer.spec import Component, Reward, RunSpec

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 128, "head_dim": 16, "initializer_range": 0.1,
}  # fmt: skip
# Half of all random completions earn it.
SPREAD = Reward(components=[Component(function="format_regex", params={"pattern": "(?s).*[a-m].*"})])
TYPES = ["sliding_attention", "full_attention"]
TOWER = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 16}
# {published model: what else is smaller}; tower: of a model that also sees.
SMALL: dict[str, dict[str, Any]] = {
    "gemma-3-4b": {"sliding_window": 8, "layer_types": TYPES * 2, "tower": TOWER | {"image_size": 28}},
    "gemma-4-e2b": {
        "num_hidden_layers": 6, "layer_types": TYPES * 3, "num_kv_shared_layers": 2, "global_head_dim": 32,
        "sliding_window": 8, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 128,
        "tower": TOWER | {"global_head_dim": 16, "num_key_value_heads": 2},
    },
    "qwen3-4b": {},
    "qwen3.5-4b": {
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    },
    "llama-3.1-8b": {},
    "midm-2.0-mini": {},
    "smollm3-3b": {},
    "lfm2.5-1.2b": {"full_attn_idxs": None, "layer_types": ["conv", "full_attention"] * 2},
    "ministral-3-3b": {"tower": TOWER},
    "granite-4.0-micro": {"shared_intermediate_size": 96, "layer_types": ["attention"] * 4},
    "granite-4.0-h-micro": {
        "shared_intermediate_size": 96, "layer_types": ["mamba", "attention"] * 2, "mamba_n_heads": 8,
        "mamba_d_head": 16, "mamba_d_state": 16,
    },
}  # fmt: skip


def config_of(name: str) -> Any:
    config, small = dict(CONFIGS[name]), SIZES | SMALL[name]
    tower = small.pop("tower", None)
    if tower is None and "text_config" in config:
        config = {"model_type": config["model_type"], "text_config": config["text_config"] | small}
    elif tower is not None:
        config = {"model_type": config["model_type"], "text_config": config["text_config"] | small, "vision_config":
                  config["vision_config"] | tower}  # fmt: skip
    else:
        config |= small
    return AutoConfig.for_model(config.pop("model_type"), **config)


@pytest.fixture(params=sorted(SMALL))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    set_seed(0)
    config, tokenizer = config_of(request.param), builtin.make_tokenizer()
    for each in (config, config.get_text_config()):
        for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
            setattr(each, key, getattr(tokenizer, key))
    transformers_engine.model_class(config).from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


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
