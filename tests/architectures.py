"""Today's architectures, each small, from its own transformers configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.memory.published import CONFIGS

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 128, "head_dim": 16, "initializer_range": 0.1,
}  # fmt: skip
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


# One of each kind of cache; the others are tried where the slow tests are.
QUICK = ("gemma-4-e2b", "granite-4.0-micro", "lfm2.5-1.2b", "qwen3.5-4b")
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(SMALL)]


def config_of(name: str) -> Any:
    from transformers import AutoConfig

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


def make(name: str, folder: Path) -> Path:
    """The model with random weights and the tokenizer of the built-in ones, in a folder."""
    from transformers import set_seed

    from trainer.engine import builtin, transformers_engine

    set_seed(0)
    config, tokenizer = config_of(name), builtin.make_tokenizer()
    for each in (config, config.get_text_config()):
        for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
            setattr(each, key, getattr(tokenizer, key))
    transformers_engine.model_class(config).from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
