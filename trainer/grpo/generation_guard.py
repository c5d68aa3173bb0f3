"""Generation mode: eval, gradient checkpointing off, KV cache on, and everything put back afterwards.

transformers' `generate` in train mode with gradient checkpointing on drops the KV cache, with one warning in the log,
and continues from wrong positions: a copy task falls from 1.00 to 0.09 and a step takes up to a hundred times longer
(transformers 5.17, modeling_layers.GradientCheckpointingLayer). TRL 1.14.2 switches checkpointing off around its own
generate but leaves dropout on; Unsloth's generate leaves the model in its inference mode. Every generate of this
project goes through this module.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainer.fast.decoding import Decoding, NotPlain
from trainer.fast.forks import Forks
from trainer.grpo.spans import Spans
from trainer.grpo.two_calls import in_two_calls


@contextmanager
def generation_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` into the only state in which its generate is right and fast; restore it, also after an error."""
    # By flags of every module, not by model.eval() and gradient_checkpointing_disable(): what was different in some
    # modules before (a frozen part in eval mode, Unsloth's "unsloth" instead of True) comes back as it was.
    modules = list(model.modules())
    training = [module for module in modules if module.training]
    checkpointing = [(m, kind) for m in modules if (kind := getattr(m, "gradient_checkpointing", False))]
    for module in training:
        module.training = False
    for module, _ in checkpointing:
        module.gradient_checkpointing = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for module, kind in checkpointing:
            module.gradient_checkpointing = kind
        if training and hasattr(model, "for_training"):  # Unsloth's generate sets flags of its own and leaves them
            model.for_training(use_gradient_checkpointing=checkpointing[0][1] if checkpointing else False)


def guard_generate(
    model: Any, spans: Spans, pieces: int = 1, decoding: Decoding | None = None, forks: Forks | None = None
) -> None:
    """Replace `model.generate` by itself in generation mode, timed as `transformers.generate`.

    The cache is asked for in the caller's own config, or by argument, which wins over the model's config.
    pieces: write that many parts of a batch at most one after the other, for a GPU that cannot hold the whole KV cache.
    decoding: the way tokens are written; None for transformers' own. forks: while it is on, what is written has plans.
    """
    inner = model.generate  # of the instance: TRL unwraps the model before it calls generate, and finds this one

    def theirs(**kwargs: Any) -> Any:
        return inner(**kwargs) if pieces == 1 else _in_pieces(inner, pieces, kwargs)

    @functools.wraps(inner)
    def generate(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("generation_config") is not None:
            kwargs["generation_config"].use_cache = True
        else:
            kwargs["use_cache"] = True
        with spans("transformers.generate"), generation_mode(model):
            if args or "input_ids" not in kwargs:
                return inner(*args, **kwargs)
            planned = forks if forks is not None and forks.is_on else None
            if decoding is not None and kwargs.get("streamer") is None:
                with contextlib.suppress(NotPlain):
                    slots = -(-kwargs["input_ids"].shape[0] // pieces)
                    return inner(**kwargs, custom_generate=decoding.with_slots(slots, planned))
            return theirs(**kwargs) if planned is None else in_two_calls(theirs, kwargs, planned)

    model.generate = generate


def _in_pieces(generate: Callable[..., Tensor], pieces: int, kwargs: dict[str, Any]) -> Tensor:
    """The rows of `generate(**kwargs)`, (rows, longest), right-padded to the longest of all parts.

    kwargs: input_ids and attention_mask of (rows, P), left-padded. A GPU then holds the KV cache of rows / pieces
    sequences. The parts draw from one stream of random numbers, one after the other, so their samples are others than
    those of the undivided batch, from the same distribution.
    """
    rows = kwargs["input_ids"].shape[0]
    each = max(1, rows // pieces)
    parts = []
    for start in range(0, rows, each):
        batched = {
            key: value[start : start + each]
            for key, value in kwargs.items()
            if isinstance(value, Tensor) and value.shape[:1] == (rows,)
        }
        parts.append(generate(**kwargs | batched))
    config = kwargs.get("generation_config")
    pad = kwargs.get("pad_token_id", getattr(config, "pad_token_id", None)) or 0
    longest = max(part.shape[1] for part in parts)
    return torch.cat([nn.functional.pad(part, (0, longest - part.shape[1]), value=pad) for part in parts])
