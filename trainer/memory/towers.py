"""Weights of the towers with which a model sees and hears, and of what leads from them into its decoder.

They are loaded with the rest and never trained here. Counted from transformers 5.17 by the `model_type` of
`vision_config` and `audio_config`. Imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Config = Mapping[str, Any]


def weights(config: Config, hidden: int) -> int:
    """Of all towers in a config.json; hidden: width of the decoder. Raises ValueError for one that is not known."""
    usual = _USUAL.get(str(config.get("model_type")), "")
    found = 0
    for key in ("vision_config", "audio_config"):
        tower = config.get(key)
        if isinstance(tower, Mapping):
            found += _of(str(tower.get("model_type") or usual))(tower, hidden)
    return found


def _of(kind: str) -> Callable[[Config, int], int]:
    if kind not in _TOWERS:
        raise ValueError(f"a tower of the kind {kind}")
    return _TOWERS[kind]


# What Gemma 3's repositories leave out.
_SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "image_size": 896, "patch_size": 14}


def _siglip(tower: Config, hidden: int) -> int:
    """Gemma 3: SigLIP (arXiv 2303.15343) with its projector of width x hidden, and that one's norm."""
    width, mlp, layers, image, patch = (int(tower.get(key, usual)) for key, usual in _SO400M.items())
    patches = (image // patch) ** 2
    attention = 4 * (width * width + width)
    layer = attention + 2 * width * mlp + mlp + width + 4 * width
    embedding = (3 * patch * patch + 1) * width + patches * width
    return layers * layer + embedding + 2 * width + width * hidden + width


_QWEN_PATCH = {"in_channels": 3, "temporal_patch_size": 2, "patch_size": 16}


def _qwen35(tower: Config, hidden: int) -> int:
    """Layers with biases and LayerNorms; four patches are merged into one vector."""
    width, mlp, merged = int(tower["hidden_size"]), int(tower["intermediate_size"]), 4 * int(tower["hidden_size"])
    layer = 4 * (width * width + width) + 2 * width * mlp + mlp + width + 4 * width
    colours, frames, side = (int(tower.get(key, usual)) for key, usual in _QWEN_PATCH.items())
    embedding = (colours * frames * side**2 + 1) * width + int(tower["num_position_embeddings"]) * width
    return int(tower["depth"]) * layer + embedding + 2 * width + merged * (merged + 1) + (merged + 1) * hidden


def _pixtral(tower: Config, hidden: int) -> int:
    """Ministral 3: a Llama's layers; four patches are merged into one vector, two linear layers lead on."""
    width, mlp = int(tower["hidden_size"]), int(tower["intermediate_size"])
    layer = 4 * width * width + 3 * width * mlp + 2 * width
    embedding = 3 * int(tower["patch_size"]) ** 2 * width + width
    return int(tower["num_hidden_layers"]) * layer + embedding + width + 4 * width * width + width * hidden + hidden**2


def _gemma4_vision(tower: Config, hidden: int) -> int:
    """The one tower that all of Gemma 4 E2B and E4B have, and its way into the decoder."""
    return 167_364_608 + int(tower.get("hidden_size", 768)) * hidden


def _gemma4_audio(tower: Config, hidden: int) -> int:
    return 304_824_608 + int(tower.get("output_proj_dims", 1536)) * hidden


_TOWERS: dict[str, Callable[[Config, int], int]] = {
    "siglip_vision_model": _siglip,
    "qwen3_5_vision": _qwen35,
    "qwen3_5": _qwen35,
    "pixtral": _pixtral,
    "gemma4_vision": _gemma4_vision,
    "gemma4_audio": _gemma4_audio,
}
# Of a config.json whose tower does not say its kind.
_USUAL = {"gemma3": "siglip_vision_model", "qwen3_5": "qwen3_5_vision", "mistral3": "pixtral"}
