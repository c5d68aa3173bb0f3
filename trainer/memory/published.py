"""Configurations of published models: of their `config.json` what decides how much memory they take.

The names are those of the Hub in small letters, without owner and endings (known.normalise). The number of weights that
follows is compared with the published one in tests/memory/. Imports the standard library only.
"""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]
# A fine-tune by somebody else may carry a known name and another shape: only these owners are looked up.
OWNERS = frozenset(
    {
        *("google", "huggingfacetb", "ibm-granite", "k-intelligence", "liquidai"),
        *("meta-llama", "mistralai", "openai", "qwen", "unsloth"),
    }
)


def _sizes(kind: str, hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, vocab: int, **more: Any) -> Config:
    return {
        "model_type": kind,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "tie_word_embeddings": True,
    } | more


# SigLIP so400m at 896 pixels (vision_config of google/gemma-3-4b-it).
_SIGLIP = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27}
_SIGLIP |= {"vision_use_head": False, "num_attention_heads": 16, "image_size": 896, "patch_size": 14}


def _gemma3(hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, head_dim: int = 256) -> Config:
    sizes = {"head_dim": head_dim, "sliding_window": 1024, "sliding_window_pattern": 6}
    text = _sizes("gemma3_text", hidden, mlp, layers, heads, kv_heads, 262_208, **sizes)
    return {"model_type": "gemma3", "text_config": text, "vision_config": _SIGLIP}


def _gemma4(hidden: int, mlp: int, layers: int, kv_heads: int, shared: int, every: int, twice: bool) -> Config:
    """every: a full layer after so many. shared: last layers without keys and values of their own. twice: wider MLPs
    there."""
    types = ["sliding_attention" if (n + 1) % every else "full_attention" for n in range(layers)]
    own = {"head_dim": 256, "global_head_dim": 512, "sliding_window": 512, "layer_types": types}
    own |= {"num_kv_shared_layers": shared, "use_double_wide_mlp": twice}
    own |= {"vocab_size_per_layer_input": 262_144, "hidden_size_per_layer_input": 256}
    text = _sizes("gemma4_text", hidden, mlp, layers, 8, kv_heads, 262_144, **own)
    towers = {"vision_config": {"model_type": "gemma4_vision"}, "audio_config": {"model_type": "gemma4_audio"}}
    return {"model_type": "gemma4", "text_config": text} | towers


def _qwen3(hidden: int, mlp: int, layers: int, heads: int, tied: bool) -> Config:
    return _sizes("qwen3", hidden, mlp, layers, heads, 8, 151_936, head_dim=128, tie_word_embeddings=tied)


def _qwen35(hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, values: int) -> Config:
    """values: heads of the linear attention's values."""
    linear = {"linear_num_key_heads": 16, "linear_num_value_heads": values, "linear_conv_kernel_dim": 4}
    linear |= {"linear_key_head_dim": 128, "linear_value_head_dim": 128, "full_attention_interval": 4}
    text = _sizes("qwen3_5_text", hidden, mlp, layers, heads, kv_heads, 248_320, head_dim=256, **linear)
    vision = {"model_type": "qwen3_5_vision", "depth": 24, "hidden_size": 1024, "intermediate_size": 4096}
    vision |= {"num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": hidden}
    return {"model_type": "qwen3_5", "text_config": text, "vision_config": vision}


def _granite4(hidden: int, heads: int, mamba_heads: int, mamba_state: int, attends: tuple[int, ...]) -> Config:
    """attends: numbers of the layers that attend; the others are Mamba-2."""
    own: Config = {"shared_intermediate_size": 8192, "num_local_experts": 0, "mamba_expand": 2, "mamba_n_groups": 1}
    own |= {"mamba_n_heads": mamba_heads, "mamba_d_state": mamba_state, "mamba_d_conv": 4}
    own |= {"layer_types": ["attention" if n in attends else "mamba" for n in range(40)]}
    return _sizes("granitemoehybrid", hidden, 8192, 40, heads, 8, 100_352, **own)


_LFM_ATTENDS = (2, 5, 8, 10, 12, 14)
_PIXTRAL = {"model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
_PIXTRAL |= {"patch_size": 14}

CONFIGS: dict[str, Config] = {
    "gemma-3-1b": _sizes("gemma3_text", 1152, 6912, 26, 4, 1, 262_144, head_dim=256, sliding_window=512),
    "gemma-3-4b": _gemma3(2560, 10240, 34, 8, 4),
    "gemma-3-12b": _gemma3(3840, 15360, 48, 16, 8),
    "gemma-3-27b": _gemma3(5376, 21504, 62, 32, 16, head_dim=128),
    "gemma-4-e2b": _gemma4(1536, 6144, 35, 1, 20, 5, twice=True),
    "gemma-4-e4b": _gemma4(2560, 10240, 42, 2, 18, 6, twice=False),
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, tied=True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, tied=True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, tied=True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32, tied=False),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40, tied=False),
    "qwen3-32b": _qwen3(5120, 25600, 64, 64, tied=False),
    "qwen3.5-2b": _qwen35(2048, 6144, 24, 8, 2, 16),
    "qwen3.5-4b": _qwen35(2560, 9216, 32, 16, 4, 32),
    "qwen2.5-0.5b": _sizes("qwen2", 896, 4864, 24, 14, 2, 151_936),
    "qwen2.5-1.5b": _sizes("qwen2", 1536, 8960, 28, 12, 2, 151_936),
    "qwen2.5-3b": _sizes("qwen2", 2048, 11008, 36, 16, 2, 151_936),
    "qwen2.5-7b": _sizes("qwen2", 3584, 18944, 28, 28, 4, 152_064, tie_word_embeddings=False),
    "llama-3.2-1b": _sizes("llama", 2048, 8192, 16, 32, 8, 128_256),
    "llama-3.2-3b": _sizes("llama", 3072, 8192, 28, 24, 8, 128_256),
    "llama-3.1-8b": _sizes("llama", 4096, 14336, 32, 32, 8, 128_256, tie_word_embeddings=False),
    "smollm3-3b": _sizes("smollm3", 2048, 11008, 36, 16, 4, 128_256),
    "lfm2.5-1.2b": _sizes("lfm2", 2048, 12288, 16, 32, 8, 65_536, conv_L_cache=3, full_attn_idxs=list(_LFM_ATTENDS)),
    "ministral-3-3b": {
        "model_type": "mistral3",
        "text_config": _sizes("ministral3", 3072, 9216, 26, 32, 8, 131_072, head_dim=128),
        "vision_config": _PIXTRAL,
    },
    "granite-4.0-micro": _granite4(2560, 40, 128, 256, tuple(range(40))),
    "granite-4.0-h-micro": _granite4(2048, 32, 64, 128, (5, 15, 25, 35)),
    "midm-2.0-mini": _sizes("llama", 1792, 4608, 48, 32, 8, 131_392, head_dim=128),
    "gpt-oss-20b": _sizes("gpt_oss", 2880, 2880, 24, 64, 8, 201_088, head_dim=64, tie_word_embeddings=False)
    | {"num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128},
}
