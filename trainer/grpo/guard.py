"""Generation mode: eval, gradient checkpointing off, KV cache on, and everything put back afterwards.

transformers' `generate` in train mode with gradient checkpointing on drops the KV cache without a word and continues
from wrong positions: a copy task falls from 1.00 to 0.09 and a step takes up to a hundred times longer
(transformers 5.17, modeling_layers.GradientCheckpointingLayer). TRL 1.14.2 switches checkpointing off around its own
generate but leaves dropout on. Every generate of this project goes through this module.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from trainer.grpo.spans import Spans


@contextmanager
def generation_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` into the only state in which its generate is right and fast; restore it, also after an error."""
    modules = list(model.modules())
    training = [module for module in modules if module.training]
    checkpointing = [module for module in modules if getattr(module, "gradient_checkpointing", False)]
    for module in training:
        module.training = False
    for module in checkpointing:
        module.gradient_checkpointing = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for module in checkpointing:
            module.gradient_checkpointing = True  # type: ignore[assignment]


def guard_generate(model: Any, spans: Spans) -> None:
    """Replace `model.generate` by itself in generation mode, timed as `transformers.generate`.

    The cache is asked for in the caller's own config, or by argument, which wins over the model's config.
    """
    inner = model.generate

    @functools.wraps(inner)
    def generate(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("generation_config") is not None:
            kwargs["generation_config"].use_cache = True
        else:
            kwargs["use_cache"] = True
        with spans("transformers.generate"), generation_mode(model):
            return inner(*args, **kwargs)

    model.generate = generate
