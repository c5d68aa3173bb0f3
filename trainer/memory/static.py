"""Terms that are there all the time: weights, adapters, optimizer states, and the buffer for dequantised weights.

Pure functions of a Load, one a term, each with its source.
"""

from __future__ import annotations

from collections.abc import Iterable

from trainer.memory.load import GIB, Load
from trainer.memory.shapes import ModelShape

# OCP Microscaling Formats 1.0 (arXiv 2310.10537): 32 values of 4 bits share one 8-bit scale.
MXFP4_BITS = 4 + 8 / 32


def nf4_bits(double_quant: bool) -> float:
    """Bits a weight in NF4, scales included.

    Source: QLoRA (arXiv 2305.14314) section 3 and bitsandbytes' defaults: blocks of 64 weights
    with one float32 scale, 4 + 32/64 = 4.5; double quantisation keeps 8-bit scales and one float32
    per 256 of them, 4 + 8/64 + 32/(64*256) = 4.127.
    """
    # The offset of the quantised scales, one float32 a matrix, is too small to count.
    return 4 + 8 / 64 + 32 / (64 * 256) if double_quant else 4 + 32 / 64


def quantised_params(load: Load) -> int:
    """Weights that are stored in the format of `load.weights`; 0 for plain and for fully trained weights.

    Source: MXFP4 repositories quantise the experts only (model card of openai/gpt-oss-20b). NF4 and
    FP8 quantise every matrix of the decoder, except experts that are not nn.Linear:
    transformers' bitsandbytes integration replaces nn.Linear only, while gpt-oss' experts are stacked
    parameters; Unsloth and its -bnb-4bit repositories quantise them as well.
    """
    shape = load.shape
    if load.weights == "plain" or not load.lora_rank:
        return 0
    if load.weights == "mxfp4":
        return shape.expert_params()
    return shape.linear_params() - (0 if load.experts_packed else shape.expert_params())


def quantised_bits(load: Load) -> float:
    """Bits a quantised weight, scales included.

    Source for FP8: compressed-tensors' FP8-Dynamic keeps one scale an output row, taken as float32;
    FP8 and FP8-Block (128 x 128 weights a scale) keep fewer. Both are below 0.5 %.
    """
    if load.weights == "fp8":
        return 8 + 32 * load.shape.linear_rows() / load.shape.linear_params()
    return MXFP4_BITS if load.weights == "mxfp4" else nf4_bits(load.double_quant)


def weights_gib(load: Load) -> float:
    """The model itself.

    Source: quantised loading leaves embeddings, output embedding, norms and biases in compute
    precision. The vision tower is counted there too, the larger case. Unsloth's dynamic NF4
    (-unsloth-bnb-4bit) leaves some more matrices in 16 bit; which ones differs from model to model
    and is not counted. Weights that are trained themselves are float32.
    """
    shape = load.shape
    if not load.lora_rank:
        return shape.params() * trainable_bytes(load) / GIB
    quantised = quantised_params(load)
    stored = quantised * quantised_bits(load) / 8 if quantised else 0.0
    return (stored + (shape.params() - quantised) * load.compute_bytes) / GIB


def dequantised_gib(load: Load) -> float:
    """The largest NF4 matrix in compute precision, once.

    Source: bitsandbytes 0.50.2 `MatMul4Bit.backward` (autograd/_functions.py) dequantises a whole
    matrix to multiply with it; Unsloth 2026.10.7 keeps one buffer of the largest for the whole run
    (unsloth/kernels/utils.py, `fast_dequantize` with `use_global_buffer`).
    """
    if load.weights != "nf4" or not load.lora_rank:
        return 0.0
    return load.shape.largest_linear() * load.compute_bytes / GIB


def lora_params(shape: ModelShape, rank: int, targets: str | Iterable[str]) -> int:
    """Weights of the adapters: rank x (inputs + outputs) of every adapted layer (arXiv 2106.09685, section 4.1).

    Experts are not nn.Linear and get none; towers get none either (trainer.engine adapts the decoder only).
    """
    return shape.adapter_params(rank, targets)


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
    # One of Lion, RMSprop and Adagrad; m and v of Adam; a fast m, a slow m and v of AdEMAMix.
    if "8bit" in name or name == "adamw_torch_4bit":
        return moments * (0.5 if "4bit" in name else 1.0)
    return float(moments * (4 if "32bit" in name else weight_bytes))


def judge_gib(load: Load) -> float:
    """A reward model that learns: float32 weights and both moments of its AdamW (trainer/grpo/learner.py)."""
    return load.judge_params * (4 + optimizer_bytes("adamw_torch", 4)) / GIB


def judge_gradients_gib(load: Load) -> float:
    """float32. They are there between two updates of the policy, whose own are gone then, so the sum with these is an
    upper bound."""
    return load.judge_params * 4 / GIB
