"""What generation costs at least on a GPU, and what it would cost without a KV cache. Pure functions.

Decoding one token reads every weight once, for all sequences together, and the keys and values of every sequence so far
(arXiv 2211.05102, section 2): bytes over memory bandwidth is a floor that nothing passes. Without a cache every new
token computes all tokens before it again: twice the weights in operations for each of them, over the arithmetic the
card does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainer.machine.gpu_models import GpuModel
from trainer.memory import GIB, Load, cache_bytes, weights_gib
from trainer.memory.static import trainable_bytes

# Share of a data sheet's arithmetic that large matrix products reach; 0.3 to 0.5 are usual (arXiv 2204.02311, table 3).
REACHED = 0.4


@dataclass(frozen=True)
class Floor:
    """Seconds of one call of generate. weight_gib, cache_gib: read for one token, the cache at its mean length."""

    seconds: float
    without_cache_s: float
    weight_gib: float
    cache_gib: float


def floor(load: Load, card: GpuModel, prompt_tokens: float, new_tokens: float, rows: int | None = None) -> Floor:
    """For `rows` sequences (None: all that the run generates at once) of `prompt_tokens`, `new_tokens` each."""
    rows = rows or load.generation_rows
    context = prompt_tokens + new_tokens / 2
    weights, cache = read_gib(load, rows, context)
    decoding = new_tokens * (weights + cache) * GIB / (card.bandwidth_gb_s * 1e9)
    each = 2 * active_params(load) / (card.tflops * 1e12 * REACHED)
    return Floor(
        seconds=decoding + rows * prompt_tokens * 2 * active_params(load) / (card.tflops * 1e12),
        without_cache_s=rows * new_tokens * context * each,
        weight_gib=weights,
        cache_gib=cache,
    )


def read_gib(load: Load, rows: int, context: float) -> tuple[float, float]:
    """What is read for one more token of `rows` sequences that have `context` tokens: (weights, cache)."""
    cache = rows * cache_bytes(load, round(context)) / GIB
    return weights_gib(load) - _unread_gib(load, rows), cache


def active_params(load: Load) -> int:
    """Weights every token is multiplied with: of the experts those it passes through, no vision tower, no embeddings.

    The output embedding is only needed for the last token of a sequence.
    """
    shape = load.shape
    idle = shape.expert_params() * (1 - shape.active_experts / shape.experts) if shape.experts else 0
    return shape.params() - shape.vision - shape.embedding_params() - round(idle)


def _unread_gib(load: Load, rows: int) -> float:
    """Weights that no token of a step needs: the vision tower, and experts that nobody was sent to."""
    shape = load.shape
    each = load.compute_bytes if load.lora_rank else trainable_bytes(load)
    unread = shape.vision * each / GIB
    if not shape.tied:  # of the input embedding a few rows are read
        unread += shape.vocab * shape.hidden * each / GIB
    unread += shape.tables * each / GIB
    if shape.experts:  # the share of them that rows of independent choices pass through
        unread += (1 - shape.active_experts / shape.experts) ** rows * _experts_gib(load)
    return unread


def _experts_gib(load: Load) -> float:
    """What the experts take, in the format they are stored in: the weights less those of a model without any."""
    return weights_gib(load) - weights_gib(replace(load, shape=replace(load.shape, experts=0)))
