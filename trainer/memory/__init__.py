"""How much memory a run will need: one pure function per term, each with its source.

An estimate, not a measurement. Weights, adapters, optimizer states and the KV cache follow from
sizes and are close; activations and logits follow from which tensors PyTorch keeps and may be 30 %
off. Not counted, because no source gives a number: memory that PyTorch's allocator holds in pieces
too small to use. Two peaks never coincide: generation holds the KV cache, the update holds gradients,
activations and logits. The total is what is always there plus the larger of the two.

    load     the numbers the terms depend on        static   weights, adapters, optimizer
    formats  how a repository stores its weights    phases   activations, logits, KV cache, vLLM
    shapes   sizes of a model, families: of a config published, embedded, known: by its name
    measured what this process really uses

No third-party package. Knows nothing about batches of a run beyond the numbers it is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from trainer.memory.load import GIB, Load, Vllm
from trainer.memory.phases import (
    activations_gib,
    cache_bytes,
    kv_cache_gib,
    logits_gib,
    prefill_gib,
    unsloth_chunk_tokens,
    unsloth_logit_tokens,
    vllm_cpu_cache_gib,
    vllm_gib,
    vllm_share,
    vllm_starts,
    vllm_weights_gib,
)
from trainer.memory.static import (
    dequantised_gib,
    judge_gib,
    judge_gradients_gib,
    lora_params,
    nf4_bits,
    optimizer_bytes,
    quantised_bits,
    quantised_params,
    trainable_bytes,
    trainable_params,
    weights_gib,
)
from trainer.text import Message

__all__ = [
    "GIB", "Load", "Part", "Phase", "Vllm", "activations_gib", "cache_bytes", "dequantised_gib",
    "gib_per_generated_row",
    "gib_per_micro_row", "kv_cache_gib", "logits_gib", "lora_params", "nf4_bits", "optimizer_bytes", "parts",
    "peaks_gib", "phase_gib", "prefill_gib", "total_gib", "vllm_cpu_cache_gib", "vllm_gib", "vllm_share", "vllm_starts",
    "weights_gib",
]  # fmt: skip

Phase = Literal["always", "generation", "update"]

# CUDA context and the libraries in it: 1.0-1.4 GiB reported for PyTorch on NVIDIA GPUs; the upper
# end is taken.
CUDA_CONTEXT_GIB = 1.4
# Resident memory of a worker on a CPU that has imported everything and loaded no weights: 0.56 GiB, measured on
# Linux, torch 2.13.0, TRL 1.14.2, 2026-11-20.
PROCESS_GIB = 0.56


@dataclass(frozen=True)
class Part:
    """One term: `gib` GiB (1024^3 bytes) during `phase`, and how it was worked out. name: names it, in no language."""

    name: str
    phase: Phase
    gib: float
    how: Message


def parts(load: Load) -> list[Part]:
    """All terms, in the order in which a run meets them."""
    return [*_always(load), *_generation(load), *_update(load)]


def _always(load: Load) -> Iterator[Part]:
    trained, each = trainable_params(load), trainable_bytes(load)
    yield Part("weights", "always", weights_gib(load), _weights_how(load))
    if load.lora_rank:
        yield Part("LoRA adapters", "always", trained * each / GIB, _count(trained))
        if load.reference and load.reference_adapter:
            yield Part("reference adapter", "always", trained * each / GIB, Message("memory.how.reference_adapter"))
    elif load.reference:
        # TRL loads a second copy of the model when there is no adapter to switch off.
        yield Part("reference model", "always", weights_gib(load), Message("memory.how.reference"))
    if buffer := dequantised_gib(load):
        yield Part("dequantised", "always", buffer, Message("memory.how.dequantised"))
    state_bytes = optimizer_bytes(load.optimizer, each)
    how = Message("memory.how.optimizer", name=load.optimizer, bytes=f"{state_bytes:g}")
    yield Part("optimizer states", "always", trained * state_bytes / GIB, how)
    if load.judge_params:
        how = Message("memory.how.judge", weights=_count(load.judge_params))
        yield Part("reward model", "always", judge_gib(load), how)
    if load.on_gpu:
        yield Part("CUDA context", "always", CUDA_CONTEXT_GIB, Message("memory.how.cuda"))
    else:
        yield Part("Python and libraries", "always", PROCESS_GIB, Message("memory.how.process"))


def _weights_how(load: Load) -> Message:
    rest_bits = 8 * (load.compute_bytes if load.lora_rank else trainable_bytes(load))
    count = _count(load.shape.params())
    if not quantised_params(load):
        return Message("memory.how.weights", weights=count, bits=rest_bits)
    is_experts = load.shape.experts and load.weights == "nf4" and not load.experts_packed
    if load.weights == "mxfp4":
        key = "memory.how.quantised_experts"
    else:
        key = "memory.how.quantised_without_experts" if is_experts else "memory.how.quantised"
    bits = f"{quantised_bits(load):.2f}"
    return Message(key, weights=count, bits=bits, format=load.weights.upper(), rest=rest_bits)


def _generation(load: Load) -> Iterator[Part]:
    if load.vllm is not None:
        # Without standby vLLM keeps what it has during the update as well.
        yield Part("vLLM", "generation" if load.vllm.standby else "always", vllm_gib(load), _vllm_how(load))
        if not (load.vllm.own_weights and load.eval_rows):
            return
    # Held-out rows are answered by transformers, beside a vLLM that has weights of its own.
    rows = load.answered_rows if load.vllm is None else load.eval_rows
    if not rows:
        return  # nothing is written
    key = "memory.how.cache" if rows == load.generation_rows else "memory.how.cache_of_the_evaluation"
    yield Part("KV cache", "generation", kv_cache_gib(load, rows), Message(key, rows=rows, tokens=load.tokens))
    read = rows if load.prompts_read is None else max(load.prompts_read, load.eval_rows)
    how = Message("memory.how.prompts", rows=read, tokens=load.prompt_tokens)
    yield Part("prompt reading", "generation", prefill_gib(load, read), how)


def _vllm_how(load: Load) -> Message:
    assert load.vllm is not None
    if not load.on_gpu:
        rows, tokens = load.generation_rows, load.tokens
        return Message("memory.how.vllm_cpu", weights=vllm_weights_gib(load), rows=rows, tokens=tokens)
    if load.gpu_total_gib is None:
        return Message("memory.how.vllm_unknown")
    share = vllm_share(load.gpu_total_gib, load.vllm.utilization, load.vllm.standby)
    key = "memory.how.vllm_standby" if load.vllm.standby else "memory.how.vllm"
    key = "memory.how.vllm_own" if load.vllm.own_weights else key
    return Message(key, share=share, gib=load.gpu_total_gib)


def _update(load: Load) -> Iterator[Part]:
    each = trainable_bytes(load)
    how = Message("memory.how.gradients", bytes=each)
    yield Part("gradients", "update", trainable_params(load) * each / GIB, how)
    if load.judge_params:
        how = Message("memory.how.gradients", bytes=4)
        yield Part("reward model gradients", "update", judge_gradients_gib(load), how)
    yield Part("activations", "update", activations_gib(load), _activations_how(load))
    tokens = load.tokens if load.prompt_logits else load.completion_tokens
    sizes = {"rows": load.micro_batch, "tokens": tokens, "vocab": load.shape.vocab}
    how = Message("memory.how.logits", **sizes)
    if load.unsloth:
        sizes["tokens"] = unsloth_logit_tokens(load)
        how = Message("memory.how.logits_in_chunks", **sizes, chunk=unsloth_chunk_tokens(load))
    yield Part("logits", "update", logits_gib(load), how)


def _activations_how(load: Load) -> Message:
    rows, checkpointed = load.micro_batch, bool(load.gradient_checkpointing)
    if load.micro_prompts is None:
        key = "memory.how.activations_checkpointed" if checkpointed else "memory.how.activations"
        return Message(key, rows=rows, tokens=load.tokens)
    key = "memory.how.activations_shared_checkpointed" if checkpointed else "memory.how.activations_shared"
    sizes = {"prompts": load.open_prompts, "prompt_tokens": load.prompt_tokens}
    return Message(key, rows=rows, tokens=load.completion_tokens, **sizes)


def _count(weights: int) -> Message:
    if weights >= 1e9:
        return Message("memory.billions", count=f"{weights / 1e9:.2f}")
    return Message("memory.millions", count=f"{weights / 1e6:.2f}")


# ---- sums


def phase_gib(found: Iterable[Part], phase: Phase) -> float:
    """Sum of one phase's terms."""
    return sum(part.gib for part in found if part.phase == phase)


def peaks_gib(found: Iterable[Part]) -> tuple[float, float]:
    """(while generating, in the update), each with what is always there."""
    found = list(found)
    always = phase_gib(found, "always")
    return always + phase_gib(found, "generation"), always + phase_gib(found, "update")


def total_gib(found: Iterable[Part]) -> float:
    """What is always there plus the larger of generation and update."""
    return max(peaks_gib(found))


def gib_per_generated_row(load: Load) -> float:
    """What one more completion in the generation batch costs while generating; with vLLM it waits its turn."""
    if load.vllm is not None:
        return 0.0
    return kv_cache_gib(load, 1) + (prefill_gib(load, 1) if load.prompts_read is None else 0.0)


def gib_per_micro_row(load: Load) -> float:
    """What one more completion in the micro-batch costs in the update."""
    more = dataclasses.replace(load, micro_batch=load.micro_batch + 1)
    return activations_gib(more) + logits_gib(more) - activations_gib(load) - logits_gib(load)
