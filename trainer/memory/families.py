"""A transformers configuration -> ModelShape, by its `model_type`.

Every family is counted from its modelling code in transformers 5.17; tests/memory/test_families.py builds each one from
its published configuration, without memory for the weights, and compares the number of weights, of adapters and of
cached numbers. Imports the standard library, shapes and towers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from trainer.memory import towers
from trainer.memory.shapes import Layers, Linears, ModelShape

Config = Mapping[str, Any]
# What transformers takes where a config.json leaves a value out (Gemma 3 repositories do).
DEFAULTS: dict[str, Config] = {
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262_208,
        "sliding_window": 4096,
        "tie_word_embeddings": True,
    },
    "gemma4_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "global_head_dim": 512,
        "vocab_size": 262_144,
        "vocab_size_per_layer_input": 262_144,
        "hidden_size_per_layer_input": 256,
        "num_kv_shared_layers": 0,
        "sliding_window": 512,
        "tie_word_embeddings": True,
    },
    "qwen3": {"head_dim": 128},
    "qwen3_5_text": {
        "head_dim": 256,
        "full_attention_interval": 4,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
    },
    "gpt_oss": {"head_dim": 64, "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128},
    "lfm2": {"conv_L_cache": 3, "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0, "tie_word_embeddings": True},
    "smollm3": {"tie_word_embeddings": True},
    "granitemoehybrid": {"mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2},
    "ministral3": {"head_dim": 128},
}
FULL, WINDOW, LINEAR = "full_attention", "sliding_attention", "linear_attention"


def from_config(config: Config, *, source: str) -> ModelShape | None:
    """The shape in a transformers configuration; None for an architecture that is not known or a missing size."""
    text = config.get("text_config") or config
    if not isinstance(text, dict):
        text = dict(text) if isinstance(text, Mapping) else {}
    outer = str(config.get("model_type"))
    kind = _TEXT_OF.get(outer, outer) if text is config else str(text.get("model_type") or _TEXT_OF.get(outer))
    kind = _TEXT_OF.get(kind, kind)
    read = FAMILIES.get(kind)
    if read is None:
        return None
    values = dict(DEFAULTS.get(kind, {})) | {key: value for key, value in text.items() if value is not None}
    if text is not config and config.get("tie_word_embeddings") is not None:
        values.setdefault("tie_word_embeddings", config["tie_word_embeddings"])
    try:
        shape = read(values)
        return replace(shape, vision=towers.weights(config, shape.hidden), source=source)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, IndexError):
        return None  # a size is missing or not a number: no estimate rather than a wrong one


# ---- what families have in common


def _heads(config: Config) -> tuple[int, int, int]:
    """(query heads, key and value heads, numbers a head)."""
    heads = int(config["num_attention_heads"])
    head_dim = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
    return heads, int(config.get("num_key_value_heads") or heads), head_dim


def _attention(hidden: int, heads: int, kv_heads: int, head_dim: int, out: str = "o_proj") -> Linears:
    queries, keys = heads * head_dim, kv_heads * head_dim
    return {"q_proj": (hidden, queries), "k_proj": (hidden, keys), "v_proj": (hidden, keys), out: (queries, hidden)}


def _attending(config: Config, count: int, mlp: Linears, width: int, small: int, out: str = "o_proj") -> Layers:
    """So many layers of attention with this MLP; small: beside the two norms of the hidden width."""
    hidden, (heads, kv_heads, head_dim) = int(config["hidden_size"]), _heads(config)
    return Layers(
        count,
        _attention(hidden, heads, kv_heads, head_dim, out) | mlp,
        small=2 * hidden + small,
        mlp=width,
        mixed=2 * (heads + kv_heads) * head_dim,
        heads=heads,
        kv_width=kv_heads * head_dim,
    )


def _mlp(hidden: int, width: int, names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")) -> Linears:
    gate, up, down = names
    return {gate: (hidden, width), up: (hidden, width), down: (width, hidden)}


def _types(config: Config, usual: Callable[[int], str]) -> list[str]:
    """The type of every layer; usual: of the layer with that number, where the configuration does not say it."""
    count, types = int(config["num_hidden_layers"]), config.get("layer_types")
    return list(types[:count]) if isinstance(types, list | tuple) else [usual(number) for number in range(count)]


def _every(pattern: int, kept: str = FULL, others: str = WINDOW) -> Callable[[int], str]:
    return lambda number: others if (number + 1) % pattern else kept


def _whole(config: Config, kinds: tuple[Layers, ...], **more: Any) -> ModelShape:
    hidden = int(config["hidden_size"])
    values = {"small": hidden} | more  # the last norm
    tied = bool(config.get("tie_word_embeddings", False))
    return ModelShape(hidden, int(config["vocab_size"]), tied, tuple(kind for kind in kinds if kind.count), **values)


# ---- families


def _dense(config: Config, *, norms: int = 2, qk_norm: bool = False, qkv_bias: bool = False) -> ModelShape:
    """Attention and a gated MLP in every layer: Llama and its kin; norms: of the hidden width."""
    hidden, width = int(config["hidden_size"]), int(config["intermediate_size"])
    heads, kv_heads, head_dim = _heads(config)
    small = (norms - 2) * hidden + (2 * head_dim if qk_norm else 0)
    small += (heads + 2 * kv_heads) * head_dim if qkv_bias else 0
    return _whole(config, (_attending(config, int(config["num_hidden_layers"]), _mlp(hidden, width), width, small),))


def _gemma3(config: Config) -> ModelShape:
    """A dense decoder of which five layers of six keep a window."""
    shape = _dense(config, norms=4, qk_norm=True)
    pattern = int(config.get("_sliding_window_pattern") or config.get("sliding_window_pattern") or 6)
    full = _types(config, _every(pattern)).count(FULL)
    (layer,) = shape.kinds
    windowed = replace(layer, count=layer.count - full, window=int(config["sliding_window"]))
    return replace(shape, kinds=tuple(kind for kind in (windowed, replace(layer, count=full)) if kind.count))


def _gemma4(config: Config) -> ModelShape:
    """Full layers have wider heads; the last layers read the keys and values of earlier ones, with an MLP that may be
    twice as wide; each layer adds a small embedding of its own (transformers: modeling_gemma4.py)."""
    hidden, width = int(config["hidden_size"]), int(config["intermediate_size"])
    types = _types(config, _every(6))
    if types:
        types[-1] = FULL  # as transformers forces it
    if config.get("enable_moe_block") or config.get("attention_k_eq_v"):
        raise ValueError("Gemma 4 with experts is not counted")
    shared_from = len(types) - int(config["num_kv_shared_layers"])
    own = int(config["hidden_size_per_layer_input"] or 0)
    heads, kv_heads = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
    counts: dict[tuple[str, bool], int] = {}
    for number, kind in enumerate(types):
        key = (kind, number >= shared_from > 0)
        counts[key] = counts.get(key, 0) + 1
    wide = _wide(config, types)
    kinds = list[Layers]()
    for (kind, shared), count in counts.items():
        head_dim = wide if kind == FULL else int(config["head_dim"])
        linears = _attention(hidden, heads, kv_heads, head_dim)
        if shared:
            del linears["k_proj"], linears["v_proj"]
        its_width = width * (2 if shared and config.get("use_double_wide_mlp") else 1)
        if own:
            linears |= {"per_layer_input_gate": (hidden, own), "per_layer_projection": (own, hidden)}
        kv_width = 0 if shared else kv_heads * head_dim
        kinds.append(
            Layers(
                count,
                linears | _mlp(hidden, its_width),
                small=(5 if own else 4) * hidden + (1 if shared else 2) * head_dim,
                mlp=its_width,
                mixed=2 * (heads * head_dim + kv_width),
                heads=heads,
                kv_width=kv_width,
                window=None if kind == FULL else int(config["sliding_window"]),
            )
        )
    if not own:
        return _whole(config, tuple(kinds))
    return _whole(
        config,
        tuple(kinds),
        small=hidden + own,
        outer={"per_layer_model_projection": (hidden, len(types) * own)},
        tables=int(config["vocab_size_per_layer_input"]) * len(types) * own,
    )


def _wide(config: Config, types: list[str]) -> int:
    """Numbers a head of the full layers: as Google writes it, or layer by layer as transformers 5.17 saves it again."""
    saved = config.get("per_layer_config")
    if not isinstance(saved, Mapping) or FULL not in types:
        return int(config["global_head_dim"])
    return int(saved[str(types.index(FULL))]["head_dim"])


def _gpt_oss(config: Config) -> ModelShape:
    """Experts instead of an MLP, a sink for every head, biases everywhere; every second layer keeps a window."""
    hidden, (heads, kv_heads, head_dim) = int(config["hidden_size"]), _heads(config)
    experts, width = int(config["num_local_experts"]), int(config["intermediate_size"])
    active = int(config["num_experts_per_tok"])
    small = (heads + 2 * kv_heads) * head_dim + hidden + heads
    small += experts * (hidden + 1) + experts * (2 * width + hidden)
    full = _types(config, _every(2)).count(FULL)
    layer = _attending(config, full, {}, width * active, small)
    windowed = replace(layer, count=int(config["num_hidden_layers"]) - full, window=int(config["sliding_window"]))
    return _whole(config, (windowed, layer), experts=experts, active_experts=active, expert_width=width)


def _qwen35(config: Config) -> ModelShape:
    """Three layers of a gated delta rule (arXiv 2412.06464) to one of gated attention (modeling_qwen3_5.py)."""
    hidden, (heads, _, head_dim) = int(config["hidden_size"]), _heads(config)
    width, mlp = int(config["intermediate_size"]), _mlp(hidden, int(config["intermediate_size"]))
    types = _types(config, _every(int(config["full_attention_interval"]), FULL, LINEAR))
    values, value_dim = int(config["linear_num_value_heads"]), int(config["linear_value_head_dim"])
    key_width = int(config["linear_num_key_heads"]) * int(config["linear_key_head_dim"])
    value_width, kernel = values * value_dim, int(config["linear_conv_kernel_dim"])
    mixed = 2 * key_width + value_width
    linear = Layers(
        types.count(LINEAR),
        {
            "in_proj_qkv": (hidden, mixed),
            "in_proj_z": (hidden, value_width),
            "in_proj_b": (hidden, values),
            "in_proj_a": (hidden, values),
            "out_proj": (value_width, hidden),
        }
        | mlp,
        small=2 * hidden + mixed * kernel + 2 * values + value_dim,
        mlp=width,
        mixed=2 * mixed + 4 * value_width,
        state=mixed * kernel + values * int(config["linear_key_head_dim"]) * value_dim,
    )
    gated = {"q_proj": (hidden, 2 * heads * head_dim)}  # queries and their gate
    full = _attending(config, types.count(FULL), mlp, width, small=2 * head_dim)
    full = replace(full, linears=full.linears | gated, mixed=full.mixed + 2 * heads * head_dim)
    return _whole(config, (linear, full))


def _lfm2(config: Config) -> ModelShape:
    """Gated short convolutions, and attention in some layers (modeling_lfm2.py)."""
    hidden, (*_, head_dim) = int(config["hidden_size"]), _heads(config)
    width, kernel = int(config.get("block_ff_dim") or config["intermediate_size"]), int(config["conv_L_cache"])
    if config.get("block_auto_adjust_ff_dim", True):
        multiple = int(config["block_multiple_of"])
        width = int(config["block_ffn_dim_multiplier"] * int(2 * width / 3))
        width = multiple * -(-width // multiple)
    mlp = _mlp(hidden, width, ("w1", "w3", "w2"))
    attends = config.get("full_attn_idxs")
    types = _types(config, lambda number: FULL if attends is None or number in attends else "conv")
    convolution = Layers(
        len(types) - types.count(FULL),
        {"in_proj": (hidden, 3 * hidden), "out_proj": (hidden, hidden)} | mlp,
        small=2 * hidden + hidden * kernel,
        mlp=width,
        mixed=6 * hidden,
        state=hidden * kernel,
    )
    full = _attending(config, types.count(FULL), mlp, width, 2 * head_dim, out="out_proj")
    return _whole(config, (convolution, full))


def _granite_hybrid(config: Config) -> ModelShape:
    """Attention or Mamba-2 (arXiv 2405.21060) with a shared MLP; dense only (modeling_granitemoehybrid.py)."""
    if config.get("num_local_experts"):
        raise ValueError("Granite with experts is not counted")
    hidden, width = int(config["hidden_size"]), int(config["shared_intermediate_size"])
    mlp = {"input_linear": (hidden, 2 * width), "output_linear": (width, hidden)}
    types = _types(config, lambda number: LINEAR)
    attends = sum(kind in (FULL, "attention") for kind in types)
    inner = int(config["mamba_expand"]) * hidden
    mixed = inner + 2 * int(config["mamba_n_groups"]) * int(config["mamba_d_state"])
    kernel, states = int(config["mamba_d_conv"]), int(config.get("mamba_n_heads") or 128)
    mamba = Layers(
        len(types) - attends,
        {"in_proj": (hidden, inner + mixed + states), "out_proj": (inner, hidden)} | mlp,
        small=2 * hidden + mixed * (kernel + 1) + 3 * states + inner,
        mlp=width,
        mixed=2 * mixed + 4 * inner,
        state=mixed * kernel + inner * int(config["mamba_d_state"]),
    )
    return _whole(config, (mamba, _attending(config, attends, mlp, width, 0)))


FAMILIES: dict[str, Callable[[Config], ModelShape]] = {
    "gemma3_text": _gemma3,
    "gemma4_text": _gemma4,
    "gpt_oss": _gpt_oss,
    "granite": _dense,
    "granitemoehybrid": _granite_hybrid,
    "lfm2": _lfm2,
    "llama": _dense,
    "ministral3": _dense,
    "qwen2": lambda config: _dense(config, qkv_bias=True),
    "qwen3": lambda config: _dense(config, qk_norm=True),
    "qwen3_5_text": _qwen35,
    "smollm3": _dense,
}
# The decoder in a model that also sees.
_TEXT_OF = {"gemma3": "gemma3_text", "gemma4": "gemma4_text", "qwen3_5": "qwen3_5_text", "mistral3": "ministral3"}
