"""How much memory a run will need: one pure function per term, each with its source.

An estimate, not a measurement. Weights, adapters, optimizer states and the KV cache follow from
sizes and are close; activations and logits follow from which tensors PyTorch keeps and may be 30 %
off. Two peaks never coincide: generation holds the KV cache, the update holds gradients,
activations and logits. The total is what is always there plus the larger of the two.

Imports the standard library and shapes. Knows nothing about batches of a run beyond the
numbers it is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trainer.memory.shapes import ModelShape

GIB = 1024**3
Phase = Literal["always", "generation", "update"]

# CUDA context and the libraries in it: 1.0-1.4 GiB reported for PyTorch on NVIDIA GPUs; the upper
# end is taken.
CUDA_CONTEXT_GIB = 1.4
# Resident memory of a worker on a CPU that has imported everything and loaded no weights: 0.56 GiB, measured on
# Linux, torch 2.13.0, TRL 1.14.2, 2026-11-20.
PROCESS_GIB = 0.56
# TRL 1.14.2 with use_liger_kernel: _CHUNKED_LOGPROB_CHUNK_SIZE of grpo_trainer.py.
LIGER_CHUNK_TOKENS = 8192


@dataclass(frozen=True)
class Part:
    """One term: `gib` GiB (1024^3 bytes) during `phase`, and how it was worked out."""

    name: str
    phase: Phase
    gib: float
    how: str


@dataclass(frozen=True)
class Load:
    """What the estimate depends on. Lengths in tokens, rows in completions on one device."""

    shape: ModelShape
    on_gpu: bool
    compute_bytes: int
    """2 for bfloat16 and float16, 4 for float32."""
    load_in_4bit: bool
    double_quant: bool
    lora_rank: int
    """0 trains all weights."""
    lora_targets: str | list[str]
    lora_bytes: int
    """Bytes of one adapter weight."""
    optimizer: str
    gradient_checkpointing: bool | Literal["unsloth"]
    eager_attention: bool
    reference: bool
    """beta > 0: log-probabilities of the reference are needed."""
    prompt_tokens: int
    completion_tokens: int
    micro_batch: int
    generation_rows: int
    temperature_scaled: bool = False
    liger: bool = False


def nf4_bits(double_quant: bool) -> float:
    """Bits a weight in NF4, scales included.

    Source: QLoRA (arXiv 2305.14314) section 3 and bitsandbytes' defaults: blocks of 64 weights
    with one float32 scale, 4 + 32/64 = 4.5; double quantisation keeps 8-bit scales and one float32
    per 256 of them, 4 + 8/64 + 32/(64*256) = 4.127.
    """
    return 4 + 8 / 64 + 32 / (64 * 256) if double_quant else 4 + 32 / 64


def weights_gib(load: Load) -> float:
    """The model itself.

    Source: bitsandbytes' integration in transformers quantises the decoder's linear layers and
    skips the output embedding; embeddings, norms and biases stay in 16 bit. The vision tower is
    counted in 16 bit, the larger case.
    """
    shape = load.shape
    if not load.load_in_4bit:
        return shape.params() * (load.compute_bytes if load.lora_rank else trainable_bytes(load)) / GIB
    quantised = shape.linear_params() * nf4_bits(load.double_quant) / 8
    return (quantised + (shape.params() - shape.linear_params()) * load.compute_bytes) / GIB


def lora_params(shape: ModelShape, rank: int, targets: str | Iterable[str]) -> int:
    """Weights of the adapters: rank x (inputs + outputs) of every adapted layer (arXiv 2106.09685,
    section 4.1).

    Experts are not nn.Linear and get none; adapters on a vision tower are not counted (under 8 %
    of the text's).
    """
    linears = shape.linears()
    names = set(linears) if targets == "all-linear" else {targets} if isinstance(targets, str) else set(targets)
    return shape.layers * rank * sum(sum(linears[name]) for name in names & set(linears))


def trainable_params(load: Load) -> int:
    """Weights that get a gradient."""
    return lora_params(load.shape, load.lora_rank, load.lora_targets) if load.lora_rank else load.shape.params()


def trainable_bytes(load: Load) -> int:
    """Bytes of one trained weight, and of its gradient. Whole weights are trained in float32 under autocast."""
    return load.lora_bytes if load.lora_rank else 4


def optimizer_bytes(name: str, weight_bytes: int) -> float:
    """Bytes of optimizer state for one trained weight.

    Source: torch.optim keeps its moments in the weight's own precision; bitsandbytes' *_8bit keep
    one byte a moment and *_32bit four (arXiv 2110.02861); Adafactor keeps row and column sums only
    (arXiv 1804.04235), counted as 0; plain SGD keeps nothing. Everything else is counted like
    Adam: two moments.
    """
    if name in ("sgd", "adafactor", "lomo", "adalomo"):
        return 0.0
    moments = 1 if "lion" in name or "rmsprop" in name or name == "adagrad" else 3 if "ademamix" in name else 2
    if "8bit" in name or name == "adamw_torch_4bit":
        return moments * (0.5 if "4bit" in name else 1.0)
    return float(moments * (4 if "32bit" in name else weight_bytes))


def layer_activations_gib(load: Load, rows: int, tokens: int) -> float:
    """Tensors one decoder layer keeps for its backward pass.

    Source: counted from transformers' decoder layers in the manner of arXiv 2205.05198, section 4:
    two norms with their float32 copies and the residuals (10 x hidden), queries, keys, values and
    the attention's output, and six MLP tensors (gate, up, activation, product and two gradients).
    Eager attention adds the score matrix in compute precision and in float32; sdpa and flash
    attention do not keep it.
    """
    shape = load.shape
    width = 10 * shape.hidden + 2 * (shape.q_width + shape.kv_width) + 6 * shape.intermediate * shape.active_experts
    values = rows * tokens * width * load.compute_bytes
    scores = rows * shape.heads * tokens * tokens * (load.compute_bytes + 4) if load.eager_attention else 0
    return (values + scores) / GIB


def activations_gib(load: Load) -> float:
    """What the update's forward pass keeps for the backward pass.

    Source: arXiv 1604.06174: with checkpointing each layer keeps its input only, plus one layer's
    tensors while it is recomputed. Unsloth's mode moves the inputs to main memory: one layer's
    tensors and two inputs stay.
    """
    tokens = load.prompt_tokens + load.completion_tokens
    one_layer = layer_activations_gib(load, load.micro_batch, tokens)
    inputs = load.micro_batch * tokens * load.shape.hidden * load.compute_bytes / GIB
    if load.gradient_checkpointing == "unsloth":
        return one_layer + 2 * inputs
    return one_layer + load.shape.layers * inputs if load.gradient_checkpointing else load.shape.layers * one_layer


def logits_gib(load: Load) -> float:
    """Logits of the completion tokens and their gradient.

    Source: TRL 1.14.2 `_full_logits_logps`: the whole (micro-batch, completion, vocabulary) block.
    accelerate hands it over in float32; it is kept together with its gradient in float32 and, in
    16-bit training, in 16 bit: 10 bytes (8 in float32), and 4 more for the copy made when the
    temperature is not 1. The log-probability of old and reference policy use the same block
    before, without gradient. With use_liger_kernel only a chunk of tokens.
    """
    tokens = load.micro_batch * load.completion_tokens
    tokens = min(tokens, LIGER_CHUNK_TOKENS) if load.liger else tokens
    bytes_each = (10 if load.compute_bytes == 2 else 8) + (4 if load.temperature_scaled else 0)
    return tokens * load.shape.vocab * bytes_each / GIB


def kv_cache_gib(load: Load, rows: int) -> float:
    """Keys and values of `rows` sequences at full length.

    Source: transformers' DynamicCache keeps 2 x layers x kv_heads x head_dim numbers a token; its
    sliding-window layers keep the last `sliding_window` tokens only.
    """
    tokens = load.prompt_tokens + load.completion_tokens
    return rows * load.shape.kv_values(tokens) * load.compute_bytes / GIB


def prefill_gib(load: Load, rows: int) -> float:
    """Reading all prompts at once before the first token: one layer's tensors without backward, and
    last logits.

    Source: transformers' generate runs the whole prompt of every row in one forward pass. Without
    a backward pass the residual, its normed copy and the two widest MLP tensors are alive at once.
    """
    shape = load.shape
    width = 4 * shape.hidden + 3 * shape.intermediate * shape.active_experts
    values = rows * load.prompt_tokens * width * load.compute_bytes
    return (values + rows * shape.vocab * 8) / GIB


def _short(weights: int) -> str:
    return f"{weights / 1e9:.2f} B weights" if weights >= 1e9 else f"{weights / 1e6:.2f} M weights"


def parts(load: Load) -> list[Part]:
    """All terms, in the order in which a run meets them."""
    trained = trainable_params(load)
    each = trainable_bytes(load)
    rows = load.generation_rows
    tokens = load.prompt_tokens + load.completion_tokens
    shape = load.shape
    bits = f"{nf4_bits(load.double_quant):.2f} bit NF4, " if load.load_in_4bit else ""
    rest = "rest " if load.load_in_4bit else ""
    kept_bytes = load.compute_bytes if load.lora_rank else each
    found = [
        Part(
            "weights",
            "always",
            weights_gib(load),
            f"{_short(shape.params())}, {bits}{rest}{kept_bytes * 8} bit",
        )
    ]
    if load.lora_rank:
        found.append(Part("LoRA adapters", "always", trained * each / GIB, _short(trained)))
    elif load.reference:
        # TRL loads a second copy of the model when there is no adapter to switch off.
        found.append(Part("reference model", "always", weights_gib(load), "a frozen copy, because beta > 0"))
    state_bytes = optimizer_bytes(load.optimizer, each)
    found.append(
        Part(
            "optimizer states",
            "always",
            trained * state_bytes / GIB,
            f"{load.optimizer}, {state_bytes:g} bytes a weight",
        )
    )
    if load.on_gpu:
        found.append(Part("CUDA context", "always", CUDA_CONTEXT_GIB, "1.0 to 1.4 GiB, upper end"))
    else:
        found.append(Part("Python and libraries", "always", PROCESS_GIB, "measured, before any weight"))
    checkpointed = "checkpointed" if load.gradient_checkpointing else "all layers kept"
    logits_how = f"{load.micro_batch} x {load.completion_tokens} x {shape.vocab:,} vocabulary"
    return [
        *found,
        Part("KV cache", "generation", kv_cache_gib(load, rows), f"{rows} completions x {tokens:,} tokens"),
        Part("prompt reading", "generation", prefill_gib(load, rows), f"{rows} x {load.prompt_tokens:,} tokens"),
        Part("gradients", "update", trained * each / GIB, f"{each} bytes a trained weight"),
        Part(
            "activations",
            "update",
            activations_gib(load),
            f"{load.micro_batch} x {tokens:,} tokens, {checkpointed}",
        ),
        Part("logits", "update", logits_gib(load), logits_how),
    ]


def phase_gib(found: Iterable[Part], phase: Phase) -> float:
    """Sum of one phase's terms."""
    return sum(part.gib for part in found if part.phase == phase)


def total_gib(found: Iterable[Part]) -> float:
    """What is always there plus the larger of generation and update."""
    found = list(found)
    return phase_gib(found, "always") + max(phase_gib(found, "generation"), phase_gib(found, "update"))


def gib_per_generated_row(load: Load) -> float:
    """What one more completion in the generation batch costs while generating."""
    return kv_cache_gib(load, 1) + prefill_gib(load, 1)


def gib_per_micro_row(load: Load) -> float:
    """What one more completion in the micro-batch costs in the update."""
    return (activations_gib(load) + logits_gib(load)) / load.micro_batch
