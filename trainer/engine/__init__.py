"""Models behind one small interface: `load(spec, choice)` gives weights, tokenizer and what the trainer needs to know.

Imported by the worker only. `resolve` picks engine, device and precision and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from trainer.errors import EngineError, Problem
from trainer.spec import RunSpec


@dataclass(frozen=True)
class Choice:
    """What `auto` became. dtype is the name of a torch dtype."""

    engine: str
    device: str
    dtype: str
    why: str


@dataclass(frozen=True)
class Loaded:
    """A model for the trainer. peft_config is given to TRL, which attaches the adapter; None trains all.

    source: what the weights were, for the manifest: Hub id and commit, or the folder's name.
    """

    model: Any
    tokenizer: Any
    peft_config: Any | None
    source: str


def resolve(spec: RunSpec) -> Choice:
    """Engine, device and precision of this run. Raises EngineError when what was asked for is not there."""
    has_gpu = torch.cuda.is_available()
    device = spec.model.device if spec.model.device != "auto" else ("cuda" if has_gpu else "cpu")
    if device == "cuda" and not has_gpu:
        raise EngineError(
            Problem(
                "model.device",
                "cuda was asked for, torch sees no GPU",
                "python -m trainer doctor, or --set model.device=cpu",
            )
        )
    dtype = spec.model.dtype
    if dtype == "auto":
        # Not float16 on older GPUs: neither whole weights nor QLoRA can be trained in it (trainer/spec/rules.py).
        native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = "bfloat16" if native else "float32"
    why = f"torch sees {'an NVIDIA GPU' if has_gpu else 'no NVIDIA GPU'}; {dtype} on {device}"
    return Choice("transformers", device, dtype, why)


def load(spec: RunSpec, choice: Choice, making: Callable[[], AbstractContextManager[None]] = nullcontext) -> Loaded:
    """Weights and tokenizer of `spec.model` on the chosen device.

    making: entered while a built-in model is made because the cache does not have it.
    """
    from trainer.engine import builtin, transformers_engine

    if spec.model.cpu_threads:
        torch.set_num_threads(spec.model.cpu_threads)
    folder = builtin.ensure(spec, making) if spec.model.name.startswith(builtin.PREFIX) else spec.model.name
    return transformers_engine.load(spec, choice, str(folder))
