"""Every family's shape against transformers' own model of its configuration, built without memory for the weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from trainer.memory import known
from trainer.memory.published import CONFIGS
from trainer.memory.shapes import ModelShape
from trainer.spec import Lora

RANK = 8
# The smallest of each kind of configuration: what differs within a family is sizes.
ONE_OF_A_KIND = (
    *("gemma-3-1b", "gemma-3-4b", "gemma-4-e2b", "gemma-4-e4b", "qwen2.5-0.5b", "qwen3-0.6b", "qwen3-8b"),
    *("qwen3.5-2b", "llama-3.2-1b", "midm-2.0-mini", "smollm3-3b", "lfm2.5-1.2b", "ministral-3-3b"),
    *("granite-4.0-micro", "granite-4.0-h-micro", "gpt-oss-20b"),
)


def shape_of(name: str) -> ModelShape:
    shape = known.published(name)
    assert shape is not None
    return shape


@cache
def model(name: str) -> Any:
    """Of the meta device: parameters with shapes and no numbers."""
    import torch
    from transformers import AutoConfig

    from trainer.engine import transformers_engine as engine

    config = dict(CONFIGS[name])
    made = AutoConfig.for_model(config.pop("model_type"), **config)
    with torch.device("meta"):
        return engine.model_class(made).from_config(made)


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_a_shape_has_the_weights_of_transformers_model(name: str) -> None:
    made, shape = model(name), shape_of(name)
    counted = sum(weights.numel() for weights in made.parameters())
    loaded = shape.params() - (shape.vision if name.startswith("qwen3.5") else 0)  # its class for text has no tower
    assert loaded == counted


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_adapters_are_on_the_decoders_layers_and_no_others(name: str) -> None:
    from peft import get_peft_model

    from trainer.engine.transformers_engine import lora_config

    made = model(name)
    adapted = get_peft_model(made, lora_config(Lora(r=RANK), made))
    counted = sum(weights.numel() for weights in adapted.parameters() if weights.requires_grad)
    adapted.unload()
    assert counted == shape_of(name).adapter_params(RANK, "all-linear")


def test_every_family_is_tried() -> None:
    from trainer.memory.families import FAMILIES

    tried = {str(CONFIGS[name].get("text_config", CONFIGS[name])["model_type"]) for name in ONE_OF_A_KIND}
    assert tried == set(FAMILIES) - {"granite"}  # a Llama whose config.json has another name
